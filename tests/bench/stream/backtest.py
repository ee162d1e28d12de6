"""Records per second and core of a backtest, beside those of the live pipeline with its lag flat, in turns on the same cores.

    .venv/bin/python -m tests.bench.stream.backtest --rounds 3

Both judge the same kind of stream by the same detectors. What counts is processor time of their own for a record: the live
owner's over the window (tests/bench/stream/sustained.py), the backtest's from its first step on, with the Parquet files and all
counts; what the whole command takes, with starting its processes, is told beside it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from actors.engine.arrivals import Arrivals
from cluster.backtest.plan import Wish, plan_of
from cluster.backtest.running import carry_out, tasks_of
from cluster.backtest.tasks import Ended, Failed, Progress, Task, here, judge_task
from cluster.config import VectorsConfig
from cluster.local import Endpoints
from tests.bench.figures import Figure
from tests.bench.stream import sustained
from tests.bench.stream.data import PHASE_ONE_ROWS
from tests.bench.stream.drain import fill
from tests.bench.stream.rounds import Result, Results, Run, arguments, in_rounds, medians
from tests.bench.stream.systems import Ours

RECORDS = 4_000_000
PART = 0.8  # of the live rate
DETECTOR = "spc.univariate"


def one(task: Task) -> tuple[int, float]:
    """Judge a partition in this process; return its records after the first step, and the processor time that they took."""
    words = judge_task(task)
    began, first, done = 0.0, 0, 0
    for word in words:
        if isinstance(word, Failed):
            raise RuntimeError(word.why)
        if isinstance(word, Progress) and not first:
            first, began = word.done, time.process_time()
        if isinstance(word, Ended):
            done = word.counts.records
    return done - first, time.process_time() - began


def measure(endpoints: Endpoints, folder: Path, partitions: int, series: int, records: int) -> Result:
    """Return what a record costs, and how fast the whole command is."""
    system = Ours(endpoints, folder, partitions)
    written = fill(system, series, records)
    wish = Wish(DETECTOR, system.line.input, parameters={"phase_one_rows": PHASE_ONE_ROWS})
    plan = plan_of(wish, system.line.cluster, VectorsConfig(), Arrivals())
    each = [one(task) for task in tasks_of(plan, folder / "one")]
    began = time.monotonic()
    report = carry_out(plan, folder / "report", here, lambda *_: None)
    seconds = time.monotonic() - began
    assert report["records"] == written
    size = sum(path.stat().st_size for path in (folder / "report").rglob("*.parquet"))
    return {
        "us_per_event": sum(spent for _, spent in each) / sum(done for done, _ in each) * 1e6,
        "events_per_s": written / seconds,
        "seconds": seconds,
        "bytes_per_event": size / written,
    }


def figures(found: Results) -> list[Figure]:
    """Return the ratio that was promised, and the rate of the whole command on this machine."""
    costs = medians(found, "us_per_event")
    return [
        Figure("per core, a backtest / the live pipeline, sustained", costs["owner"] / costs["backtest"], PART),
        Figure("a backtest, from its start to its report", medians(found, "events_per_s")["backtest"], None, unit="/s"),
    ]


def runs(partitions: int, series: int, window_s: float, records: int = RECORDS) -> dict[str, Run]:
    """Return what runs in turns."""

    def live(endpoints: Endpoints, folder: Path) -> Result:
        return sustained.measure(Ours(endpoints, folder, partitions), series, window_s)

    return {
        "owner": live,
        "backtest": lambda endpoints, folder: measure(endpoints, folder, partitions, series, records),
    }


def main() -> None:
    """Measure and print."""
    parser = arguments(
        "Records per second and core of a backtest, beside the live pipeline.", 30.0, ["owner", "backtest"]
    )
    parser.add_argument("--records", type=int, default=RECORDS)
    asked = parser.parse_args()
    found = in_rounds(runs(asked.partitions, asked.series, asked.window, asked.records), asked.rounds, asked.out)
    for name, cost in medians(found, "us_per_event").items():
        sys.stdout.write(f"{name:<10}{cost:>8.2f} us an event\n")
    for figure in figures(found):
        sys.stdout.write(f"{figure}\n")


if __name__ == "__main__":
    main()
