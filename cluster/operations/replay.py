"""Judging a stretch of an input topic again, with a running pipeline's detectors, into topics of its own beside the live ones.

Theory of operation
-------------------
The stretch is half open, as everything in Kafka is: `from` belongs to it, `to` does not. It is judged by a pipeline of its own
(actors/stretch.py), with owners under a supervisor of its own, so that a fault costs it no more than it costs a live one, and
what it says is what a fold of the stretch from its beginning gives. The operation makes the topics, starts that pipeline, watches
its committed offsets until every partition has reached its end, and stops it in order. The topics stay; the group does not.

A replay whose operations actor dies goes on in Ray; the next actor watches it on.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, NamedTuple

from ray.exceptions import GetTimeoutError, RayActorError

from actors import supervisor
from actors.engine.judge import assigned
from actors.errors import ReopenError
from actors.kafka.changes import Changes
from actors.kafka.client import Cluster
from actors.kafka.log import KafkaLog, SystemClock
from actors.pipeline import Pipeline
from actors.stretch import Stretch, first_since, replay_name, replay_topics, replayed
from actors.surroundings import Codec
from cluster.operations.bounds import Bound
from cluster.operations.errors import Absent, Conflict, Invalid, Refused, shown
from cluster.operations.plans import Plan
from cluster.operations.running import Work
from models.detector import identity
from schemas.topics import ALERTS, CHARTS, MEASUREMENTS, STATE, TOPICS, Topic, dead_letter_topic, late_topic

OUTPUT = re.compile(r"[a-z][a-z0-9-]{0,30}")
LOOK_S = 0.25  # between two looks at how far it is
STALL_S = 300.0  # without a record more judged, or a supervisor that answers; then it is given up

Offsets = Mapping[int, int]
Found = Mapping[int, int | None]  # None: beyond what there is


class ReplayWish(NamedTuple):
    """What somebody asks for."""

    pipeline: str
    output: str
    since: Bound
    until: Bound


class ReplayFacts(NamedTuple):
    """How things stand."""

    input: str
    detectors: Sequence[str]  # identities
    topics: Sequence[str]  # to be made
    taken: Sequence[str]  # those of them that are there already
    bounds: Mapping[int, tuple[int, int]]  # first retained offset and end, by partition
    since: Found  # where a time that was asked for is
    until: Found


def plan_replay(wish: ReplayWish, facts: ReplayFacts) -> Plan:
    """Return the plan of a replay. Raises Refused."""
    if facts.taken:
        raise Conflict(f"{', '.join(facts.taken)} is there already: delete it, or take another `output`")
    partitions, estimate = [], []
    for partition, (low, high) in sorted(facts.bounds.items()):
        asked = _asked(wish.since, partition, low, facts.since)
        until = _asked(wish.until, partition, None, facts.until)
        start = high if asked is None else min(max(asked, low), high)
        end = high if until is None else min(until, high)
        judged = end > start
        to = None if until is None or until > high else end  # None: as far as it reaches when it begins
        lost = max(0, min(low, end) - asked) if asked is not None and asked < low else 0
        partitions.append(
            {
                "partition": partition,
                "from": start if judged else None,
                "to": to if judged else None,
                "not_retained": lost,
            }
        )
        estimate.append({"partition": partition, "from": start, "to": max(start, end), "records": max(0, end - start)})
    total = sum(item["records"] for item in estimate)
    if not total:
        gone = sum(item["not_retained"] or 0 for item in partitions)
        why = f"; {gone} offsets are not retained any more" if gone else ""
        raise Invalid(f"nothing of {facts.input} is in that stretch{why}")
    does = {
        "pipeline": wish.pipeline,
        "input": facts.input,
        "output": wish.output,
        "group": replay_name(wish.output),
        "topics": list(facts.topics),
        "detectors": list(facts.detectors),
        "partitions": partitions,
    }
    return Plan("replay", f"replay {wish.output}", does, {"records": total, "partitions": estimate})


def _asked(bound: Bound, partition: int, low: int | None, found: Found) -> int | None:
    """Return the offset that a bound names, also one that is not retained; None: beyond what there is."""
    if bound.edge is not None:
        return low if bound.edge == "earliest" else None
    if bound.time_ms is not None or bound.event_time_ms is not None:
        return found.get(partition)
    return bound.at(partition)


def check_wish(wish: ReplayWish) -> None:
    """Raise Invalid for what cannot be, whatever the cluster holds."""
    if not OUTPUT.fullmatch(wish.output):
        raise Invalid(f"output {shown(wish.output)!r}: a letter, then up to 30 letters, digits and hyphens, all small")
    if wish.until.edge == "earliest" or wish.since.edge == "latest":
        raise Invalid(
            "a stretch begins at the earliest, an offset or a time, and ends at the latest, an offset or a time"
        )


def replay_plan(cluster: Cluster, wish: ReplayWish) -> Plan:
    """Look at the cluster, and plan. Raises Refused, ReopenError."""
    check_wish(wish)
    try:
        pipeline = supervisor.pipeline_of(wish.pipeline)
    except ValueError as error:
        raise Absent(f"no pipeline {shown(wish.pipeline)} runs, whose detectors could judge") from error
    if replay_name(wish.output) in supervisor.running():
        raise Conflict(f"a replay into {wish.output} runs already")
    changes = Changes(cluster.bootstrap_servers, cluster.client)
    topics = topics_for(pipeline, wish.output)
    taken = [name for name in topics if name in TOPICS or changes.partitions(name)]
    spans = changes.bounds([(pipeline.input_topic, partition) for partition in pipeline.partitions])
    bounds = {partition: span for (_, partition), span in spans.items()}
    since = _located(cluster, changes, pipeline, wish.since, bounds)
    until = _located(cluster, changes, pipeline, wish.until, bounds)
    facts = ReplayFacts(pipeline.input_topic, identities(pipeline), list(topics), taken, bounds, since, until)
    return plan_replay(wish, facts)


def identities(pipeline: Pipeline) -> list[str]:
    """Return the identities of a pipeline's detectors, and which series each of them judges."""
    return sorted(
        f"{identity(assignment.detector)} on {', '.join(assignment.series)}"
        for family in pipeline.families.values()
        for assignment in assigned(family)
    )


def topics_for(pipeline: Pipeline, output: str) -> dict[str, Topic]:
    """Return the topics that a replay makes, as ours of the same kind are."""
    names = replay_topics(pipeline, output)
    like = {
        names.charts: CHARTS,
        names.alerts: ALERTS,
        names.dead_letters: dead_letter_topic(MEASUREMENTS),
        names.state: STATE,
        names.late: late_topic(MEASUREMENTS),
    }
    return {name: replace(TOPICS[ours], name=name) for name, ours in like.items() if name}


def _located(
    cluster: Cluster, changes: Changes, pipeline: Pipeline, bound: Bound, bounds: Mapping[int, tuple[int, int]]
) -> Found:
    """Return where a time stands in each partition; nothing if the bound is none."""
    topic = pipeline.input_topic
    if bound.time_ms is not None:
        return {p: at for (_, p), at in changes.at_time([(topic, p) for p in bounds], bound.time_ms).items()}
    if bound.event_time_ms is None:
        return {}
    log = KafkaLog(cluster)
    try:
        reader = log.reader(f"{pipeline.name}-replay-plan", topic)  # nothing is committed
        try:
            return first_since(reader, Codec.of(pipeline).decoder, bounds, bound.event_time_ms, SystemClock())
        except ReopenError as error:
            raise Refused(str(error)) from error
    finally:
        log.close()


# ---- running


def run_replay(work: Work) -> str:
    """Judge the stretch of a plan to its end. Raises Refused, ReopenError, TimeoutError."""
    plan = work.plan
    pipeline = _pipeline(work)
    watched = _Watched(work, replayed(pipeline, plan["output"], _stretch(plan)))
    work.tell(0, watched.records, "makes topics")
    watched.prepare(topics_for(pipeline, plan["output"]))
    try:
        supervisor.start_pipeline(watched.pipeline)
        watched.to_the_end()
    finally:
        supervisor.stop_pipeline(watched.pipeline.name)
    watched.leave()
    return f"{watched.records} records judged into {', '.join(plan['topics'])}"


def _pipeline(work: Work) -> Pipeline:
    """Return the pipeline whose detectors judge. Raises Refused if it does not run, or judges by others than were planned."""
    plan = work.plan
    names = [replay_name(plan["output"]), plan["pipeline"]] if work.resumed else [plan["pipeline"]]
    running = supervisor.running()
    name = next((name for name in names if name in running), None)
    if name is None:
        raise Refused(f"pipeline {plan['pipeline']} does not run any more: its detectors judge")
    pipeline = supervisor.pipeline_of(name)
    if identities(pipeline) != plan["detectors"]:
        raise Refused(f"pipeline {plan['pipeline']} has other detectors by now: plan again")
    return pipeline


def _stretch(plan: Mapping[str, Any]) -> Stretch:
    """Return the stretch of a plan; what it leaves open is as it was estimated when the operation began."""
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for planned, estimated in zip(plan["partitions"], plan["estimate"]["partitions"], strict=True):
        partition = planned["partition"]
        starts[partition] = estimated["from"] if planned["from"] is None else planned["from"]
        ends[partition] = estimated["to"] if planned["to"] is None else planned["to"]
    return Stretch(plan["input"], starts, ends)


def require_none(there: Set[str]) -> None:
    """Raise Conflict if topics that a replay would begin with are there by now: its output would be mixed with another's."""
    if there:
        raise Conflict(f"{', '.join(sorted(there))} is there by now: plan again")


class _Watched:
    """A replay's pipeline, from its topics to its end."""

    def __init__(self, work: Work, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._work = work
        stretch = pipeline.log
        assert isinstance(stretch, Stretch)  # noqa: S101 - for mypy
        self._starts, self._ends = stretch.starts, stretch.ends
        self.records = sum(end - self._starts[partition] for partition, end in self._ends.items())
        self._changes = Changes(work.cluster.bootstrap_servers, work.cluster.client)

    def prepare(self, topics: Mapping[str, Topic]) -> None:
        """Make the topics that are not there, and with them begin anew: what a group of the same name had is forgotten."""
        replication = self._changes.replication(self.pipeline.input_topic)
        missing = {name: topic for name, topic in topics.items() if not self._changes.partitions(name)}
        if not self._work.resumed:
            require_none(set(topics) - set(missing))
        if self.pipeline.topics.state in missing:
            self._changes.delete_group(self.pipeline.name)
        self._changes.apply(self._changes.plan(missing, len(self.pipeline.partitions), replication))

    def to_the_end(self) -> None:
        """Wait until every partition has reached its end. Raises Refused, TimeoutError, Cancelled."""
        log = KafkaLog(self._work.cluster)
        before, since = -1, time.monotonic()
        try:
            while True:
                done, reached = self._committed(log)
                self._work.tell(done, self.records, f"{done} of {self.records} records judged")
                if reached:
                    return
                trouble = self._trouble()
                if done > before:
                    before, since = done, time.monotonic()
                elif time.monotonic() - since > STALL_S:
                    raise TimeoutError(
                        f"no record more is judged for {STALL_S:g} s: {trouble or 'nothing is said why'}"
                    )
                self._work.pause(LOOK_S, f"{done} of {self.records} records judged; their topics are there")
        finally:
            log.close()

    def leave(self) -> None:
        """Forget the group: the lag of a replay that has ended means nothing."""
        self._changes.delete_group(self.pipeline.name)

    def _committed(self, log: KafkaLog) -> tuple[int, bool]:
        """Return how many offsets are behind it, and whether that is all."""
        at = log.committed(self.pipeline.name, self.pipeline.input_topic, self.pipeline.partitions)
        done = sum((offset or start) - start for p, start in self._starts.items() for offset in [at[p]])
        return done, all(at[p] == end for p, end in self._ends.items() if end > self._starts[p])

    def _trouble(self) -> str:
        """Return what stands in its way just now. Raises Refused for what will not pass by itself."""
        try:
            said = supervisor.status(self.pipeline.name)
        except (RayActorError, GetTimeoutError, ValueError) as error:
            return f"its supervisor cannot be reached: {error}"
        for owner in said["owners"]:
            for partition, why in owner.get("quarantined", {}).items():
                raise Refused(f"{self.pipeline.input_topic}:{partition} is in quarantine: {why}")
        errors = [owner["last_error"] for owner in said["owners"] if owner.get("last_error")]
        return str(said["trouble"] or "; ".join(errors))
