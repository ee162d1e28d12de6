"""How a record stands on the wire: Confluent's header before the Avro bytes; and the error for one that cannot be written."""

from __future__ import annotations

import struct

MAGIC = 0  # first byte of Confluent's wire format

_HEADER = struct.Struct(">bI")


def encode_header(schema_id: int) -> bytes:
    """Return the 5 bytes before a record.

    >>> encode_header(7)
    b'\\x00\\x00\\x00\\x00\\x07'
    """
    return _HEADER.pack(MAGIC, schema_id)


class EncodeError(ValueError):
    """A record is not of its schema: `field` is the path of what is wrong, `message` says what."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message

    def __reduce__(self) -> tuple[type[EncodeError], tuple[str, str]]:
        """Travel between processes whole."""
        return type(self), (self.field, self.message)
