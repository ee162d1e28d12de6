"""The supervisor's decisions as data: events in, instructions out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.deal import Deal, Seat
from actors.supervision.decisions import (
    AWAITED_S,
    BACKOFF_MAX_S,
    HAND_OVER_S,
    PATIENCE_MAX,
    RESTART_S,
    SILENT_S,
    START_S,
    Ask,
    Booted,
    ChangeDeal,
    DealSeen,
    End,
    Heard,
    Instruction,
    ScaleWanted,
    Start,
    Supervision,
    Ticked,
    Unheard,
)

FIRST = Deal.first("p", 4, 2)
A, B = FIRST.seats()


class Cluster:
    """Carries instructions out at once, on a deal and a set of owners; time is told."""

    def __init__(self, slots: int = 2, deal: Deal | None = None, present: frozenset[Seat] = frozenset()) -> None:
        self.deal = deal
        self.now = 0.0
        self.alive = set(present)
        self.done: list[Instruction] = []
        self.supervision = Supervision(slots)
        self.carry_out(self.supervision.on(Booted(deal, present, self.now)))

    def carry_out(self, instructions: list[Instruction]) -> None:
        for instruction in instructions:
            self.done.append(instruction)
            match instruction:
                case ChangeDeal():
                    before, self.deal = self.deal, instruction.made(self.deal, "p", 4)
                    if self.deal is not None:
                        seen = DealSeen(self.deal, self.deal != before, self.now)
                        self.carry_out(self.supervision.on(seen))
                case Start(seat):
                    assert seat not in self.alive, "an owner is started once"
                    assert self.deal is not None
                    assert self.deal.names(seat), "nobody is started whom the deal does not name"
                    self.alive.add(seat)
                case End(seat):
                    self.alive.discard(seat)

    def tell(self, *events: object) -> list[Instruction]:
        """Tell of events; return what was done."""
        self.done = []
        for event in events:
            self.carry_out(self.supervision.on(event))  # type: ignore[arg-type]
        return self.done

    def wait(self, seconds: float, *live: Seat) -> list[Instruction]:
        """Let time pass while these owners go on answering; return what was done."""
        done: list[Instruction] = []
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.5)
            done += self.tell(*(Heard(seat, "live", self.now) for seat in live if seat in self.alive))
            done += self.tell(Ticked(self.now))
        return done


def running() -> Cluster:
    cluster = Cluster()
    cluster.wait(1, A, B)
    return cluster


def test_the_first_deal_comes_before_the_first_owner() -> None:
    assert Cluster().done == [ChangeDeal(Ask.FIRST, 2), Start(A), Start(B)]


def test_owners_that_are_there_are_kept() -> None:
    cluster = Cluster(deal=FIRST, present=frozenset({A, B}))
    assert cluster.done == []
    assert cluster.wait(2 * RESTART_S, A, B) == []


def test_a_seat_without_an_owner_is_renewed_before_one_is_started() -> None:
    cluster = Cluster(deal=FIRST, present=frozenset({B}))
    assert cluster.done == [ChangeDeal(Ask.RENEW, seats=(A,)), Start(Seat(0, 2))]


def test_a_silent_owner_is_replaced_and_ended() -> None:
    cluster = running()
    assert cluster.wait(SILENT_S - 0.5, B) == []
    assert cluster.wait(1, B) == [ChangeDeal(Ask.RENEW, seats=(A,)), End(A), Start(Seat(0, 2))]
    assert cluster.alive == {Seat(0, 2), B}


def test_an_owner_that_ray_starts_again_has_longer() -> None:
    cluster = running()
    assert cluster.tell(Unheard(A, False, True, cluster.now)) == []
    assert cluster.wait(RESTART_S - 1, B) == []
    assert cluster.tell(Heard(A, "opening", cluster.now)) == []
    assert cluster.wait(SILENT_S - 0.5, B) == []
    cluster.tell(Unheard(A, False, True, cluster.now))
    assert cluster.wait(RESTART_S + 0.5, B) == [ChangeDeal(Ask.RENEW, seats=(A,)), End(A), Start(Seat(0, 2))]


def test_an_owner_that_is_gone_or_failed_is_replaced_at_once() -> None:
    for event in (Unheard(A, True, False, 1.0), Heard(A, "failed", 1.0), Heard(A, "superseded", 1.0)):
        assert running().tell(event) == [ChangeDeal(Ask.RENEW, seats=(A,)), End(A), Start(Seat(0, 2))]


def test_one_that_does_not_come_up_is_tried_less_and_less_often() -> None:
    cluster = running()
    tries = []
    while cluster.now < 600:
        gone = [Unheard(seat, True, False, cluster.now) for seat in cluster.alive if seat.slot == 0]
        done = cluster.tell(*gone, Ticked(cluster.now)) + cluster.wait(0.5, B)
        tries += [cluster.now for instruction in done if isinstance(instruction, ChangeDeal)]
    gaps = [after - before for before, after in pairwise(tries)]
    assert gaps[:3] == sorted(gaps[:3])
    assert max(gaps) <= BACKOFF_MAX_S + 1
    assert len(tries) < 600 / BACKOFF_MAX_S + 8


def test_an_owner_that_was_replaced_in_vain_gets_more_time() -> None:
    cluster = running()
    waits = []
    for _ in range(6):
        before, incarnation = cluster.now, cluster.deal.incarnations[0] if cluster.deal else 0
        current = Seat(0, incarnation)
        cluster.tell(Heard(current, "live", cluster.now))
        while not any(isinstance(done, Start) for done in cluster.wait(0.5, B)):
            assert cluster.now < before + 300
        waits.append(cluster.now - before)
    assert waits[0] == SILENT_S
    assert waits == sorted(waits)
    assert waits[-1] == SILENT_S * PATIENCE_MAX


def test_scaling_out_starts_the_new_ones_only() -> None:
    cluster = running()
    new = Seat(2, 1)
    assert cluster.tell(ScaleWanted(3, cluster.now)) == [ChangeDeal(Ask.WIDEN, 3), Start(new)]
    assert cluster.tell(ScaleWanted(3, cluster.now)) == []
    assert cluster.deal is not None
    assert cluster.deal.shares == FIRST.shares, "nothing moves to a slot that is not live"
    assert cluster.wait(2, A, B) == []
    assert cluster.tell(Heard(new, "opening", cluster.now)) == []
    assert cluster.tell(Heard(new, "live", cluster.now)) == [ChangeDeal(Ask.BALANCE)]
    assert len(cluster.deal.partitions_of(2)) == 1
    assert cluster.wait(2, A, B, new) == []


def test_several_new_ones_are_started_one_after_the_other_and_dealt_to_in_the_end() -> None:
    cluster = running()
    third, fourth = Seat(2, 1), Seat(3, 1)
    assert cluster.tell(ScaleWanted(4, cluster.now)) == [ChangeDeal(Ask.WIDEN, 3), Start(third)]
    assert cluster.wait(2, A, B) == []
    assert cluster.tell(Heard(third, "live", cluster.now)) == [ChangeDeal(Ask.WIDEN, 4), Start(fourth)]
    assert cluster.wait(2, A, B, third) == []
    assert cluster.tell(Heard(fourth, "live", cluster.now)) == [ChangeDeal(Ask.BALANCE)]
    one_less = running()
    one_less.tell(ScaleWanted(4, one_less.now), Heard(third, "live", one_less.now))
    assert one_less.tell(ScaleWanted(3, one_less.now)) == [ChangeDeal(Ask.SCALE, 3)], "who has changed their mind"


def test_scaling_in_waits_until_the_owner_has_handed_over() -> None:
    cluster = running()
    assert cluster.tell(ScaleWanted(1, cluster.now)) == [ChangeDeal(Ask.SCALE, 1)]
    assert cluster.wait(HAND_OVER_S / 2, A, B) == []
    assert cluster.tell(Heard(B, "retired", cluster.now)) == [End(B)]
    again = running()
    again.tell(ScaleWanted(1, again.now))
    assert again.wait(HAND_OVER_S + 1, A, B) == [End(B)], "one that does not hand over is ended, and fenced by its heir"
    assert again.tell(ScaleWanted(2, again.now)) == [ChangeDeal(Ask.WIDEN, 2), Start(Seat(1, 2))]


def test_what_another_supervisor_does_is_accepted() -> None:
    cluster = running()
    assert cluster.deal is not None
    cluster.deal = cluster.deal.renewed(0)
    assert cluster.tell(DealSeen(cluster.deal, False, cluster.now)) == [End(A)]
    new = Seat(0, 2)
    assert cluster.tell(Unheard(new, True, False, cluster.now)) == [], "it is being started"
    cluster.alive.add(new)
    assert cluster.wait(START_S * 2, new, B) == []


def test_an_owner_that_nobody_starts_is_not_waited_for_long() -> None:
    cluster = running()
    for _ in range(3):  # its slot is in trouble already: its owners are given much time
        current = next(seat for seat in cluster.alive if seat.slot == 0)
        cluster.wait(5, B)
        cluster.tell(Unheard(current, True, False, cluster.now))
    assert cluster.deal is not None
    cluster.deal = cluster.deal.renewed(0)
    named = cluster.deal.seats()[0]
    cluster.tell(DealSeen(cluster.deal, False, cluster.now))
    cluster.tell(Unheard(named, True, False, cluster.now))
    assert cluster.wait(AWAITED_S - 0.5, B) == []
    assert ChangeDeal(Ask.RENEW, seats=(named,)) in cluster.wait(1, B)


def test_one_that_is_there_and_does_not_answer_yet_has_as_long_as_any_other() -> None:
    cluster = running()
    assert cluster.deal is not None
    cluster.deal = cluster.deal.renewed(0)
    named = cluster.deal.seats()[0]
    cluster.tell(DealSeen(cluster.deal, False, cluster.now), Unheard(named, False, False, cluster.now))
    assert cluster.wait(START_S - 0.5, B) == []
    assert ChangeDeal(Ask.RENEW, seats=(named,)) in cluster.wait(1, B)


def test_what_was_done_meanwhile_is_not_done_twice() -> None:
    renewed = FIRST.renewed(0)
    assert ChangeDeal(Ask.RENEW, seats=(A,)).made(renewed, "p", 4) == renewed
    assert ChangeDeal(Ask.FIRST, 2).made(renewed, "p", 4) == renewed
    assert ChangeDeal(Ask.SCALE, 2).made(renewed, "p", 4) == renewed
    assert ChangeDeal(Ask.SCALE, 2).made(None, "p", 4) is None
    both = ChangeDeal(Ask.RENEW, seats=(A, B)).made(FIRST, "p", 4)
    assert both is not None
    assert (both.number, both.incarnations) == (2, (2, 2))


def test_a_change_of_unknown_outcome_is_asked_for_again() -> None:
    supervision = Supervision(1)
    assert supervision.on(Booted(None, frozenset(), 0.0)) == [ChangeDeal(Ask.FIRST, 1)]
    assert supervision.on(Ticked(1.0)) == []
    assert supervision.failed(2.0) == [], "not at once: the brokers may be away"
    assert supervision.on(Ticked(2.5)) == []
    assert supervision.on(Ticked(3.0)) == [ChangeDeal(Ask.FIRST, 1)]


def test_a_broker_that_is_away_costs_a_slot_no_patience() -> None:
    cluster = running()
    asked = cluster.supervision.on(Unheard(A, True, False, cluster.now))
    assert asked == [ChangeDeal(Ask.RENEW, seats=(A,))]
    for _ in range(20):
        cluster.now += 1.0
        cluster.supervision.on(Heard(B, "live", cluster.now))
        assert cluster.supervision.failed(cluster.now) == [], "not at once"
        cluster.now += 1.0
        assert cluster.supervision.on(Heard(B, "live", cluster.now)) == asked
    cluster.supervision.failed(cluster.now)
    assert cluster.wait(1.5, B) == [*asked, End(A), Start(Seat(0, 2))]


def test_an_old_deal_is_not_gone_back_to() -> None:
    cluster = running()
    assert cluster.deal is not None
    newer = cluster.deal.renewed(1)
    cluster.tell(DealSeen(newer, False, cluster.now))
    assert cluster.tell(DealSeen(FIRST, False, cluster.now)) == []
    assert cluster.supervision.deal == newer


@pytest.mark.slow
@settings(max_examples=100)
@given(st.data())
def test_whatever_happens_the_wanted_owners_run_in_the_end(data: st.DataObject) -> None:
    cluster = Cluster()
    for _ in range(data.draw(st.integers(0, 12))):
        cluster.now += data.draw(st.floats(0, 8))
        seats = sorted(cluster.alive) or [A]
        seat = data.draw(st.sampled_from(seats))
        kind = data.draw(st.sampled_from(["silent", "gone", "restarting", "failed", "scale", "twin"]))
        match kind:
            case "gone":
                cluster.alive.discard(seat)
                cluster.tell(Unheard(seat, True, False, cluster.now))
            case "restarting":
                cluster.tell(Unheard(seat, False, True, cluster.now))
            case "failed":
                cluster.tell(Heard(seat, "failed", cluster.now))
            case "scale":
                cluster.tell(ScaleWanted(data.draw(st.integers(1, 4)), cluster.now))
            case "twin":
                assert cluster.deal is not None
                cluster.deal = cluster.deal.renewed(0)
                cluster.tell(DealSeen(cluster.deal, False, cluster.now))
            case _:
                cluster.tell(Ticked(cluster.now))
    for _ in range(80):
        cluster.now += 1.0
        cluster.tell(*(Heard(seat, "live", cluster.now) for seat in cluster.alive), Ticked(cluster.now))
    assert cluster.deal is not None
    assert cluster.deal.is_balanced
    assert cluster.alive == set(cluster.deal.seats())
    assert set(cluster.supervision.owners) == cluster.alive
