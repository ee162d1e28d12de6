"""What dead letters hold, and that a step full of poison can always be written."""

from __future__ import annotations

from io import BytesIO

import fastavro
import pytest

from actors.engine.dead_letters import (
    DETAIL_CHARS,
    KEY_BYTES_MAX,
    PREFIX_BYTES,
    SHORT_PREFIX_BYTES,
    STEP_BYTES_MAX,
    dead_letter_record,
    dead_letter_records,
)
from actors.pipeline import Pipeline
from schemas.batch import DeadLetter, Reason
from schemas.encode import Encoder
from schemas.topics import load

ENCODER = Encoder("dead_letter", 1)
RECORD_BYTES = 1_000_000  # Kafka's default for a batch is 1,048,588
STEP_ROWS_MAX = Pipeline.__dataclass_fields__["step_rows_max"].default


def letter(offset: int = 0, value: bytes | None = b"v", key: bytes | None = b"k", detail: str = "d") -> DeadLetter:
    return DeadLetter("fab.measurements", 1, offset, 9, Reason.MALFORMED, detail, key, value)


def read(value: bytes | None) -> dict:
    assert value is not None
    return fastavro.schemaless_reader(BytesIO(value[5:]), load("dead_letter"), None)


@pytest.mark.parametrize(("size", "truncated"), [(PREFIX_BYTES, False), (PREFIX_BYTES + 1, True)])
def test_a_value_is_kept_whole_or_by_its_prefix(size: int, truncated: bool) -> None:
    record = dead_letter_record(letter(3, b"v" * size), "dlq", "quality", ENCODER)
    said = read(record.value)
    assert (record.key, said["truncated"], len(said["value"])) == (b"fab.measurements:1:3", truncated, PREFIX_BYTES)
    assert said["detail"] == (f"d (the first {PREFIX_BYTES} of {size} bytes are kept)" if truncated else "d")


def test_the_largest_dead_letter_fits_in_a_record_of_kafka_s_default_size() -> None:
    worst = letter(2**62, b"v" * RECORD_BYTES, b"k" * RECORD_BYTES, "ß" * RECORD_BYTES)
    record = dead_letter_record(worst, "dlq", "quality", ENCODER)
    said = read(record.value)
    assert (said["truncated"], len(said["key"])) == (True, KEY_BYTES_MAX)
    assert len(record.value or b"") < PREFIX_BYTES + KEY_BYTES_MAX + 2 * DETAIL_CHARS + 500


@pytest.mark.slow
def test_a_step_of_poison_is_bounded_and_every_record_is_there_once() -> None:
    """The largest step, every record of it 1 MB of poison: what the transaction holds is far below what 3 s can take."""
    value = b"v" * RECORD_BYTES
    records = dead_letter_records((letter(n, value) for n in range(STEP_ROWS_MAX)), "dlq", "quality", ENCODER)
    assert [record.key for record in records] == [f"fab.measurements:1:{n}".encode() for n in range(STEP_ROWS_MAX)]
    held = sum(len(record.value or b"") for record in records)
    assert held < STEP_BYTES_MAX + STEP_ROWS_MAX * (SHORT_PREFIX_BYTES + 300)
    assert held < 20 * 1024 * 1024
    whole = STEP_BYTES_MAX // PREFIX_BYTES
    kept = [len(read(record.value)["value"]) for record in records]
    assert kept == [PREFIX_BYTES] * whole + [SHORT_PREFIX_BYTES] * (STEP_ROWS_MAX - whole)
    assert read(records[-1].value)["detail"] == "d (the first 256 of 1000000 bytes are kept)"


def test_small_letters_are_whole_however_many() -> None:
    records = dead_letter_records((letter(n, None if n % 2 else b"v" * 200) for n in range(1_000)), "dlq", "q", ENCODER)
    assert not any(read(record.value)["truncated"] for record in records)
