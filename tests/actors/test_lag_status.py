"""How a consumer does: the cases of Burrow's own tests as polling sees them, and those that polling adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from actors.lag_status import ENDS_MAX, SAMPLES, Ends, Sample, Status, Verdict, Watched, worst
from actors.lag_watch import RATE_WINDOW_S, LagWatch, told

STEP_MS = 5_000
N = SAMPLES


def watched(committed: Sequence[int], lag: Sequence[int | None]) -> Watched:
    """Return what was seen, a sample every STEP_MS."""
    seen = Watched()
    for i, (at, behind) in enumerate(zip(committed, lag, strict=True)):
        seen.add(Sample(i * STEP_MS, at, None if behind is None else at + behind))
    return seen


MOVES = range(1000, 1000 + 100 * N, 100)
STILL = [1000] * N
CASES: list[tuple[str, Sequence[int], Sequence[int | None], bool, Status]] = [
    # Burrow's CheckRules, by the numbers of its table
    ("0: it was caught up once, and lags ever more", MOVES, range(0, 50 * N, 50), True, Status.OK),
    ("2, 3: it has stopped, and nobody is there", [*MOVES[:4], *[1300] * N], [50] * 4 + [90] * N, False, Status.STOPPED),
    ("4: still the same offset, and caught up once", STILL, range(0, 50 * N, 50), True, Status.OK),
    ("5: still the same offset, lag grows", STILL, range(100, 100 + 50 * N, 50), True, Status.STALLED),
    ("6: still the same offset, same lag", STILL, [100] * N, True, Status.STALLED),
    ("7: it went back", [*MOVES[:-1], 1200], [100] * N, True, Status.REWIND),
    ("8: nothing lags now", [*MOVES[:-1], 2000], [*range(50, 50 * N, 50), 0], True, Status.OK),
    ("9: caught up long ago, then it stands still", [1000] * 2 * N, [0] * (N - 1) + [931] * (N + 1), False, Status.STOPPED),
    ("10: caught up a moment ago", STILL, [0] * (N - 1) + [1], False, Status.OK),
    ("the rule without a number: it moves, and lag grows", MOVES, range(50, 50 + 50 * N, 50), True, Status.WARNING),
    ("the same, and the lag stays as it is", MOVES, [70] * N, True, Status.WARNING),
    ("it moves, and catches up in between", MOVES, [70] * (N - 1) + [69], True, Status.OK),
    # what polling adds
    ("too few samples", MOVES[:-1], [50] * (N - 1), True, Status.UNKNOWN),
    ("too few, but nothing lags", [1000], [0], True, Status.OK),
    ("too few, but it went back", [1000, 900], [50, 150], True, Status.REWIND),
    ("it went back and is there again", [1000, 900, *[1000 + i for i in range(N)]], [50] * (N + 2), True, Status.WARNING),
    ("the topic is gone", [1000] * N, [50] * (N - 1) + [None], True, Status.UNKNOWN),
    ("the end was not told once", MOVES, [50, None, *range(50, 50 * (N - 1), 50)], True, Status.WARNING),
    ("too few moves for a trend", [1000] * (N - 2) + [1100, 1200], [50] * N, True, Status.UNKNOWN),
    # it moves every 4th sample: 8 samples without a move are less than what its moves span
    ("a slow one", [i // 4 for i in range(30)] + [7] * (N - 4), range(10, 40 + N - 4), True, Status.WARNING),
    ("a slow one that has stopped", [i // 4 for i in range(30)] + [7] * 28, range(10, 40 + 28), True, Status.STALLED),
    ("what moved before it was caught up is forgotten", [*range(N), *[9] * N], [5] * (N - 1) + [0] + [4] * N, True,
     Status.STALLED),
]  # fmt: skip


@pytest.mark.parametrize(
    ("committed", "lag", "present", "status"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_a_case(committed: Sequence[int], lag: Sequence[int | None], present: bool, status: Status) -> None:
    said = watched(committed, lag).judge(present=present)
    assert said.status is status, said


def test_reasons_say_how_long_and_how_far() -> None:
    assert watched(STILL, [100] * N).judge(present=True).why == (
        "it stands at 1000 for 45 s, 100 records behind, though somebody is there"
    )
    assert (
        watched([1000, 900], [0, 100]).judge(present=True).why
        == "it went back: from 1000 to 900, and is not there again"
    )
    assert Watched().judge(present=True).status is Status.UNKNOWN
    assert worst([]) == Verdict(Status.OK, "nothing to read")


def test_lag_in_seconds_is_known_as_far_as_ends_were_recorded() -> None:
    ends = Ends()
    assert ends.lag_s(5, 0) is None
    for second, end in ((0, 100), (10, 200), (20, 200), (30, 400)):
        ends.add(second * 1000, end)
    assert ends.lag_s(99, 30_000) is None, "farther behind than was recorded"
    assert ends.lag_s(100, 30_000) == 30.0
    assert ends.lag_s(150, 30_000) == 25.0
    assert ends.lag_s(200, 30_000) == 10.0, "the end stayed at 200 until then"
    assert ends.lag_s(300, 31_000) == 6.0
    assert ends.lag_s(400, 99_000) == ends.lag_s(401, 0) == 0.0
    ends.add(40_000, 3)
    assert ends.lag_s(2, 40_000) is None, "made anew"


def test_ends_are_bounded_and_reach_ever_farther_back() -> None:
    ends = Ends()
    for i in range(50 * ENDS_MAX):
        ends.add(i * 1000, i * 10)
    assert len(ends._end) <= ENDS_MAX
    now_ms = (50 * ENDS_MAX - 1) * 1000
    for behind_s in (1, 60, 600, 6_000):
        assert ends.lag_s((50 * ENDS_MAX - 1 - behind_s) * 10, now_ms) == pytest.approx(behind_s)
    idle = Ends()
    for i in range(1000):
        idle.add(i * 1000, 7)
    assert idle._at_ms == [0, 999_000]


def group(name: str, *standings: tuple[str, int, int, int | None]) -> dict[str, Any]:
    return {
        "group": name, "state": "stable", "members": 1,
        "partitions": [
            {"topic": topic, "partition": p, "committed": at, "end": end, "lag": None if end is None else end - at}
            for topic, p, at, end in standings
        ],
    }  # fmt: skip


def test_a_group_is_as_its_worst_partition() -> None:
    watch = LagWatch()
    for i in range(N):
        said = group("g", ("a", 0, 10 * i, 10 * i), ("a", 1, 5, 50 + i), ("b", 0, 7, None))
        watch.add([said], {("a", 1): 50 + i}, i * STEP_MS)
    now_ms = (N - 1) * STEP_MS
    found = told(watch, said, now_ms, present=False, owners={("a", 1): {"slot": 3}})
    assert (found["status"], found["lag"], found["lag_s"]) == ("STOPPED", 54, None)
    assert found["why"] == "a:1: it stands at 5 for 45 s, 54 records behind, and nobody is there"
    assert [(p["status"], p["owner"]) for p in found["partitions"]] == [
        ("OK", None), ("STOPPED", {"slot": 3}), ("UNKNOWN", None),
    ]  # fmt: skip
    caught_up = told(watch, group("g", ("a", 0, 90, 90)), now_ms, present=False, owners={})
    assert (caught_up["status"], caught_up["why"], caught_up["lag"], caught_up["lag_s"]) == ("OK", "caught up", 0, 0.0)
    nothing = told(watch, group("new"), now_ms, present=False, owners={})
    assert (nothing["status"], nothing["lag"], nothing["lag_s"]) == ("OK", None, None)
    other = told(watch, group("new", ("a", 1, 40, 60)), now_ms, present=False, owners={})
    assert (other["status"], other["partitions"][0]["why"]) == ("UNKNOWN", f"0 of {SAMPLES} samples are there")


def test_what_is_gone_is_forgotten_and_what_is_too_much_is_not_watched() -> None:
    watch = LagWatch(partitions_max=2, watched_max=1)
    watch.add([group("g", ("a", 0, 1, 2), ("b", 0, 1, 2))], {("c", 0): 1, ("d", 0): 1}, 0)
    assert len(watch._watched) == 1
    assert len(watch._ends) == 2
    watch.add([], {("e", 0): 1}, 1)
    assert not watch._watched
    assert list(watch._ends) == [("e", 0)]


def test_rates_are_over_a_window() -> None:
    watch = LagWatch()
    watch.add([], {("a", 0): 0}, 0)
    assert watch.rate("a", [0, 1], 0) is None
    for second in range(5, 305, 5):
        watch.add([], {("a", 0): 100 * second, ("a", 1): 7}, second * 1000)
    assert watch.rate("a", [0, 1], 300_000) == {"in_per_s": 100.0, "window_s": RATE_WINDOW_S}
    assert watch.rate("nothing", [0], 300_000) is None
    assert watch.rate("a", [0], 900_000) is None, "nothing was seen for a long time"


def test_markers_of_transactions_are_no_lag() -> None:
    watch = LagWatch()
    said = group("g", ("a", 0, 9, 10), ("b", 0, 5, 500))
    watch.add([said], {}, 0)
    assert watch.rests() == {}, "it may be moving"
    watch.add([said], {}, STEP_MS)
    assert watch.rests() == {("a", 0, 9): 10}, "489 records are not looked at"
    watch.looked({("a", 0, 9): 10}, [])
    found = told(watch, said, STEP_MS, present=True, owners={})["partitions"][0]
    assert (found["lag"], found["lag_s"], found["status"]) == (1, 0.0, "OK"), "the lag stays what Kafka's tools say"
    assert found["why"] == "caught up, to markers of transactions"
    watch.add([said], {}, 2 * STEP_MS)
    assert watch.rests() == {}
    more = group("g", ("a", 0, 9, 12), ("b", 0, 6, 500))
    watch.add([more], {}, 3 * STEP_MS)
    assert told(watch, more, 3 * STEP_MS, present=True, owners={})["partitions"][0]["status"] == "UNKNOWN"
    watch.add([more], {}, 4 * STEP_MS)
    assert watch.rests() == {("a", 0, 9): 12}
    watch.looked({}, [("a", 0, 9)])
    watch.add([more], {}, 5 * STEP_MS)
    assert watch.rests() == {}, "it is known that there is a record"
    watch.add([group("g", ("a", 0, 12, 12))], {}, 6 * STEP_MS)
    assert (watch._empty, watch._full) == ({}, set())
