"""Consumer groups and pipelines, as the API and the command line tell of them. Pure.

A pipeline commits its offsets to a group of its name, and nobody ever joins that group: its owners take the partitions that the
deal gives them (actors/deal.py). Kafka calls such a group empty. What it is, its supervisor knows: who owns which partition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from actors.lag_watch import LagWatch, Place, told

ASSIGNED = "assigned by our supervisor"
PRESENT = frozenset({"live", "opening"})  # states of an owner that is at work
OK = "OK"


def consumers(
    groups: Sequence[Mapping[str, Any]],
    watch: LagWatch,
    pipelines: Mapping[str, Mapping[str, Any] | None],
    now_ms: int,
) -> list[dict[str, Any]]:
    """Return groups, those of pipelines first. `pipelines`: what each supervisor says; None: it was not asked, or is silent."""
    ordered = sorted(groups, key=order(pipelines))
    return [_consumer(group, watch, pipelines, now_ms) for group in ordered]


def order(pipelines: Mapping[str, object]) -> Any:
    """Return the key that groups are sorted by."""
    return lambda group: (group["group"] not in pipelines, group["group"])


def _consumer(
    group: Mapping[str, Any], watch: LagWatch, pipelines: Mapping[str, Mapping[str, Any] | None], now_ms: int
) -> dict[str, Any]:
    name = group["group"]
    if name not in pipelines:
        said = told(watch, group, now_ms, present=group["members"] > 0, owners={})
        return {"group": name, "kind": "group", **said}
    status = pipelines[name]
    owners: Sequence[Mapping[str, Any]] = status["owners"] if status else ()
    at_work = sum(owner["state"] in PRESENT for owner in owners)
    pipeline = {**group, "state": ASSIGNED, "members": at_work if status else None}
    # a supervisor that is silent proves nothing: whoever commits is there
    said = told(watch, pipeline, now_ms, present=status is None or at_work > 0, owners=_owners(owners, group))
    return {"group": name, "kind": "pipeline", **said}


def _owners(owners: Sequence[Mapping[str, Any]], group: Mapping[str, Any]) -> dict[Place, dict[str, Any]]:
    """Return who has which partition; a pipeline has one input topic, and owners name its partitions by number."""
    of = {
        int(partition): {name: owner.get(name) for name in ("slot", "node", "pid", "state")}
        for owner in owners
        for partition in owner["partitions"]
    }
    return {(p["topic"], p["partition"]): of[p["partition"]] for p in group["partitions"] if p["partition"] in of}
