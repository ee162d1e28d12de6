"""The stream of a run: the same for a seed, with the trouble that was asked for; and what is measured of it."""

from __future__ import annotations

import pytest

from schemas.decode import decode_event
from schemas.encode import Encoder
from schemas.resolution import UnreadableRecord
from schemas.topics import load
from tests.faults.producer import Sent
from tests.faults.recovery import Receipt, back_within, gap
from tests.faults.stream import POISONS, Encoders, Message, Trouble, make

ENCODERS = Encoders(Encoder("measurement", 1), Encoder("measurement", 2), 3)
SCHEMAS = {1: load("measurement"), 2: load("measurement")}


def read(message: Message) -> dict:
    return decode_event(message.value, SCHEMAS.__getitem__)


def test_a_seed_gives_the_same_stream_and_another_seed_another() -> None:
    first = make(ENCODERS, 100, 2, 5, Trouble(poison=0.1))
    assert first == make(ENCODERS, 100, 2, 5, Trouble(poison=0.1))
    assert first != make(ENCODERS, 100, 2, 6, Trouble(poison=0.1))


def test_every_record_has_its_number_and_a_hash_of_its_own() -> None:
    messages = make(ENCODERS, 300, 3, 1, Trouble())
    events = [read(message)["event_id"].split("-") for message in messages]
    assert [int(number) for number, _ in events] == list(range(300))
    assert len({digest for _, digest in events}) == 300


def test_a_series_is_in_one_partition() -> None:
    at: dict[bytes, set[int]] = {}
    for message in make(ENCODERS, 500, 3, 1, Trouble()):
        at.setdefault(message.key, set()).add(message.partition)
    assert {len(partitions) for partitions in at.values()} == {1}


@pytest.mark.slow
def test_poison_is_of_every_kind_unreadable_and_unique() -> None:
    bad = [message for message in make(ENCODERS, 2_000, 2, 1, Trouble(poison=0.05)) if message.poison]
    assert {message.poison for message in bad} == set(POISONS)
    assert len({message.value for message in bad}) == len(bad)
    for message in bad:
        with pytest.raises((UnreadableRecord, KeyError)):  # an id that is not in SCHEMAS is a KeyError here
            read(message)


def test_disorder_is_in_the_order_and_the_copies() -> None:
    calm = make(ENCODERS, 2_000, 2, 1, Trouble())
    messages = make(ENCODERS, 2_000, 2, 1, Trouble(duplicates=0.01, reordered=0.05))
    assert len(messages) > 2_010
    assert {message.value for message in messages} == {message.value for message in calm}
    numbers = [int(read(message)["event_id"].split("-")[0]) for message in messages]
    assert numbers != sorted(numbers)


def test_clocks_are_wrong_by_at_most_what_was_asked_for() -> None:
    calm, skewed = make(ENCODERS, 500, 2, 1, Trouble()), make(ENCODERS, 500, 2, 1, Trouble(skew_ms=1_000))
    calm_times = [read(message)["timestamp"] for message in calm]
    by = [read(message)["timestamp"] - time for message, time in zip(skewed, calm_times, strict=True)]
    assert min(by) < -500
    assert max(by) > 500
    assert max(map(abs, by)) <= 1_000


def test_the_last_part_has_another_schema() -> None:
    ids = [message.value[4] for message in make(ENCODERS, 100, 2, 1, Trouble(second_schema_from=0.8))]
    assert ids == [1] * 80 + [2] * 20


def test_first_after_finds_the_first_acknowledged_record_of_each_partition() -> None:
    sent = Sent(make(ENCODERS, 4, 2, 1, Trouble(), series=2))
    sent.partition[:] = (0, 1, 0, 0)
    sent.sent_at[:] = (1.0, 2.0, 3.0, 4.0)
    sent.offset[:] = (0, 0, -1, 2)
    assert sent.first_after(1.5) == {0: 2, 1: 0}


def test_ends_are_those_of_what_was_acknowledged() -> None:
    sent = Sent(make(ENCODERS, 5, 2, 1, Trouble(), series=2))
    sent.partition[:] = (0, 1, 0, 0, 1)
    sent.offset[:] = (7, -1, 9, 8, -1)
    assert sent.ends() == {0: 10}


def test_copies_of_a_value_have_one_number() -> None:
    messages = make(ENCODERS, 5, 2, 1, Trouble(), series=2)
    assert Sent(messages * 2).value.tolist() == [0, 1, 2, 3, 4] * 2


def test_back_is_when_what_was_sent_after_the_fault_has_come_out() -> None:
    sent = Sent(make(ENCODERS, 4, 2, 1, Trouble(), series=2))
    sent.partition[:], sent.sent_at[:], sent.offset[:] = (0, 1, 0, 0), (1.0, 2.0, 3.0, 4.0), (0, 0, 1, 2)
    receipts = {0: [Receipt(1.5, 1), Receipt(3.7, 1), Receipt(4.5, 2)], 1: [Receipt(2.5, 1)]}
    assert back_within(receipts, sent, 2.5) == 2.0
    assert back_within(receipts, sent, 3.5) == float("inf"), "what was sent at 4.0 is not there"
    assert back_within(receipts, sent, 2.5, (1,)) is None
    assert back_within(receipts, sent, 5.0) is None


def test_a_gap_is_looked_for_in_its_window() -> None:
    receipts = [Receipt(at, 0) for at in (0.0, 3.0, 3.1, 5.1, 5.2, 9.0)]
    assert gap(receipts, since=3.05) == pytest.approx(3.8)
    assert gap(receipts, since=3.05, until=5.15) == pytest.approx(2.0)
    assert gap(receipts, since=1.0, until=1.0) == pytest.approx(2.0)  # it began before: what counts is from then on
    assert gap(receipts, since=20.0) == 0.0
