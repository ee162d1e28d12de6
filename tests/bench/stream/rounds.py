"""Systems side by side: each in turn, several rounds, each on a broker of its own on the same cores; raw results as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cluster.config import load
from cluster.local import LocalStack
from tests.bench.stream.systems import SYSTEMS, PythonPeer, Streams, System, build_streams, python
from tests.real_ray import real_ray

SERIES, PARTITIONS = 10_000, 4

Results = dict[str, list[dict[str, Any]]]  # by system, in the order asked for: what each round gave


def arguments(description: str, window_s: float, systems: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser of what every comparison is asked; `systems` are those that run if none is named."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--system", action="append", choices=list(SYSTEMS), help=f"{', '.join(systems)} without it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window", type=float, default=window_s, help="seconds")
    parser.add_argument("--series", type=int, default=SERIES)
    parser.add_argument("--partitions", type=int, default=PARTITIONS)
    parser.add_argument("--out", type=Path, default=Path(".chipquality/bench/results.jsonl"), help="for raw results")
    return parser


def compare(asked: argparse.Namespace, systems: Sequence[str], measure: Callable[[System], dict[str, Any]]) -> Results:
    """Measure every system in every round."""
    names = asked.system or list(systems)
    _prepare([SYSTEMS[name] for name in names])
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    found: Results = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder, asked.out.open("w") as raw, real_ray():
        for number in range(asked.rounds):
            for name in names:
                with LocalStack(Path(folder) / f"{name}-{number}", cache=load().local.cache) as stack:
                    system = SYSTEMS[name](stack.endpoints, Path(folder) / f"of-{name}-{number}", asked.partitions)
                    result = {"system": system.name, "does": system.does, **measure(system)}
                found[name].append(result)
                raw.write(json.dumps({"round": number, **result}) + "\n")
                raw.flush()
                sys.stderr.write(f"{number} {result}\n")
    return found


def _prepare(kinds: Sequence[type[System]]) -> None:
    """Build and install what these need."""
    if any(issubclass(kind, Streams) for kind in kinds):
        build_streams()
    if any(issubclass(kind, PythonPeer) for kind in kinds):
        python()
