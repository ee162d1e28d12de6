"""Setting the committed offsets of a consumer group; and why those of a pipeline are not set.

A pipeline's position stands in its state topic, with the state that belongs to it; its committed offset follows. Setting the
offset alone puts the partition in quarantine (docs/torn.md). Setting both would judge rows a second time into the same topics, or
leave some out, which readers and `chipquality pipeline check` rightly take for a fault; and open alerts would never be closed,
because what knows of them is the state. So it is refused, running or not, and a replay is the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from actors.follower import PARTITION
from actors.kafka.changes import Changes, InUseError, Place, Standing
from actors.kafka.client import Cluster
from actors.kafka.log import KafkaLog
from cluster.operations.bounds import Bound
from cluster.operations.errors import Absent, Conflict, Invalid, Refused, shown
from cluster.operations.plans import Plan
from cluster.operations.running import Work
from schemas.topics import DEALS

DEALS_TIMEOUT_S = 10.0

PIPELINE = (
    "{name} is a pipeline: its position stands in its state topic with the state that belongs to it, and rows between the two "
    "offsets would be judged twice into the same topics, or left out. Replay the stretch into topics of its own instead (POST "
    "/events/replay, `chipquality replay`); an offset that somebody has set by hand is put right by `chipquality pipeline repair`"
)


class ResetWish(NamedTuple):
    """What somebody asks for: one of the two names, and where to."""

    to: Bound
    group: str = ""
    pipeline: str = ""
    topic: str | None = None  # None: every topic that the group has committed offsets on


class ResetFacts(NamedTuple):
    """How things stand."""

    standing: Standing
    bounds: Mapping[Place, tuple[int, int]]  # of the partitions that are asked for
    by_time: Mapping[Place, int | None]  # where the time is, if one is asked for; None: beyond the end


def plan_reset(wish: ResetWish, facts: ResetFacts) -> Plan:
    """Return the plan of a reset of a plain group. Raises Refused."""
    group, standing = wish.group, facts.standing
    if wish.to.event_time_ms is not None:
        raise Invalid("a group is set to an offset or a time of publishing; Kafka does not know event times")
    if standing.members:
        raise Conflict(
            f"group {group} has {standing.members} members, which would commit their own offsets over it: stop them first"
        )
    if not standing.committed and wish.topic is None:
        raise Absent(f"there is no group {shown(group)} with committed offsets; name a topic to give it some")
    if not facts.bounds:
        what = f"topic {shown(wish.topic)}" if wish.topic else f"the topics of group {shown(group)}"
        raise Absent(f"{what}: no such topic")
    places, estimate = [], []
    for (topic, partition), (low, high) in sorted(facts.bounds.items()):
        place = (topic, partition)
        target = _target(wish.to, partition, low, high, facts.by_time.get(place))
        if target is None and wish.to.edge != "latest" and wish.to.time_ms is None:
            continue  # a partition that is not named
        before = standing.committed.get(place)
        places.append({"topic": topic, "partition": partition, "committed": before, "to": target})
        to = high if target is None else target
        estimate.append({"topic": topic, "partition": partition, "to": to, "end": high, "lag": high - to})
    if not places:
        raise Invalid("none of the partitions named is one of the group's")
    return Plan(
        "reset",
        f"group {group}",
        {"group": group, "new": standing.state == "dead", "offsets": places},
        {"offsets": estimate},
    )


def _target(to: Bound, partition: int, low: int, high: int, by_time: int | None) -> int | None:
    """Return the offset to be committed; None: the end, which moves."""
    if to.edge is not None:
        return low if to.edge == "earliest" else None
    if to.time_ms is not None:
        return by_time
    asked = to.at(partition)
    return None if asked is None else min(max(asked, low), high)


def reset_plan(cluster: Cluster, wish: ResetWish) -> Plan:
    """Look at the cluster, and plan. Raises Refused, ReopenError."""
    name = wish.pipeline or wish.group
    changes = Changes(cluster.bootstrap_servers, cluster.client)
    if is_pipeline(cluster, changes, name):
        raise Conflict(PIPELINE.format(name=name))
    if wish.pipeline:
        raise Absent(f"no pipeline {shown(name)} runs or has run")
    standing = changes.standing(name)
    if wish.topic is None:
        places = list(standing.committed)
    else:
        places = [(wish.topic, partition) for partition in changes.partitions(wish.topic)]
    bounds = changes.bounds(places)
    by_time = changes.at_time(bounds, wish.to.time_ms) if wish.to.time_ms is not None and bounds else {}
    return plan_reset(wish, ResetFacts(standing, bounds, by_time))


def is_pipeline(cluster: Cluster, changes: Changes, name: str) -> bool:
    """Tell whether a name is that of a pipeline that runs, or of one that ever had a deal."""
    from actors import supervisor  # noqa: PLC0415 - Ray is slow to import

    if name in supervisor.running():
        return True
    if not changes.partitions(DEALS):
        return False
    log = KafkaLog(cluster)
    try:
        ends = log.end(DEALS, [PARTITION])
        dealt = log.read_to_end(f"{name}-supervisor", DEALS, ends, DEALS_TIMEOUT_S, newest=True)[PARTITION]
    finally:
        log.close()
    return any(key == name.encode() for key, _ in dealt)


def run_reset(work: Work) -> str:
    """Commit the offsets of a plan. Raises Refused if the group has members by now, ReopenError."""
    group, offsets = work.plan["group"], work.plan["offsets"]
    changes = Changes(work.cluster.bootstrap_servers, work.cluster.client)
    to_the_end = [(item["topic"], item["partition"]) for item in offsets if item["to"] is None]
    ends = changes.bounds(to_the_end) if to_the_end else {}
    wanted = {
        (item["topic"], item["partition"]): ends[item["topic"], item["partition"]][1]
        if item["to"] is None
        else item["to"]
        for item in offsets
    }
    work.tell(0, len(wanted), "commits offsets")
    try:
        changes.set_offsets(group, wanted)
    except InUseError as error:
        raise Refused(str(error)) from error
    work.tell(len(wanted), len(wanted), "")
    return f"offsets of {group} on {len(wanted)} partitions are set"
