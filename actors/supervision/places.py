"""Where owners run in Ray: the placement group of a seat, its named, detached owner, finding and ending them."""

from __future__ import annotations

import logging
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError
from ray.util import get_placement_group, placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.calls import answer
from actors.deal import Seat
from actors.errors import ConfigError
from actors.names import NAMESPACE
from actors.partition_owner import DETECTOR_CPUS, PartitionOwner
from actors.pipeline import Pipeline

_LOG = logging.getLogger("chipquality.supervisor")

OWNER_CPUS = 0.5
PLACE_TIMEOUT_S = 10.0  # to find a node with room
NODE_LABEL = "ray.io/node-id"  # which Ray gives every node


def owner_name(pipeline: str, seat: Seat) -> str:
    """Return the name of an owner actor.

    >>> owner_name("quality", Seat(0, 3))
    'owner:quality:0:3'
    """
    return f"owner:{pipeline}:{seat.slot}:{seat.incarnation}"


def seat_of(name: str, pipeline: str) -> Seat | None:
    """Return the seat in the name of an owner of this pipeline, None for another actor's name."""
    kind, _, rest = name.partition(":")
    owner_of, _, numbers = rest.partition(":")
    if (kind, owner_of) != ("owner", pipeline):
        return None
    slot, _, incarnation = numbers.partition(":")
    return Seat(int(slot), int(incarnation))


def named(prefix: str) -> list[str]:
    """Return the names of our actors that begin so."""
    every = ray.util.list_named_actors(all_namespaces=True)
    return sorted(a["name"] for a in every if a["namespace"] == NAMESPACE and a["name"].startswith(prefix))


def owners(pipeline: str) -> dict[Seat, ActorHandle[Any]]:
    """Return the owners of a pipeline that Ray knows."""
    seats = [seat for name in named(f"owner:{pipeline}:") if (seat := seat_of(name, pipeline)) is not None]
    return {seat: handle for seat in seats if (handle := find(pipeline, seat)) is not None}


def placed(pipeline: str) -> frozenset[Seat]:
    """Return the seats that a node's place is kept for, also those whose owner never came to be, or is dead."""
    table: dict[str, dict[str, Any]] = placement_group_table()
    names = [group["name"] for group in table.values() if group["state"] != "REMOVED"]
    owners_of = [name.replace("slot:", "owner:", 1) for name in names if name.startswith("slot:")]
    return frozenset(seat for name in owners_of if (seat := seat_of(name, pipeline)) is not None)


def find(pipeline: str, seat: Seat) -> ActorHandle[Any] | None:
    """Return the owner of a seat, None if there is none."""
    try:
        return ray.get_actor(owner_name(pipeline, seat), NAMESPACE)
    except ValueError:
        return None


def start(pipeline: Pipeline, seat: Seat) -> ActorHandle[Any]:
    """Start the owner of a seat, or get the one that runs; does not wait for it. Raises ConfigError if no node has room."""
    families = len(pipeline.families) if pipeline.hosting == "actor" else 0
    bundle = {"CPU": OWNER_CPUS + DETECTOR_CPUS * families}
    group = placement_group(
        [bundle],
        strategy="STRICT_PACK",
        name=_group_name(pipeline.name, seat),
        lifetime="detached",
        bundle_label_selector=[not_on_the_head()],
    )
    if not group.wait(PLACE_TIMEOUT_S):
        remove_placement_group(group)
        raise ConfigError(
            f"Ray has no node with {bundle['CPU']:g} free CPUs for slot {seat.slot} of pipeline {pipeline.name}"
        )
    owner: ActorHandle[Any] = PartitionOwner.options(  # type: ignore[attr-defined]
        name=owner_name(pipeline.name, seat),
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_task_retries=0,
        max_concurrency=4,
        num_cpus=OWNER_CPUS,
        scheduling_strategy=PlacementGroupSchedulingStrategy(group),
    ).remote(pipeline, seat)
    return owner


def not_on_the_head() -> dict[str, str]:
    """Return a label selector for every node but the head, if there are others: what runs there dies with Ray's head."""
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    heads = [node["NodeID"] for node in nodes if "node:__internal_head__" in node["Resources"]]
    return {NODE_LABEL: f"!{heads[0]}"} if heads and len(nodes) > 1 else {}


def end(pipeline: str, seat: Seat) -> None:
    """End the owner of a seat and its placement group, if they are there."""
    owner = find(pipeline, seat)
    if owner is not None:
        ray.kill(owner)
    try:
        remove_placement_group(get_placement_group(_group_name(pipeline, seat)))
    except ValueError:
        _LOG.debug("%s has no placement group", owner_name(pipeline, seat))


def stop_owners(pipeline: str, timeout_s: float) -> list[dict[str, Any]]:
    """Let every owner commit a snapshot, then end them; return their last statuses."""
    found = owners(pipeline)
    calls: dict[Seat, Any] = {seat: owner.stop.remote() for seat, owner in found.items()}
    statuses: list[dict[str, Any]] = []
    for seat, call in calls.items():
        try:
            statuses.append(answer(call, timeout_s))
        except RayError as error:
            statuses.append({"pipeline": pipeline, "slot": seat.slot, "state": "killed", "last_error": str(error)})
        end(pipeline, seat)
    return statuses


def _group_name(pipeline: str, seat: Seat) -> str:
    return f"slot:{pipeline}:{seat.slot}:{seat.incarnation}"
