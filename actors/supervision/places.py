"""Where owners run in Ray: the placement group of a seat, its named, detached processes, finding and ending them.

A seat has one process, or two where the pipeline has standbys: they differ by name only, and who works is theirs to settle
(actors/partition_owner.py).
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, Literal, NamedTuple

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError
from ray.util import get_placement_group, placement_group, placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.calls import answer
from actors.deal import Seat
from actors.errors import ConfigError
from actors.names import NAMESPACE
from actors.partition_owner import STANDBY, PartitionOwner
from actors.pipeline import Pipeline

_LOG = logging.getLogger("chipquality.supervisor")

OWNER_CPUS = 0.5
PLACE_TIMEOUT_S = 10.0  # to find a node with room
ELSEWHERE_S = 1.0  # to find one that is not the supervisor's
NODE_LABEL = "ray.io/node-id"  # which Ray gives every node


Role = Literal["owner", "standby"]  # which of the two was started first


class Member(NamedTuple):
    """One of the processes of a seat."""

    seat: Seat
    role: Role = "owner"

    @property
    def other(self) -> Member:
        """The process beside it, if the pipeline has standbys."""
        return Member(self.seat, "standby" if self.role == "owner" else "owner")


def member_name(pipeline: str, member: Member) -> str:
    """Return the name of a seat's actor.

    >>> member_name("quality", Member(Seat(0, 3)))
    'owner:quality:0:3'
    """
    return f"{member.role}:{pipeline}:{member.seat.slot}:{member.seat.incarnation}"


def seat_of(name: str, pipeline: str, role: Role = "owner") -> Seat | None:
    """Return the seat in the name of an actor of this pipeline, None for another actor's name."""
    kind, _, rest = name.partition(":")
    owner_of, _, numbers = rest.partition(":")
    if (kind, owner_of) != (role, pipeline):
        return None
    slot, _, incarnation = numbers.partition(":")
    return Seat(int(slot), int(incarnation))


def named(prefix: str) -> list[str]:
    """Return the names of our actors that begin so."""
    every = ray.util.list_named_actors(all_namespaces=True)
    return sorted(a["name"] for a in every if a["namespace"] == NAMESPACE and a["name"].startswith(prefix))


def members(pipeline: str) -> dict[Member, ActorHandle[Any]]:
    """Return the processes of a pipeline's seats that Ray knows."""
    roles: tuple[Role, ...] = ("owner", "standby")
    found = [
        Member(seat, role)
        for role in roles
        for name in named(f"{role}:{pipeline}:")
        if (seat := seat_of(name, pipeline, role)) is not None
    ]
    return {member: handle for member in found if (handle := find(pipeline, member)) is not None}


def placed(pipeline: str) -> frozenset[Seat]:
    """Return the seats that a node's place is kept for, also those whose owner never came to be, or is dead."""
    table: dict[str, dict[str, Any]] = placement_group_table()
    names = [group["name"] for group in table.values() if group["state"] != "REMOVED"]
    owners_of = [name.replace("slot:", "owner:", 1) for name in names if name.startswith("slot:")]
    return frozenset(seat for name in owners_of if (seat := seat_of(name, pipeline)) is not None)


def find(pipeline: str, member: Member) -> ActorHandle[Any] | None:
    """Return a process of a seat, None if there is none."""
    try:
        return ray.get_actor(member_name(pipeline, member), NAMESPACE)
    except ValueError:
        return None


def start(pipeline: Pipeline, seat: Seat, silent: Collection[str] = ()) -> ActorHandle[Any]:
    """Start the owner of a seat, or get the one that runs; does not wait for it. Raises ConfigError if no node has room.

    Not on the supervisor's node, if another has room: a node that is lost must not take with it who replaces the owners. Not on a
    node that is `silent` (ids) either, if there is another at all: Ray places one group after the other, and asks a machine that
    is frozen until its connections end, which outlasts its being declared dead.
    """
    families = len(pipeline.families) if pipeline.hosting == "actor" else 0
    cpus = OWNER_CPUS + pipeline.detector_cpus * families
    here = ray.get_runtime_context().get_node_id()
    head, others = _head_and_others()
    choices = [{here, *silent}, {*silent}] if silent else [{here}]
    group = None
    for unwanted in choices:
        if set(others) - unwanted:
            group = group or _place(pipeline.name, seat, cpus, _not_on([*head, *sorted(unwanted)]), ELSEWHERE_S)
    group = group or _place(pipeline.name, seat, cpus, not_on_the_head(), PLACE_TIMEOUT_S)
    if group is None:
        raise ConfigError(f"Ray has no node with {cpus:g} free CPUs for slot {seat.slot} of pipeline {pipeline.name}")
    return _process(pipeline, Member(seat), group, OWNER_CPUS)


def _place(pipeline: str, seat: Seat, cpus: float, where: dict[str, str], timeout_s: float) -> PlacementGroup | None:
    group: PlacementGroup = placement_group(
        [{"CPU": cpus}],
        strategy="STRICT_PACK",
        name=_group_name(pipeline, seat),
        lifetime="detached",
        bundle_label_selector=[where],
    )
    if group.wait(timeout_s):
        return group
    remove_placement_group(group)
    return None


def start_beside(pipeline: Pipeline, member: Member) -> ActorHandle[Any]:
    """Start a process in a seat's place, beside the one that works, or get the one that is there; does not wait for it.

    Raises ValueError if the place is gone.
    """
    return _process(pipeline, member, get_placement_group(_group_name(pipeline.name, member.seat)), cpus=0)


def _process(pipeline: Pipeline, member: Member, group: PlacementGroup, cpus: float) -> ActorHandle[Any]:
    actor: ActorHandle[Any] = PartitionOwner.options(  # type: ignore[attr-defined]
        name=member_name(pipeline.name, member),
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=0 if pipeline.standby else -1,  # beside a standby that takes over, a start is only in its way
        max_task_retries=0,
        max_concurrency=4,
        num_cpus=cpus,
        scheduling_strategy=PlacementGroupSchedulingStrategy(group),
    ).remote(pipeline, member.seat)
    return actor


def raylets() -> dict[str, str]:
    """Return id → address of the raylet for every node but the head."""
    _, others = _head_and_others()
    known = {node["NodeID"]: node for node in ray.nodes()}  # type: ignore[no-untyped-call]
    return {node: f"{known[node]['NodeManagerAddress']}:{known[node]['NodeManagerPort']}" for node in others}


def not_on_the_head() -> dict[str, str]:
    """Return a label selector for every node but the head, if there are others: what runs there dies with Ray's head."""
    head, others = _head_and_others()
    return _not_on(head) if others else {}


def _head_and_others() -> tuple[list[str], list[str]]:
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    heads = [str(node["NodeID"]) for node in alive if "node:__internal_head__" in node["Resources"]]
    return heads, [str(node["NodeID"]) for node in alive if node["NodeID"] not in heads]


def _not_on(unwanted: list[str]) -> dict[str, str]:
    return {NODE_LABEL: f"!in({','.join(unwanted)})"} if unwanted else {}


def end(pipeline: str, seat: Seat) -> None:
    """End the processes of a seat and its placement group, if they are there."""
    standby = Member(seat, "standby")
    for member in (standby, standby.other):
        actor = find(pipeline, member)
        if actor is not None:
            ray.kill(actor)
    try:
        remove_placement_group(get_placement_group(_group_name(pipeline, seat)))
    except ValueError:
        _LOG.debug("%s has no placement group", member_name(pipeline, Member(seat)))


def stop_owners(pipeline: str, timeout_s: float) -> list[dict[str, Any]]:
    """Let every owner commit a snapshot, then end them; return their last statuses."""
    calls: dict[Member, Any] = {member: actor.stop.remote() for member, actor in members(pipeline).items()}
    said: dict[Seat, list[dict[str, Any]]] = {member.seat: [] for member in calls}
    for member, call in calls.items():
        try:
            status = answer(call, timeout_s)
        except RayError as error:
            status = {"pipeline": pipeline, "slot": member.seat.slot, "state": "killed", "last_error": str(error)}
        said[member.seat].append(status)
    for seat in said:
        end(pipeline, seat)
    return [
        next((s for s in of_seat if s["state"] not in {STANDBY, "killed"}), of_seat[0]) for of_seat in said.values()
    ]


def kill_detectors(pipeline: str) -> None:
    """Kill the detector processes of a pipeline, whatever they do."""
    for name in named(f"detector:{pipeline}:"):
        try:
            ray.kill(ray.get_actor(name, NAMESPACE))
        except ValueError:
            _LOG.debug("%s has ended by itself", name)


def _group_name(pipeline: str, seat: Seat) -> str:
    return f"slot:{pipeline}:{seat.slot}:{seat.incarnation}"
