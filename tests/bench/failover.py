"""How long a slot with a million series of the univariate set takes to be live again, and where the time goes.

`python -m tests.bench.failover [--series N] [--tail N] [--partitions N]`: a broker of this machine is started; a first owner
judges a value of every series and commits a snapshot, then folds `tail` rows more, and is abandoned as a crash would leave it.
A second one opens: it fences, reads the state, puts it back, folds the tail again. Starting a process is not in it: Ray does that
in 0.4 to 1.5 s, compiled kernels come from a cache. Exit code 1 if the whole takes more than `GOAL_S`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from actors import looks, takeover
from actors.slot import Slot, _empty
from cluster.config import load
from cluster.local import LocalStack
from models.univariate import UnivariateSet
from tests.bench.figures import Figure
from tests.integration.line import TestLine, series_of

GOAL_S = 10.0
SERIES, TAIL, PARTITIONS = 1_000_000, 50_000, 4
STEP_ROWS = 20_000
FAST = 1024 * 1024 * 1024  # bytes a second of snapshots: what is measured is the recovery


class Timed:
    """Seconds spent in functions, by name: of the clock, and of all processors by this process."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))

    @staticmethod
    def now() -> np.ndarray:
        """Return the clock, and what the processors have spent on this process."""
        return np.array([time.monotonic(), time.process_time()])

    def wrap(self, owner: Any, name: str, label: str) -> None:
        """Count the time of a function or method from here on."""
        inner: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            started = self.now()
            try:
                return inner(*args, **kwargs)
            finally:
                self.seconds[label] += self.now() - started

        setattr(owner, name, timed)


def key(number: int) -> str:
    """Return the name of a series in its measurements."""
    return f"line-7.station-{number:07d}"


def judge_all(slot: Slot, series: int) -> None:
    """Judge a value of every series, in batches that never were in the log: half a minute less than a million records."""
    count = len(slot.folds)
    for partition, fold in slot.folds.items():
        for number in range(partition, series, count):
            fold.series.code(series_of(key(number)))
        n = len(fold.series)
        step = fold.begin(_empty(fold.position), emit=False)
        blank = np.full(n, np.nan)
        batch = replace(
            step.work.batch,
            offset=np.arange(n),
            event_time_ms=np.arange(n),
            published_ms=np.arange(n),
            series=np.arange(n, dtype=np.int32),
            value=np.random.default_rng(partition).normal(10.0, 1.0, n),
            subgroup=np.full(n, -1),
            columns=dict.fromkeys(("lsl", "usl", "target", "sample_size"), blank),
        )
        slot.hosts.judge([step.work._replace(batch=batch)], snapshot=False)()
        fold.replayed(step)


def write_tail(line: TestLine, series: int, rows: int) -> None:
    """Write values of series far apart."""
    values = np.random.default_rng(1).normal(10.0, 1.0, rows).tolist()
    for partition in range(line.partitions):
        at = range(partition, rows, line.partitions)
        line.write(
            partition,
            [line.measurement(key(i * 9973 * line.partitions % series + partition), values[i], i) for i in at],
        )


def step_until(slot: Slot, done: Callable[[], bool]) -> None:
    """Step until something holds."""
    while not done():
        slot.step()


def prepare(line: TestLine, series: int, tail: int) -> int:
    """Leave behind what a crashed owner leaves; return the bytes of its snapshot."""
    first = line.slot()
    first.open()
    judge_all(first, series)
    first._judge([_empty(fold.position) for fold in first.folds.values()], True, {}, 0)
    step_until(first, lambda: not first._writing())
    taken = sum(fold.snapshot.bytes_taken for fold in first.folds.values())
    write_tail(line, series, tail)
    step_until(first, lambda: first.status.rows >= tail)
    first._settle(block=True)
    first.abandon()
    return taken


def recover(line: TestLine) -> tuple[Slot, dict[str, np.ndarray]]:
    """Open a slot again; return it, and the seconds of its parts."""
    timed = Timed()
    slot = line.slot()
    timed.wrap(slot._writer, "open", "fence the old owner")
    timed.wrap(slot.around.log, "read_to_end", "read the state topic")
    timed.wrap(looks, "read_image", "decode it")
    timed.wrap(slot.hosts, "open", "put pages back")
    timed.wrap(takeover, "PartitionFold", "series dictionary")
    timed.wrap(slot._takeover, "_replay", "fold again")
    started = timed.now()
    slot.open()
    total = timed.now() - started
    parts = dict(timed.seconds)
    rest = total - np.sum(list(parts.values()), axis=0)
    return slot, parts | {"the rest": rest, "all": total}


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")


def measure(series: int, tail: int, partitions: int) -> dict[str, np.ndarray]:
    """Return the seconds of the parts of an opening, and print them. Raises RuntimeError where it did not put back all."""
    stack = LocalStack(Path(tempfile.mkdtemp()), cache=load().local.cache)
    try:
        line = TestLine(
            stack.start(),
            partitions,
            {"spc": (UnivariateSet(),)},
            {"step_rows_max": STEP_ROWS, "snapshot_bytes_per_s": FAST, "snapshot_interval_ms": 10**9},
        )
        began = time.monotonic()
        taken = prepare(line, series, tail)
        say(f"{series:,} series, {taken / 1e6:.0f} MB of pages, prepared in {time.monotonic() - began:.0f} s")
        slot, parts = recover(line)
        found = sum(len(fold.series) for fold in slot.folds.values())
        say(f"{'':24}{'clock':>8}{'processors':>12}")
        for name, (clock, busy) in parts.items():
            say(f"{name:24}{clock:8.2f}{busy:12.2f} s")
        status = slot.status
        say(f"live with {found:,} series, {status.replayed:,} rows folded again, without state: {status.without_state}")
        slot.abandon()
    finally:
        stack.stop()
    if found != series or status.replayed != tail or status.without_state:
        raise RuntimeError("not all of it was put back")
    return parts


def figures(series: int = SERIES, tail: int = TAIL, partitions: int = PARTITIONS) -> list[Figure]:
    """Return what was measured."""
    clock, _ = measure(series, tail, partitions)["all"]
    return [Figure(f"failover, {series:,} series, from opening to live", clock, GOAL_S, at_most=True, unit="s")]


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=SERIES)
    parser.add_argument("--tail", type=int, default=TAIL, help="rows since the snapshot: 5 s of 10,000 a second")
    parser.add_argument("--partitions", type=int, default=PARTITIONS)
    asked = parser.parse_args()
    (found,) = figures(asked.series, asked.tail, asked.partitions)
    say(str(found))
    return 0 if found.met else 1


if __name__ == "__main__":
    sys.exit(main())
