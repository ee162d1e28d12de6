"""More slots and fewer under load, and the long run."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import psutil

from tests.faults import steering
from tests.faults.case import Case, MissedError, Scene
from tests.faults.recovery import gap

SLOTS = (4, 2)
OTHERS_GAP_MAX_S = 0.25
SETTLED_S = 5.0

BURST = 60_000  # records, to measure what the line can do
SAMPLE_S = 5.0
WARM = 0.3  # of the samples, before memory has settled
SLOPE_MAX = 0.01  # of the memory, in 10 minutes
LAG_S = 1.0  # of records: what may lie between producer and verdict, and is no trend


def rescale(scene: Scene) -> None:
    scene.facts["changes"] = changes = []
    for slots in SLOTS:
        before, at = steering.shares(scene.line.name), time.monotonic()
        steering.scale(scene.line.name, slots)
        after = steering.shares(scene.line.name)
        moved = tuple(p for p in after if after[p] != before.get(p))
        others = tuple(p for p in after if p not in moved)
        changes.append({"slots": slots, "at": at, "until": time.monotonic(), "moved": moved, "others": others})
        scene.fault_at(at, moved)
        scene.producer.wait_sent(scene.producer.done + int(SETTLED_S * scene.producer.rate))


def _others_go_on(scene: Scene, _: Any) -> None:
    for change in scene.facts["changes"]:
        gaps = [gap(scene.tail.receipts[p], change["at"], change["until"]) for p in change["others"]]
        change["others gap s"] = round(max(gaps, default=0.0), 3)
    longest = scene.facts["others' gap, s"] = max(change["others gap s"] for change in scene.facts["changes"])
    if longest > OTHERS_GAP_MAX_S:
        raise MissedError(f"partitions that stayed had a gap of {longest * 1000:.0f} ms")


def soak(scene: Scene) -> None:
    """Measure what the line can do, then run at half of it and watch memory and lag."""
    producer, minutes = scene.producer, scene.options.minutes
    steady, began, first = producer.rate, time.monotonic(), scene.tail.total()
    producer.limit = producer.done + BURST
    producer.rate = 1e9
    producer.wait_sent(producer.limit)
    producer.rate = steady
    producer.limit = len(producer.sent.messages)
    steering.wait(lambda: scene.tail.total() >= first + BURST, "the burst is judged", 300)
    capacity = BURST / (time.monotonic() - began)
    room = (len(producer.sent.messages) - producer.done) / (minutes * 60)
    producer.rate = min(capacity / 2, room)
    scene.facts |= {"capacity/s": round(capacity), "rate/s": round(producer.rate)}
    samples = scene.facts["samples"] = []
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < minutes * 60:
        lag = producer.done - scene.tail.total()
        samples.append((elapsed, _uss(scene.line.name) + scene.nodes.object_store_used(), lag))
        time.sleep(SAMPLE_S)
    producer.end_here()


def _uss(name: str) -> int:
    processes = [*steering.pids(name).values(), *steering.detector_pids(name).values()]
    return sum(psutil.Process(pid).memory_full_info().uss for pid in processes)


def _flat(scene: Scene, _: Any) -> None:
    at, held, lag = np.array(scene.facts.pop("samples"), float).T
    warm = at >= WARM * at[-1]
    slope = np.polyfit(at[warm], held[warm], 1)[0] * 600 / held[warm].mean()
    rise = np.polyfit(at[warm], lag[warm], 1)[0] * (at[-1] - at[warm][0])
    scene.facts |= {
        "memory MiB": round(held[warm].mean() / 2**20, 1),
        "memory %/10 min": round(100 * slope, 2),
        "lag, records": round(float(lag[warm].mean())),
        "lag's rise, records": round(float(rise)),
    }
    if slope > SLOPE_MAX:
        raise MissedError(f"memory grows by {100 * slope:.2f} % in 10 minutes")
    if rise > LAG_S * scene.producer.rate:
        raise MissedError(f"the lag grows by {rise:.0f} records")


def _slotted() -> str:
    return "" if steering.SLOTTED else "this version has one slot"


CASES = (
    Case(
        "rescale", "rescale 1→4→2 under load", "moved 5 s; others' gap 250 ms", 5.0, rescale,
        settings={"hosting": "owner"},  # four slots of six processes each are no load for one machine
        needs=_slotted, seconds=60, after=_others_go_on, tells=("others' gap, s",),
    ),
    Case(
        "soak", "soak at half capacity", "memory < 1 %/10 min, lag flat", 0.0, soak,
        settings={"hosting": "actor"}, endless=True, seconds=100, fault_at=0.02, after=_flat, drain_s=120,
    ),
)  # fmt: skip
