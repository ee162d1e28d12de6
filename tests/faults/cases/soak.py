"""The long run: half of what the line can do, and nothing that grows."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import psutil

from tests.faults import steering
from tests.faults.case import Case, MissedError, Scene

BURST = 60_000  # records, to measure what the line can do
SHARE_MIN = 0.48  # of capacity: half of it, as well as a producer keeps its pace
SAMPLE_S = 5.0
WARM = 0.3  # of the time, before memory has settled
SLOPE_MAX = 0.01  # of the memory, in 10 minutes
LAG_S = 1.0  # of records: what may lie between producer and verdict, and is no trend
MIB = 2**20


class Sample(NamedTuple):
    """How things stand at one moment."""

    at_s: float
    lag: int  # records
    held: dict[str, int]  # bytes, by what holds them; without what said nothing just then


class Trend(NamedTuple):
    """What became of memory and lag since memory has settled."""

    memory_mib: float  # mean
    memory_slope: float  # part of the mean, in 10 minutes
    lag: float  # mean, records
    lag_rise: float  # records, from the first sample to the last
    each_mib: dict[str, tuple[float, float]]  # first and last
    used: int  # samples


def soak(scene: Scene) -> None:
    """Measure what the line can do, then run at half of it and watch memory and lag."""
    producer, minutes, name = scene.producer, scene.options.minutes, scene.line.name
    capacity = _capacity(scene)
    room = (len(producer.sent.messages) - producer.done) / (minutes * 60)
    producer.rate = min(capacity / 2, room)
    samples = scene.facts["samples"] = []
    began, first = time.monotonic(), producer.done
    while (elapsed := time.monotonic() - began) < minutes * 60:
        lag = producer.done - scene.tail.total()
        samples.append(Sample(elapsed, lag, _held(name) | {"objects": scene.nodes.object_store_used()}))
        time.sleep(SAMPLE_S)
    producer.end_here()
    rate = (producer.done - first) / (time.monotonic() - began)
    scene.facts |= {
        "capacity/s": round(capacity),
        "rate/s": round(rate),
        "share of capacity": round(rate / capacity, 3),
    }


def _capacity(scene: Scene) -> float:
    """Return how many records of a burst are judged in a second; the producer goes on as before."""
    producer = scene.producer
    steady, began, first = producer.rate, time.monotonic(), scene.tail.total()
    producer.limit = producer.done + BURST
    producer.rate = 1e9
    producer.wait_sent(producer.limit)
    producer.rate = steady
    producer.limit = len(producer.sent.messages)
    steering.wait(lambda: scene.tail.total() >= first + BURST, "the burst is judged", 300)
    return BURST / (time.monotonic() - began)


def _held(name: str) -> dict[str, int]:
    """Return the bytes that each process of the pipeline has for itself; nothing of one that ends or says nothing just now."""
    held = {}
    with contextlib.suppress(*steering.UNREACHABLE):
        for what, pid in steering.processes(name).items():
            with contextlib.suppress(psutil.NoSuchProcess):
                held[what] = int(psutil.Process(pid).memory_full_info().uss)
    return held


def trend(samples: Sequence[Sample]) -> Trend:
    """Return what became of memory and lag; samples that lack a process are left out.

    >>> held = [Sample(60.0 * n, 10, {"owner": 1_000 * MIB + n * MIB, "standby": 1_000 * MIB}) for n in range(21)]
    >>> of = trend([*held, Sample(1_230.0, 10, {"owner": 1_000 * MIB})])
    >>> round(of.memory_slope, 4), of.lag, of.used, of.each_mib["owner"]
    (0.005, 10.0, 14, (1007.0, 1020.0))
    """
    every = set().union(*(sample.held for sample in samples))
    warm = [s for s in samples if s.held.keys() == every and s.at_s >= WARM * samples[-1].at_s]
    at, lag = np.array([sample.at_s for sample in warm]), np.array([sample.lag for sample in warm], float)
    held = np.array([sum(sample.held.values()) for sample in warm], float)
    return Trend(
        memory_mib=float(held.mean()) / MIB,
        memory_slope=float(np.polyfit(at, held, 1)[0] * 600 / held.mean()),
        lag=float(lag.mean()),
        lag_rise=float(np.polyfit(at, lag, 1)[0] * (at[-1] - at[0])),
        each_mib={
            what: (round(warm[0].held[what] / MIB, 1), round(warm[-1].held[what] / MIB, 1)) for what in sorted(every)
        },
        used=len(warm),
    )


def is_flat(scene: Scene, _: Any) -> None:
    """Raise MissedError if memory or lag grow, or if it was no half of capacity."""
    samples = scene.facts.pop("samples")
    of = trend(samples)
    scene.facts |= {
        "memory MiB": round(of.memory_mib, 1),
        "memory %/10 min": round(100 * of.memory_slope, 2),
        "memory MiB of each, from and to": of.each_mib,
        "lag, records": round(of.lag),
        "lag's rise, records": round(of.lag_rise),
        "samples": f"{of.used} of {len(samples)}",
    }
    if scene.facts["share of capacity"] < SHARE_MIN:
        raise MissedError(f"it ran at {scene.facts['share of capacity']:.0%} of capacity")
    if of.memory_slope > SLOPE_MAX:
        raise MissedError(f"memory grows by {100 * of.memory_slope:.2f} % in 10 minutes")
    if of.lag_rise > LAG_S * scene.facts["rate/s"]:
        raise MissedError(f"the lag grows by {of.lag_rise:.0f} records")


_TOLD = (
    "capacity/s", "rate/s", "share of capacity", "memory MiB", "memory %/10 min", "memory MiB of each, from and to",
    "lag, records", "lag's rise, records", "samples",
)  # fmt: skip
CASES = (
    Case(
        "soak", "soak at half capacity", "memory < 1 %/10 min, lag flat", 0.0, soak,
        settings={"hosting": "actor"}, endless=True, seconds=100, fault_at=0.02, after=is_flat, drain_s=120, tells=_TOLD,
    ),
)  # fmt: skip
