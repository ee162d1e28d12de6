"""Cursors of lists: where a page ends, as a text that only we can read. Pure; the one codec of all lists.

A cursor comes back from anybody, so whatever it holds is either what `decode` was told to expect or a ValueError: too deep for
the parser, too large when unpacked, numbers beyond those that there are.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

UNPACKED_BYTES_MAX = 64 * 1024

T = TypeVar("T")


def encode(place: Any) -> str:
    """Return an opaque text, safe in an address, for a place in a list: what JSON can say.

    >>> decode(encode((7, "a")), tuple)
    (7, 'a')
    """
    packed = zlib.compress(json.dumps(place, separators=(",", ":")).encode(), 9)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode(cursor: str, read: Callable[[Any], T]) -> T:
    """Return what `read` makes of what a cursor holds. Raises ValueError if that, or the text, is none of ours.

    >>> decode("nonsense", tuple)
    Traceback (most recent call last):
    ValueError: this cursor was not given by this API
    """
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return read(json.loads(zlib.decompressobj().decompress(packed, UNPACKED_BYTES_MAX)))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, zlib.error) as error:
        raise ValueError("this cursor was not given by this API") from error


def number_and_text(said: Any) -> tuple[int, str]:
    """Read a place that is a number and a text.

    >>> number_and_text([7, "a"])
    (7, 'a')
    """
    number, text = said
    return int(number), str(text)
