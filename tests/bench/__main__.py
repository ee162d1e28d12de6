"""make bench: one table of all that was promised about speed and size, measured beside peers; raw results as JSON lines.

    .venv/bin/python -m tests.bench [--only sustained --only latency] [--rounds 3] [--out folder]
    .venv/bin/python -m tests.bench --smoke

Every figure is a ratio of what ran in turns on the same cores, or a percentile; a ratio is of medians of the rounds. `--smoke`
measures ratios that take seconds and compares them with recorded.json. Exit code 1 where a goal is missed, or a third of a
recorded ratio is lost.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.bench import charts, decode, failover, memory
from tests.bench.figures import Figure, document
from tests.bench.stream import backtest, drain, growth, latency, sustained
from tests.bench.stream.rounds import PARTITIONS, SERIES, Results, in_rounds, medians, of_systems
from tests.bench.univariate_ratios import ratios

RECORDED = Path(__file__).parent / "recorded.json"
LOSS_MAX = 1 / 3
SMOKE_WINDOW_S, SMOKE_WARM_S, SMOKE_TURNS = 8.0, 6.0, 3
HALF_P99_MS = 150.0
DRAINED_PART = 0.8


@dataclass
class Run:
    """What was asked for, and what one section leaves for another."""

    rounds: int
    out: Path
    sustained_per_s: float | None = None

    def raw(self, section: str) -> Path:
        """Return the file for a section's raw results."""
        return self.out / f"{section}.jsonl"

    def half(self) -> int:
        """Return half of the sustained maximum."""
        if self.sustained_per_s is None:
            self.sustained_per_s = medians(_sustained(self, ["owner"]), "events_per_s")["owner"]
        return int(self.sustained_per_s / 2)


class Section(NamedTuple):
    """A part of the table."""

    command: str  # that measures it alone
    figures: Callable[[Run], list[Figure]]


def _sustained(run: Run, names: list[str]) -> Results:
    runs = of_systems(names, PARTITIONS, lambda system: sustained.measure(system, SERIES, 60.0))
    found = in_rounds(runs, run.rounds, run.raw("sustained"))
    run.sustained_per_s = medians(found, "events_per_s")["owner"]
    return found


def _latency(run: Run) -> list[Figure]:
    names = ["owner", "bare", "streams", "quix"]
    runs = of_systems(names, PARTITIONS, lambda system: latency.measure(system, latency.SERIES, latency.RATE, 30.0))
    return latency.figures(in_rounds(runs, run.rounds, run.raw("latency")))


def _half(run: Run) -> list[Figure]:
    rate = run.half()
    runs = of_systems(["owner"], PARTITIONS, lambda system: latency.measure(system, SERIES, rate, 30.0))
    p99 = medians(in_rounds(runs, run.rounds, run.raw("half")), "p99_ms")["owner"]
    return [Figure(f"p99 at {rate:,} records a second, half of the maximum", p99, HALF_P99_MS, at_most=True, unit="ms")]


def _growth(run: Run) -> list[Figure]:
    runs = {name: growth.run_of(work, 15.0) for name, work in growth.WORK.items()}
    return growth.figures(in_rounds(runs, run.rounds, run.raw("growth")))


def _drain(run: Run) -> list[Figure]:
    at_most = 2 * run.half()
    runs = of_systems(["owner"], PARTITIONS, lambda system: drain.measure(system, SERIES, drain.RECORDS))
    drained = medians(in_rounds(runs, 1, run.raw("drain")), "events_per_s")["owner"]
    return [Figure(f"{drain.RECORDS:,} records again / sustained", drained / at_most, DRAINED_PART)]


def _backtest(run: Run) -> list[Figure]:
    return backtest.figures(in_rounds(backtest.runs(PARTITIONS, SERIES, 30.0), run.rounds, run.raw("backtest")))


STREAM = "python -m tests.bench.stream"
SECTIONS = {
    "decode": Section("python -m tests.bench.decode", lambda _: decode.figures(with_peers=True)),
    "charts": Section("python -m tests.bench.charts", lambda _: charts.figures()),
    "detectors": Section("make bench-models", lambda _: ratios(12)[0]),
    "sustained": Section(f"{STREAM}.sustained", lambda run: sustained.figures(_sustained(run, sustained.COMPARED))),
    "latency": Section(f"{STREAM}.latency", _latency),
    "half": Section("python -m tests.bench --only half", _half),
    "growth": Section(f"{STREAM}.growth", _growth),
    "failover": Section("python -m tests.bench.failover", lambda _: failover.figures()),
    "drain": Section(f"{STREAM}.drain", _drain),
    "backtest": Section(f"{STREAM}.backtest", _backtest),
    "memory": Section("python -m tests.bench.memory", lambda _: memory.figures()),
}


def smoke(run: Run) -> list[Figure]:
    """Return ratios that take seconds, their goals two thirds of what was recorded."""
    runs = of_systems(
        ["owner", "raw"],
        PARTITIONS,
        lambda system: sustained.measure(system, SERIES, SMOKE_WINDOW_S, warm_s=SMOKE_WARM_S),
    )
    costs = medians(in_rounds(runs, 1, run.raw("smoke")), "us_per_event")
    turns = [decode.figures(with_peers=False) for _ in range(SMOKE_TURNS)]  # one alone may meet another program
    found = [
        *(
            of[0]._replace(value=median(f.value for f in of))
            for of in zip(*turns, strict=True)
            if of[0].name in recorded()
        ),
        *(f for f in ratios(SMOKE_TURNS)[0] if f.name in recorded()),
        Figure("per core, the pipeline / raw consume()", costs["raw"] / costs["owner"]),
    ]
    return [figure._replace(goal=recorded()[figure.name] * (1 - LOSS_MAX)) for figure in found]


def recorded() -> dict[str, float]:
    """Return the ratios that were measured when they were recorded, by name."""
    return dict(json.loads(RECORDED.read_text()))


def table(found: Iterable[tuple[str, Figure]]) -> str:
    """Return a table in Markdown."""
    lines = ["| figure | measured | goal | command |", "|---|---|---|---|"]
    for command, figure in found:
        asked = figure.asked + ("" if figure.met else ", missed")
        lines.append(f"| {figure.name} | {figure.told} | {asked} | `{command}` |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", action="append", choices=list(SECTIONS), help="this section (may be given again); all without it"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(".chipquality/bench"), help="folder for results")
    parser.add_argument("--smoke", action="store_true", help="short ratios against recorded ones")
    asked = parser.parse_args()
    run, began = Run(asked.rounds, asked.out), time.monotonic()
    run.out.mkdir(parents=True, exist_ok=True)
    found: list[tuple[str, Figure]] = []
    if asked.smoke:
        found = [("make bench-smoke", figure) for figure in smoke(run)]
    else:
        for name in asked.only or SECTIONS:
            sys.stderr.write(f"== {name}\n")
            found += [(SECTIONS[name].command, figure) for figure in SECTIONS[name].figures(run)]
    (run.out / "figures.json").write_text(json.dumps(document(figure for _, figure in found), indent=1))
    sys.stdout.write(table(found))
    sys.stdout.write(f"\n{os.cpu_count()} cores, {time.monotonic() - began:.0f} s; raw results in {run.out}\n")
    return 0 if all(figure.met for _, figure in found) else 1


if __name__ == "__main__":
    sys.exit(main())
