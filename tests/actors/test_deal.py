"""The deal as plain calls: balanced, sticky, and enough in it to know whom to fence."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.deal import Deal, Seat, Share, newest, require
from actors.errors import ConfigError, ReopenError, SupersededError

PARTITIONS = st.integers(1, 24)


@st.composite
def histories(draw: st.DrawFn) -> list[Deal]:
    """A deal and what became of it: scaled and renewed at will."""
    partitions = draw(PARTITIONS)
    slots = st.integers(1, partitions)
    history = [Deal.first("p", partitions, draw(slots))]
    for _ in range(draw(st.integers(0, 6))):
        deal = history[-1]
        wanted = draw(st.one_of(slots, st.none()))
        history.append(deal.renewed(draw(st.integers(0, deal.slots - 1))) if wanted is None else deal.scaled(wanted))
    return history


@given(histories())
def test_every_partition_has_one_slot_and_slots_differ_by_one_at_most(history: list[Deal]) -> None:
    for deal in history:
        sizes = [len(deal.partitions_of(slot)) for slot in range(deal.slots)]
        assert sum(sizes) == len(deal.shares)
        assert max(sizes) - min(sizes) <= 1
        assert [seat.slot for seat in deal.seats()] == list(range(deal.slots))


@given(histories())
def test_as_few_partitions_move_as_can_be(history: list[Deal]) -> None:
    for before, after in pairwise(history):
        moved = [p for p, share in enumerate(after.shares) if share.slot != before.shares[p].slot]
        low, more = divmod(len(after.shares), after.slots)
        kept = sorted((len(before.partitions_of(slot)) for slot in range(after.slots)), reverse=True)
        stay = sum(min(size, low + (place < more)) for place, size in enumerate(kept))
        assert len(moved) == len(after.shares) - stay


@given(histories())
def test_incarnations_grow_and_a_share_knows_who_had_it(history: list[Deal]) -> None:
    named: list[set[int]] = [set() for _ in history[0].shares]
    seats: set[Seat] = set()
    for number, deal in enumerate(history, 1):
        assert deal.number == number
        for partition, share in enumerate(deal.shares):
            assert set(share.past) == named[partition] - {share.slot}
            named[partition].add(share.slot)
            assert share.since <= number
            assert history[share.since - 1].shares[partition].slot == share.slot
        new = set(deal.seats()) - set(history[number - 2].seats() if number > 1 else ())
        assert not new & seats, "a seat that was given up never comes back"
        seats |= new


@given(histories())
def test_wider_first_and_balanced_then_is_scaled(history: list[Deal]) -> None:
    deal = history[-1]
    wide = deal.widened(len(deal.shares))
    assert wide.shares == deal.shares
    assert [share.slot for share in wide.balanced().shares] == [s.slot for s in deal.scaled(len(deal.shares)).shares]
    assert wide.balanced().balanced() == wide.balanced()
    assert deal.is_balanced


@given(histories())
def test_a_deal_survives_its_record(history: list[Deal]) -> None:
    assert Deal.of(json.loads(json.dumps(history[-1].to_record()))) == history[-1]


def test_slots_must_be_from_one_to_the_number_of_partitions() -> None:
    for slots in (0, 4):
        with pytest.raises(ConfigError, match=f"{slots} slots: a pipeline of 3 partitions has 1 to 3"):
            Deal.first("p", 3, slots)
        with pytest.raises(ConfigError):
            Deal.first("p", 3, 1).scaled(slots)


def test_the_newest_record_of_the_pipeline_counts() -> None:
    def record(deal: Deal) -> tuple[bytes, bytes]:
        return deal.pipeline.encode(), json.dumps(deal.to_record()).encode()

    ours, theirs = Deal.first("ours", 2, 1), Deal.first("theirs", 4, 2)
    records = [record(ours), record(theirs), record(ours.renewed(0)), (b"ours2", None), record(theirs.renewed(1))]
    assert newest("ours", records, json.loads) == ours.renewed(0)
    assert newest("nobody", records, json.loads) is None


def test_an_owner_that_the_deal_does_not_name_ends() -> None:
    deal = Deal.first("p", 2, 2).renewed(1)
    assert require(deal, "p", Seat(1, 2)) == deal
    for seat in (Seat(1, 1), Seat(2, 1)):
        with pytest.raises(SupersededError, match=f"deal 2 of p names another incarnation of slot {seat.slot}"):
            require(deal, "p", seat)
    with pytest.raises(ReopenError, match="no deal of p yet"):
        require(None, "p", Seat(0, 1))
    assert deal.scaled(1).names(Seat(1, 2)), "one that was scaled away still counts: it has to hand over"
    assert Share(0, 1).moved(2, 5).moved(0, 6) == Share(0, 6, (2,))
