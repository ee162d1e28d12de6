"""What is compared runs in turn, several rounds, each time on a broker of its own on the same cores; raw results as JSON."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.config import load
from cluster.local import Endpoints, LocalStack
from tests.bench.stream.systems import SYSTEMS, PythonPeer, Streams, System, build_streams
from tests.real_ray import real_ray

SERIES, PARTITIONS = 10_000, 4

Result = dict[str, Any]
Run = Callable[[Endpoints, Path], Result]  # a stack of its own, a folder of its own
Results = dict[str, list[Result]]  # by name, in the order asked for: what each round gave


def arguments(
    description: str, window_s: float, names: Sequence[str], usual: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """Return a parser of what every comparison is asked. `usual`: what runs if nothing is named; all `names` if empty."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--run", action="append", choices=list(names), help=f"{', '.join(usual or names)} without it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window", type=float, default=window_s, help="seconds")
    parser.add_argument("--series", type=int, default=SERIES)
    parser.add_argument("--partitions", type=int, default=PARTITIONS)
    parser.add_argument("--out", type=Path, default=Path(".chipquality/bench/results.jsonl"), help="for raw results")
    return parser


def of_systems(names: Sequence[str], partitions: int, measure: Callable[[System], Result]) -> Mapping[str, Run]:
    """Return runs of systems by their names; build and install what they need."""
    kinds = {name: SYSTEMS[name] for name in names}
    if any(issubclass(kind, Streams) for kind in kinds.values()):
        build_streams()
    for kind in kinds.values():
        if issubclass(kind, PythonPeer):
            kind.python()

    def run_of(kind: type[System]) -> Run:
        def run(endpoints: Endpoints, folder: Path) -> Result:
            system = kind(endpoints, folder, partitions)
            return {"system": system.name, "does": system.does, **measure(system)}

        return run

    return {name: run_of(kind) for name, kind in kinds.items()}


def in_rounds(runs: Mapping[str, Run], rounds: int, out: Path) -> Results:
    """Let each run in every round; write what each gave as a line of JSON."""
    out.parent.mkdir(parents=True, exist_ok=True)
    found: Results = {name: [] for name in runs}
    with tempfile.TemporaryDirectory() as folder, out.open("w") as raw, real_ray():
        for number in range(rounds):
            for name, run in runs.items():
                place = Path(folder) / f"{number}-{name}"
                with LocalStack(place / "stack", cache=load().local.cache) as stack:
                    result = run(stack.endpoints, place / "of-it")
                found[name].append(result)
                raw.write(json.dumps({"round": number, "run": name, **result}) + "\n")
                raw.flush()
                sys.stderr.write(f"{number} {name}: {result}\n")
    return found


def medians(found: Results, what: str) -> dict[str, float]:
    """Return the median over rounds of one of the numbers, by run."""
    return {name: statistics.median(each[what] for each in results) for name, results in found.items()}
