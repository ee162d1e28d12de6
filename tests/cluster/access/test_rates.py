"""Rates, and refusals counted: bounded whatever comes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cluster.access import tally as tallies
from cluster.access.rates import Buckets, Streams
from cluster.access.tally import Refusal, Tally


@given(st.lists(st.floats(0, 2, allow_nan=False), max_size=100))
def test_no_more_than_the_rate_and_the_burst(waits: list[float]) -> None:
    buckets, now, passed = Buckets(3.0, 5), 0.0, 0
    for wait in waits:
        now += wait
        passed += buckets.take("a", now) == 0
    assert passed <= 5 + 3 * now + 1e-6


@given(st.floats(0.1, 50), st.integers(1, 9))
def test_it_says_when_to_come_again(per_s: float, burst: int) -> None:
    buckets = Buckets(per_s, burst)
    assert [buckets.take("a", 0.0) for _ in range(burst)] == [0.0] * burst
    wait_s = buckets.take("a", 0.0)
    assert wait_s > 0
    assert buckets.take("a", wait_s * 0.99) > 0
    assert buckets.take("a", wait_s + 1e-9) == 0


def test_the_table_is_bounded_and_who_asked_last_stays() -> None:
    buckets = Buckets(0.001, 1, names_max=3)
    for name in "abcd":
        buckets.take(name, 0.0)
    assert len(buckets) == 3
    assert buckets.take("d", 0.0) > 0
    assert buckets.take("a", 0.0) == 0, "forgotten"


def test_a_clock_that_goes_back_gives_nothing() -> None:
    buckets = Buckets(1.0, 1)
    assert buckets.take("a", 100.0) == 0
    assert buckets.take("a", 0.0) == 1.0


def test_streams_are_counted_by_caller() -> None:
    streams = Streams(2)
    assert [streams.open("a") for _ in range(3)] == [True, True, False]
    streams.close("a")
    streams.close("a")
    assert streams._open == {}


def kind(i: int) -> Refusal:
    return Refusal("eve", "no grant", action="keys.read", resource=str(i))


def test_the_first_is_told_at_once_and_the_rest_in_one_summary() -> None:
    tally = Tally()
    for _ in range(1000):
        tally.add(kind(0), 0.0)
    [first] = tally.due(0.1)
    assert (first.times, first.summary) == (1, False)
    assert tally.due(30.0) == []
    [summary] = tally.due(60.0)
    assert (summary.refusal, summary.times, summary.summary) == (kind(0), 999, True)
    assert tally.due(600.0) == []
    tally.add(kind(0), 601.0)
    assert [told.times for told in tally.due(601.0)] == [1]


def test_a_flood_of_different_refusals_is_bounded_and_counted_to_the_last() -> None:
    tally = Tally()
    for i in range(5_000):
        tally.add(kind(i), 0.0)
    assert len(tally._kinds) <= tallies.KINDS_MAX + 2
    told = tally.due(0.0)
    assert len(told) == tallies.TOLD_BURST
    minute = [one for at in range(600) for one in tally.due(at / 10)]
    assert minute == []
    later = [one for at in range(6_000) for one in tally.due(60 + at / 10)]
    assert len(later) <= tallies.TOLD_BURST + 600 * tallies.TOLD_PER_S
    rest = tally.due(700.0, rest=True)
    assert sum(one.times for one in [*told, *later, *rest]) == 5_000
    assert any(one.refusal.user == tallies.EVERYTHING_ELSE for one in [*later, *rest])
    assert tally.due(700.0, rest=True) == []
