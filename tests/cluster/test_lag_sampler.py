"""The thread that samples: it goes on after what Kafka does not answer, and says why a sample is missing."""

from __future__ import annotations

import threading

from actors.errors import ReopenError
from cluster.lag_history import LagHistory
from cluster.lag_sampler import Sampler
from cluster.owner_times import OwnerTimes


def test_an_outage_is_said_and_ends() -> None:
    asked: list[int] = []
    troubles: list[str | None] = []
    enough = threading.Event()

    def take(at_ms: int) -> None:
        troubles.append(sampler.trouble)
        asked.append(at_ms)
        if len(asked) in {2, 3}:
            raise ReopenError("no broker answers")
        if len(asked) > 4:
            enough.set()

    sampler = Sampler(take, every_s=0.001)
    sampler.start()
    assert enough.wait(10)
    sampler.stop()
    sampler.join(10)
    assert not sampler.is_alive()
    assert troubles[:5] == [None, None, "no broker answers", "no broker answers", None]


def test_lags_over_time_are_bounded_and_forgotten_with_their_group() -> None:
    def group(name: str, *lags: int | None) -> dict[str, object]:
        return {"group": name, "partitions": [{"lag": lag} for lag in lags]}

    history = LagHistory(points_max=3, groups_max=1)
    for second in range(5):
        history.add([group("a", second, 1), group("b", 1)], 1000 * second)
    assert history.over("a", 900, 5_000) == {"at": [2000, 3000, 4000], "lag": [3, 4, 5]}
    assert history.over("a", 2, 5_000) == {"at": [4000], "lag": [5]}
    assert history.over("b", 900, 5_000) is None
    history.add([group("b", None)], 6_000)
    assert (history.over("a", 900, 6_000), history.over("b", 900, 6_000)) == (None, {"at": [6000], "lag": [None]})


def test_times_are_of_a_window_and_none_of_an_owner_that_has_not_stepped() -> None:
    times = OwnerTimes(times_max=3)
    assert times.over(10, 0)["commit"] == {"p50": None, "p95": None, "p99": None, "n": 0}
    for second in range(5):
        times.add([{"step_ms": float(second), "commit_ms": None}], second * 1000)
    assert times.over(900, 5_000)["decode_and_judge"] == {"p50": 3.0, "p95": 4.0, "p99": 4.0, "n": 3}
    assert times.over(1, 4_500)["decode_and_judge"]["n"] == 1
