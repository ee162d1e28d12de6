"""Dead letters on the wire: the record that could not be processed, where it was, and why.

Theory of operation
-------------------
All dead letters of a step are in its transaction, so what they hold is bounded, or one step of poison could not be committed and
would come again for ever. Of a value at most PREFIX_BYTES are kept, of a key KEY_BYTES_MAX, of the detail DETAIL_CHARS; and once
the letters of one step hold STEP_BYTES_MAX, only SHORT_PREFIX_BYTES of each further value. What was cut stands in the input
topic, by reference, for as long as that retains it.
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.engine.position import Encodes, Record
from schemas.batch import DeadLetter

PREFIX_BYTES = (
    64 * 1024
)  # of a value that is kept in the dead letter; the rest is by reference (topic, partition, offset)
KEY_BYTES_MAX = 4 * 1024  # of a key that is kept
DETAIL_CHARS = 2_000  # of a detail
STEP_BYTES_MAX = 12 * 1024 * 1024  # of values in the letters of one step; what is more is kept with the short prefix
SHORT_PREFIX_BYTES = 256


def dead_letter_record(
    letter: DeadLetter,
    topic: str,
    source: str,
    encoder: Encodes,
    attempts: int = 1,
    prefix_bytes: int = PREFIX_BYTES,
) -> Record:
    """Return the record of a dead letter for `topic`, keyed by its coordinates so that a repeat is recognised."""
    key, value, detail = letter.key, letter.value, letter.detail[:DETAIL_CHARS]
    truncated = False
    if value is not None and len(value) > prefix_bytes:
        detail = f"{detail} (the first {prefix_bytes} of {len(value)} bytes are kept)"
        value, truncated = value[:prefix_bytes], True
    if key is not None and len(key) > KEY_BYTES_MAX:
        detail = f"{detail} (the first {KEY_BYTES_MAX} of {len(key)} bytes of the key are kept)"
        key, truncated = key[:KEY_BYTES_MAX], True
    fields = {
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp_ms": letter.timestamp_ms,
        "reason": letter.reason.value,
        "detail": detail,
        "key": key,
        "value": value,
        "attempts": attempts,
        "source": source,
        "truncated": truncated,
    }
    name = f"{letter.topic}:{letter.partition}:{letter.offset}".encode()
    return Record(topic, letter.partition, name, encoder.encode(fields))


def dead_letter_records(letters: Iterable[DeadLetter], topic: str, source: str, encoder: Encodes) -> list[Record]:
    """Return the records of all dead letters of a step, which together hold little more than STEP_BYTES_MAX."""
    records: list[Record] = []
    held = 0
    for letter in letters:
        kept = min(len(letter.value or b""), PREFIX_BYTES)
        fits = held + kept <= STEP_BYTES_MAX
        held += kept if fits else 0
        prefix_bytes = PREFIX_BYTES if fits else SHORT_PREFIX_BYTES
        records.append(dead_letter_record(letter, topic, source, encoder, prefix_bytes=prefix_bytes))
    return records
