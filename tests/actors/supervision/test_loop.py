"""The supervisor's loop without Ray and Kafka: what its own waiting and unforeseen errors do to owners."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from actors.deal import Deal, Seat
from actors.engine.fold import Topics
from actors.errors import ConfigError, ReopenError
from actors.kafka.client import Cluster
from actors.pipeline import Pipeline
from actors.supervision import actor as module
from actors.supervision import ahead, places
from actors.supervision.actor import SupervisorLoop
from actors.supervision.decisions import RESTART_S, SILENT_S, Booted, DealSeen, Heard, Ticked, Unheard
from actors.supervision.places import Member

PIPELINE = Pipeline(
    "p",
    Cluster(""),
    "fab",
    (0, 1, 2, 3),
    Topics("charts", "alerts", "dead", "state"),
    {},
    {},
    code_version="1",
    slots=2,
)
DEAL = Deal.first("p", 4, 2)
A, B = DEAL.seats()


@dataclass
class Hand:
    """A clock that is moved by hand."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


class SlowDealer:
    """Takes long for everything; fails so many times."""

    def __init__(self, clock: Hand, takes_s: float, failures: int) -> None:
        self.clock, self.takes_s, self.failures = clock, takes_s, failures
        self.deal: Deal | None = DEAL
        self.asked: list[Deal | None] = []

    def change(self, change: Callable[[Deal | None], Deal | None]) -> Deal | None:
        self.clock.now += self.takes_s
        if len(self.asked) < self.failures:
            self.asked.append(None)
            raise ReopenError("the broker does not answer")
        self.deal = change(self.deal)
        self.asked.append(self.deal)
        return self.deal


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch) -> list[Seat]:
    """Return the seats that were started; nothing of Ray is asked."""
    started: list[Seat] = []

    def start(pipeline: Pipeline, seat: Seat, silent: Collection[str] = ()) -> Any:
        started.append(seat)
        return object()

    monkeypatch.setattr(places, "start", start)
    monkeypatch.setattr(places, "end", lambda *_: None)
    return started


def running(clock: Hand) -> tuple[SupervisorLoop, Any]:
    loop, dealer = SupervisorLoop(PIPELINE, clock), SlowDealer(clock, 30.0, 1)
    loop._take(Booted(DEAL, frozenset({A, B}), loop._now()), dealer)  # type: ignore[arg-type]
    for seat in (A, B):
        loop._take(Heard(seat, "live", loop._now()), dealer)  # type: ignore[arg-type]
    return loop, dealer


def test_a_broker_that_does_not_answer_makes_no_owner_silent(placed: list[Seat]) -> None:
    clock = Hand()
    loop, dealer = running(clock)
    loop._take(Unheard(A, gone=True, restarting=False, now=loop._now()), dealer)
    for seconds in (1.0, 1.0):  # after which it tries again
        clock.now += seconds
        loop._take(Heard(B, "live", loop._now()), dealer)
        loop._take(Ticked(loop._now()), dealer)
    assert clock.now > 100.0 + 2 * 30.0
    assert loop.status()["deal"] == 2
    assert placed == [Seat(0, 2)], "B was not asked meanwhile, so it was not silent"
    for _ in range(round(SILENT_S)):
        clock.now += 1.0
        loop._take(Ticked(loop._now()), dealer)
    assert Seat(1, 2) in placed, "but it is once it was asked in vain"


def test_a_place_that_is_not_found_makes_no_owner_silent(placed: list[Seat], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Hand()
    loop, dealer = running(clock)
    dealer.takes_s, dealer.failures = 0.0, 0

    def start(pipeline: Pipeline, seat: Seat, silent: Collection[str] = ()) -> Any:
        clock.now += places.PLACE_TIMEOUT_S
        placed.append(seat)
        raise ConfigError("no node has room")

    monkeypatch.setattr(places, "start", start)
    loop._take(Unheard(A, gone=True, restarting=False, now=loop._now()), dealer)
    assert placed
    assert {seat.slot for seat in placed} == {0}
    assert loop.trouble == "no node has room"
    assert [owner["state"] for owner in loop.status()["owners"]] == ["gone", "starting"]


def test_a_pause_of_its_own_makes_no_owner_silent(placed: list[Seat]) -> None:
    clock = Hand()
    loop, dealer = running(clock)
    clock.now += 30.0
    loop._take(Ticked(loop._now()), dealer)
    assert dealer.asked == []


def test_once_it_is_to_end_nothing_more_is_started(placed: list[Seat]) -> None:
    loop, dealer = running(Hand())
    loop._over.set()
    loop._take(DealSeen(DEAL.renewed(0), True, loop._now()), dealer)
    assert placed == []


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (ActorUnavailableError("restarts", None), Unheard(A, gone=False, restarting=True, now=0.0)),
        (ActorDiedError(), Unheard(A, gone=True, restarting=False, now=0.0)),
        (
            RayTaskError("status", "Traceback", RuntimeError("changed size")),
            Unheard(A, gone=False, restarting=False, now=0.0),
        ),
    ],
)
def test_an_owner_that_cannot_say_how_it_is(error: Exception, event: Unheard, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(call: Any, timeout_s: float) -> Any:
        raise error

    monkeypatch.setattr(module, "answer", answer)
    assert SupervisorLoop(PIPELINE, Hand())._heard(Member(A), object()) == event


def test_no_error_ends_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = SupervisorLoop(PIPELINE)
    tried: list[int] = []
    over = threading.Event()

    def live() -> None:
        tried.append(1)
        if len(tried) == 3:
            loop._over.set()
            over.set()
            return
        raise (TimeoutError("no answer"), KeyError("x"))[len(tried) - 1]

    monkeypatch.setattr(module, "RETRY_S", 0.001)
    monkeypatch.setattr(loop, "_live", live)
    loop.start()
    assert over.wait(5)
    assert loop.trouble == "KeyError: 'x'"


def test_the_process_that_works_speaks_for_the_seat() -> None:
    loop = SupervisorLoop(PIPELINE, Hand())
    owner, standby = Member(A), Member(A).other
    gone = Unheard(A, gone=True, restarting=False, now=0.0)
    busy = Unheard(A, gone=False, restarting=False, now=0.0)
    again = Unheard(A, gone=False, restarting=True, now=0.0)
    works, stands_by = Heard(A, "live", 0.0), Heard(A, "standby", 0.0)
    assert loop._of_the_seat(owner, None) is None
    assert loop._of_the_seat(owner, works) == works
    assert loop._of_the_seat(standby, gone) is None, "that one was of no use is no fault of the seat's"
    assert loop._of_the_seat(owner, gone) == gone
    assert loop._of_the_seat(standby, stands_by) is None
    assert loop._of_the_seat(owner, busy) is None
    assert loop._of_the_seat(owner, gone) == again, "the other takes over"
    assert loop._of_the_seat(standby, busy) is None
    assert loop._of_the_seat(owner, gone) == again, "also where it is too busy to answer"
    opening = Heard(A, "opening", 0.0)
    assert loop._of_the_seat(standby, opening) == opening
    assert loop._of_the_seat(owner, gone) is None
    assert loop._of_the_seat(standby, gone) == gone, "nobody stands by any more"


def test_a_seat_whose_owner_is_gone_is_not_renewed_while_its_standby_is_busy(placed: list[Seat]) -> None:
    """A standby that had not answered for a moment was taken for none: the seat was renewed while it took over."""
    clock = Hand()
    loop, dealer = running(clock)
    owner, standby = Member(A), Member(A).other

    def say(member: Member, event: Heard | Unheard) -> None:
        said = loop._of_the_seat(member, event)
        if said is not None:
            loop._take(said, dealer)
        loop._take(Heard(B, "live", loop._now()), dealer)

    say(owner, Heard(A, "live", loop._now()))
    say(standby, Heard(A, "standby", loop._now()))
    for _ in range(round(RESTART_S) - 1):
        say(standby, Unheard(A, gone=False, restarting=False, now=loop._now()))
        say(owner, Unheard(A, gone=True, restarting=False, now=loop._now()))
        clock.now += 1.0
    assert dealer.asked == []
    dealer.failures = 0
    say(standby, Unheard(A, gone=True, restarting=False, now=loop._now()))
    say(owner, Unheard(A, gone=True, restarting=False, now=loop._now()))
    assert [seat.slot for seat in placed] == [A.slot], "now both are gone"


def test_standbys_are_started_one_after_the_other_when_nothing_else_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Hand()
    loop, _ = running(clock)
    started: list[Member] = []

    def start_beside(pipeline: Pipeline, member: Member) -> Any:
        started.append(member)
        return object()

    def pass_s(seconds: float) -> None:
        for _ in range(round(seconds)):
            clock.now += 1.0
            loop._prepare()

    monkeypatch.setattr(places, "start_beside", start_beside)
    monkeypatch.setattr(places, "raylets", dict)
    loop._prepare()
    pass_s(5)
    assert started == [], "no owner has said that it follows this deal"
    loop._statuses = {seat: {"deal": DEAL.number, "arriving": {}} for seat in (A, B)}
    pass_s(ahead.SETTLED_S + 1)
    assert started == [Member(A).other]
    pass_s(3)
    assert started == [Member(A).other], "it is not there yet"
    loop._of_the_seat(Member(A).other, Heard(A, "standby", 0.0))
    pass_s(2)
    assert started == [Member(A).other, Member(B).other]
    loop._statuses[B]["arriving"] = {3: "replaying"}
    loop._handles.pop(Member(B).other)
    pass_s(2 * ahead.STANDBY_AGAIN_S)
    assert len(started) == 2, "something is on its way"
    loop._statuses[B]["arriving"] = {}
    pass_s(ahead.SETTLED_S + 2)
    assert started[2:] == [Member(B).other]


def test_a_standby_whose_place_is_gone_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Hand()
    loop, _ = running(clock)
    tried: list[float] = []

    def start_beside(pipeline: Pipeline, member: Member) -> Any:
        tried.append(clock.now)
        raise ValueError("the place is gone")

    monkeypatch.setattr(places, "start_beside", start_beside)
    loop._statuses = {seat: {"deal": DEAL.number} for seat in (A, B)}
    for _ in range(60):
        clock.now += 0.5
        loop._prepare()
    assert 2 <= len(tried) <= 60 / 2 / ahead.STANDBY_AGAIN_S * 2


class StandsBy:
    """The handle of a process that stands by: it counts how often it is told to take over."""

    def __init__(self) -> None:
        self.told = 0

    @property
    def take_over(self) -> StandsBy:
        return self

    def remote(self) -> None:
        self.told += 1


def test_a_silent_owner_is_ended_by_the_process_that_stands_by(placed: list[Seat]) -> None:
    clock = Hand()
    loop, dealer = running(clock)
    beside = StandsBy()
    loop._handles |= {Member(A): object(), Member(A).other: beside}  # type: ignore[dict-item]
    loop._of_the_seat(Member(A).other, Heard(A, "standby", 0.0))

    def pass_s(seconds: float) -> None:
        for _ in range(round(seconds)):
            clock.now += 1.0
            loop._take(Heard(B, "live", loop._now()), dealer)
            loop._take(Ticked(loop._now()), dealer)

    pass_s(SILENT_S + 1)
    assert beside.told == 1
    assert dealer.asked == [], "the deal is as it was"
    pass_s(module.ASK_TIMEOUT_S)
    loop._take(Heard(A, "live", loop._now()), dealer)
    pass_s(2)
    assert (beside.told, dealer.asked, placed) == (1, [], [])
    pass_s(2 * SILENT_S + 2)  # now nobody stands by
    assert placed == [A._replace(incarnation=2)]


def test_a_successor_of_one_that_is_silent_goes_to_another_node(
    placed: list[Seat], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Hand()
    loop, dealer = running(clock)
    dealer.takes_s, dealer.failures = 0.0, 0
    wanted: list[set[str]] = []

    def start(pipeline: Pipeline, seat: Seat, silent: Collection[str] = ()) -> Any:
        wanted.append(set(silent))
        return object()

    monkeypatch.setattr(places, "start", start)
    loop._statuses = {A: {"node": "frozen"}, B: {"node": "fine"}}
    for _ in range(round(SILENT_S) + 1):
        clock.now += 1.0
        loop._take(Heard(B, "live", loop._now()), dealer)
        loop._take(Ticked(loop._now()), dealer)
    assert wanted == [{"frozen"}]
    loop._take(Unheard(B, gone=True, restarting=False, now=loop._now()), dealer)
    clock.now += 1.0
    loop._take(Ticked(loop._now()), dealer)
    assert wanted == [{"frozen"}, set()], "of one that is gone, Ray knows whether its node is there"
