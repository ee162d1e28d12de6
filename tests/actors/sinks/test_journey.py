"""Where a record goes when handling it fails, and what it says of itself on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.sinks.journey import (
    BYTES_MAX,
    Again,
    GiveUp,
    Journey,
    Plan,
    Received,
    after_failure,
    dead_letter_fields,
    headers_of,
    journey_of,
    own_headers,
)
from schemas.batch import Reason
from schemas.encode import Encoder

PLAN = Plan("t", "g", delays_s=(1, 60))
TRACE = ("traceparent", b"00-1")


def test_the_topics_and_the_attempts_of_a_plan() -> None:
    assert (PLAN.retries, PLAN.dead_letters, PLAN.attempts_max) == (("t.retry.g.1s", "t.retry.g.1m"), "t.g.dlq", 3)


def test_from_delay_to_delay_to_the_dead_letters() -> None:
    journey, now, went = Journey("t", 3, 9, 5), 1_000, []
    for error in ("a", "b", "c"):
        after = after_failure(PLAN, journey, error, f"rest of {error}", now)
        journey = after.journey
        went.append((type(after), after.topic, journey.attempts, journey.due_ms, journey.error, journey.rest))
        now = journey.due_ms + 10
    assert went == [
        (Again, "t.retry.g.1s", 1, 2_000, "a", "rest of a"),
        (Again, "t.retry.g.1m", 2, 62_010, "b", "rest of b"),
        (GiveUp, "t.g.dlq", 3, 0, "c", "rest of c"),
    ]
    assert journey.coordinates == "t:3:9"


@given(
    st.builds(
        Journey,
        *(st.text(), *(3 * [st.integers(-1, 2**62)])),
        attempts=st.integers(0, 9),
        due_ms=st.integers(0, 2**62),
        error=st.text(max_size=100),
        rest=st.text(max_size=50),
        redriven=st.integers(0, 9),
    )
)
def test_headers_say_all_of_a_journey(journey: Journey) -> None:
    headers = headers_of(journey, [TRACE, ("chipquality-topic", b"old")])
    assert headers[0] == TRACE
    assert journey_of(Received("t.retry.g.1s", 0, 77, 88, None, None, headers), PLAN) == journey
    assert own_headers(headers) == (TRACE,)
    elsewhere = journey_of(Received("t", 1, 2, 3, None, None, headers), PLAN)
    assert elsewhere == Journey("t", 1, 2, 3, redriven=journey.redriven)


@pytest.mark.parametrize("broken", ["topic", "partition", "due_ms"])
def test_headers_that_cannot_be_read_are_no_error(broken: str) -> None:
    headers = [(n, v) for n, v in headers_of(Journey("t", 0, 1, 2, attempts=1), []) if n != f"chipquality-{broken}"]
    for bad in ((), ((f"chipquality-{broken}", b"\xff"),), ((f"chipquality-{broken}", None),)):
        record = Received("t.retry.g.1s", 4, 5, 6, None, None, (*headers, *bad))
        if broken == "topic" and bad and bad[0][1] is None:
            assert journey_of(record, PLAN).topic == ""
        else:
            assert journey_of(record, PLAN) == Journey("t.retry.g.1s", 4, 5, 6)


def test_a_dead_letter_has_the_coordinates_and_no_more_than_it_may() -> None:
    record = Received("t.retry.g.1m", 0, 8, 9, b"k" * 70_000, b"v" * 70_000)
    journey = Journey("t", 3, 4, 5, attempts=3, redriven=1)
    fields = dead_letter_fields(record, journey, "g", Reason.HANDLING_FAILED, "d" * 9_000, "x" * 9_000 + "end")
    assert [fields[name] for name in ("topic", "partition", "offset", "timestamp_ms")] == ["t", 3, 4, 5]
    assert (fields["attempts"], fields["redriven"], fields["truncated"]) == (3, 1, True)
    assert (fields["key"], fields["value"]) == (b"k" * BYTES_MAX, b"v" * BYTES_MAX)
    assert str(fields["trace"]).endswith("xend")
    assert str(fields["detail"]).endswith("the first 65536 of 70000 bytes of the value are kept)")
    assert len(Encoder("dead_letter", 1).encode(fields)) < 150_000
    whole = dead_letter_fields(record._replace(key=None, value=b"v"), journey, "g", Reason.NOT_AVRO, "d")
    assert (whole["key"], whole["value"], whole["truncated"], whole["detail"]) == (None, b"v", False, "d")
