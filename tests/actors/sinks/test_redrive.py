"""What may be redriven: decisions that need no broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.sinks.journey import Received
from actors.sinks.redrive import ADVICE, Filter, Letter, Redrives, plan, redrive_fields
from schemas.batch import Reason
from schemas.encode import Encoder

DOCS = Path(__file__).parents[3] / "docs" / "dead-letters.md"


def letter(at: int = 0, **fields: Any) -> Letter:
    record = {
        "topic": "t", "partition": 1, "offset": 7, "timestamp_ms": 5, "reason": "malformed", "key": b"k", "value": b"v",
        "truncated": False, "source": "quality", "redriven": 0,
    }  # fmt: skip
    return Letter("t.dlq", 0, at, 1_000, record | fields)


def redriven(*letters: Letter, redrives: Redrives | None = None) -> list[dict[str, Any]]:
    """Redrive letters; return the records that say so."""
    going, refused = plan(letters, redrives or Redrives(), {}, {})
    assert not refused
    return [redrive_fields(sent, 3, 40 + number, 9, "ada") for number, sent in enumerate(going)]


def whys(*letters: Letter, done: Any = (), originals: Any = None) -> list[str]:
    return [no.why for no in plan(letters, Redrives(done), {}, originals or {})[1]]


def test_what_a_publisher_could_not_deliver_is_known_by_its_letter() -> None:
    first, second = letter(0, partition=-1, offset=-1), letter(1, partition=-1, offset=-1)
    done = redriven(first, second)
    assert [record["letter_offset"] for record in done] == [0, 1]
    fresh = letter(2, partition=-1, offset=-1)
    assert whys(first, second, fresh, done=done) == [f"redriven already by ada, to t:3:{offset}" for offset in (40, 41)]
    cut = letter(3, partition=-1, offset=-1, truncated=True)
    assert whys(cut) == ["only its first bytes were kept, and it never reached its topic"]


def test_an_original_without_a_value_is_gone_too() -> None:
    cut = letter(truncated=True)
    gone = ["only its first bytes were kept, and t:1:7 is no longer retained"]
    assert whys(cut) == whys(cut, originals={("t", 1, 7): None}) == gone
    assert whys(cut, originals={("t", 1, 7): Received("t", 1, 7, 5, None, None)}) == gone
    assert whys(cut, originals={("t", 1, 7): Received("t", 1, 7, 5, b"k", b"whole")}) == []


def test_a_redrive_is_a_record_of_its_schema() -> None:
    [record] = redriven(letter())
    assert Encoder("redrive", 1).encode(record)
    assert (record["to_topic"], record["times"], record["topic"], record["offset"]) == ("t", 1, "t", 7)
    assert whys(letter(), done=[record | {"author": ""}]) == ["redriven already, to t:3:40"]


@pytest.mark.parametrize(
    ("chosen", "taken"),
    [
        (Filter(), True), (Filter(topic="t"), True), (Filter(topic="t.dlq"), True), (Filter(topic="x"), False),
        (Filter(reason="malformed", source="quality", partition=1, since_ms=1_000), True), (Filter(since_ms=1_001), False),
        (Filter(record=("t", 1, 7)), True), (Filter(record=("t.dlq", 0, 0)), True), (Filter(record=("t", 0, 7)), False),
        (Filter(partition=0), False), (Filter(source="other"), False), (Filter(reason="late"), False),
    ],
)  # fmt: skip
def test_filters(chosen: Filter, taken: bool) -> None:
    assert chosen.takes(letter()) == taken


def test_every_reason_says_what_a_person_can_do_and_stands_in_the_documentation() -> None:
    assert set(ADVICE) == set(Reason)
    text = DOCS.read_text()
    assert [reason for reason in Reason if f"`{reason}`" not in text] == []
