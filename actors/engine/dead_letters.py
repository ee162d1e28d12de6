"""Dead letters on the wire: the record that could not be processed, where it was, and why."""

from __future__ import annotations

from actors.engine.position import Encodes, Record
from schemas.batch import DeadLetter

PREFIX_BYTES = (
    64 * 1024
)  # of a value that is kept in the dead letter; the rest is by reference (topic, partition, offset)


def dead_letter_record(letter: DeadLetter, topic: str, source: str, encoder: Encodes, attempts: int = 1) -> Record:
    """Return the record of a dead letter for `topic`, keyed by its coordinates so that a repeat is recognised."""
    value, detail = letter.value, letter.detail
    if value is not None and len(value) > PREFIX_BYTES:
        detail = f"{detail} (the first {PREFIX_BYTES} of {len(value)} bytes are kept)"
        value = value[:PREFIX_BYTES]
    fields = {
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp_ms": letter.timestamp_ms,
        "reason": letter.reason.value,
        "detail": detail,
        "key": letter.key,
        "value": value,
        "attempts": attempts,
        "source": source,
    }
    key = f"{letter.topic}:{letter.partition}:{letter.offset}".encode()
    return Record(topic, letter.partition, key, encoder.encode(fields))
