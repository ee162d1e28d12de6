"""Deleting a topic: what a replay has left, or one that is not ours. Topics that the product stands on are never deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from actors.kafka.changes import Changes, GroupOfTopic
from actors.kafka.client import Cluster
from actors.pipeline import Pipeline
from cluster.operations.errors import Absent, Conflict, shown
from cluster.operations.plans import Plan
from cluster.operations.running import Work
from schemas.topics import TOPICS

LOOK_S = 0.1


class DeleteFacts(NamedTuple):
    """How things stand."""

    bounds: Mapping[int, tuple[int, int]]  # by partition; empty: there is no such topic
    groups: Sequence[GroupOfTopic]
    used_by: Sequence[str]  # pipelines that run


def refuse_ours(topic: str) -> None:
    """Raise Conflict for a topic that is never deleted, and say why."""
    if topic.startswith("_"):
        raise Conflict(f"{shown(topic)} is Kafka's or the registry's own: what is in it is not for anybody to delete")
    ours = TOPICS.get(topic)
    if ours is not None:
        raise Conflict(f"{topic} is a topic of the product's ({ours.doc}): it is never deleted, its retention is")


def plan_delete(topic: str, facts: DeleteFacts) -> Plan:
    """Return the plan of a deletion. Raises Refused."""
    refuse_ours(topic)
    if not facts.bounds:
        raise Absent(f"there is no topic {shown(topic)}; GET /events/topics lists what there is")
    if facts.used_by:
        raise Conflict(f"{topic} is used by {', '.join(facts.used_by)}, which runs: stop that first")
    does = {
        "topic": topic,
        "records": sum(high - low for low, high in facts.bounds.values()),
        "partitions": [
            {"partition": partition, "low": low, "high": high}
            for partition, (low, high) in sorted(facts.bounds.items())
        ],
        "groups": [{"group": group.group, "members": group.members} for group in facts.groups],
    }
    return Plan("delete", f"topic {topic}", does)


def delete_plan(cluster: Cluster, topic: str) -> Plan:
    """Look at the cluster, and plan. Raises Refused, ReopenError."""
    refuse_ours(topic)
    changes = Changes(cluster.bootstrap_servers, cluster.client)
    places = [(topic, partition) for partition in changes.partitions(topic)]
    bounds = {partition: span for (_, partition), span in changes.bounds(places).items()} if places else {}
    groups = changes.groups_of(topic) if places else []
    return plan_delete(topic, DeleteFacts(bounds, groups, users(topic)))


def users(topic: str) -> list[str]:
    """Return the pipelines that run and read or write a topic. Raises RayError if one of them does not answer."""
    from actors import supervisor  # noqa: PLC0415 - Ray is slow to import

    return [name for name in supervisor.running() if topic in topics_of(supervisor.pipeline_of(name))]


def topics_of(pipeline: Pipeline) -> set[str]:
    """Return every topic that a pipeline reads or writes."""
    topics = pipeline.topics
    names = {topics.charts, topics.alerts, topics.dead_letters, topics.state, topics.control, topics.deals, topics.late}
    return {pipeline.input_topic, *names} - {""}


def run_delete(work: Work) -> str:
    """Delete the topic of a plan, and wait until it is gone. Raises ReopenError."""
    topic, records = work.plan["topic"], work.plan["records"]
    changes = Changes(work.cluster.bootstrap_servers, work.cluster.client)
    used_by = users(topic)
    if used_by:
        raise Conflict(f"{topic} is used by {', '.join(used_by)} by now")
    work.tell(0, records, f"deletes {topic}")
    changes.delete_topics([topic], lambda: work.pause(LOOK_S, f"{topic} is marked to be deleted"))
    work.tell(records, records, "")
    return f"{topic} is gone, with {records} records"
