"""Judge a stretch again, by other limits, rules or detectors, into a version of its own; swap it in by name when it is whole.

The stretch is judged by a replay (cluster/operations/replay.py): an operation, begun under an idempotency key of the run, that
goes on whatever becomes of this process; an attempt after it finds the same operation by the same key. Run n of job `june` writes
`june.v<n>.charts` and so on. When all of it is judged the alias of the job says v<n>; readers ask for that, and never see a half.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from actors import supervisor
from actors.control_desk import ControlDesk, Places
from actors.kafka.changes import Changes
from actors.kafka.client import Cluster
from actors.pipeline import Pipeline
from cluster.config import DetectorConfig
from cluster.deployments.satellite import satellite_name
from cluster.jobs.book import VERSIONS_MAX
from cluster.jobs.stage import Outcome, Stage
from cluster.operations import actor as operations
from cluster.operations.bounds import Bound, bound_of
from cluster.operations.errors import Absent, Refused, shown
from cluster.operations.judging import Judging
from cluster.operations.operation import Request
from cluster.operations.plans import digest
from cluster.operations.replay import ReplayWish, replay_plan
from models.limit_versions import Limits, SeriesChange, versions

LOOK_S = 0.5  # between two looks at the operation
TRIES_MAX = 100  # operations of one run
SERIES_MAX = 1_000  # that limits are given for one by one
ENDS = ("charts", "alerts", "dlq", "state", "late", "control")
Number = Annotated[float, Field(allow_inf_nan=False)]


class GivenLimits(BaseModel):
    """Limits of one series; what is not given is learned, or carried by the rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    series: str = Field(min_length=1, max_length=1_000)
    mu: Number | None = None
    sigma: Annotated[Number, Field(ge=0)] | None = None
    lsl: Number | None = None
    usl: Number | None = None
    target: Number | None = None


class RejudgeParameters(BaseModel):
    """What is judged again, and by what."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    pipeline: str | None = Field(None, max_length=60, description="that runs; the main one unless given")
    deployment: str | None = Field(
        None,
        max_length=31,
        description="instead: of a deployed detector, whose version judges; all series, whatever its mode",
    )
    since: str = Field("earliest", alias="from", max_length=40, description="earliest, an offset, or a time")
    to: str = Field("latest", max_length=40, description="the first that is not judged: latest, an offset, or a time")
    last_s: float | None = Field(
        None, gt=0, le=10 * 366 * 86_400, description="instead: so many seconds up to the time that the run is due"
    )
    event_time: bool = Field(False, description="times are event times; else times of publishing")
    detectors: list[DetectorConfig] = Field(
        default_factory=list, max_length=100, description="as in pipeline.detectors; the pipeline's own unless given"
    )
    limits: Literal["none", "live"] | Annotated[list[GivenLimits], Field(min_length=1, max_length=SERIES_MAX)] = Field(
        "none", description="none: learned, or carried by the rows; live: those approved by now; or by series"
    )
    keep: int = Field(3, ge=1, le=VERSIONS_MAX, description="versions that are kept; topics of older ones are deleted")

    @model_validator(mode="after")
    def _one_stretch(self) -> Self:
        if self.last_s is not None and (self.since, self.to) != ("earliest", "latest"):
            raise ValueError("either last_s, or from and to")
        if self.deployment is not None and (self.pipeline is not None or self.detectors):
            raise ValueError("deployment stands alone: without pipeline and detectors")
        self.bounds(0)  # a time that is none is refused when the job is defined
        return self

    def bounds(self, due_ms: int) -> tuple[Bound, Bound]:
        """Return where the stretch of a run begins and ends. Raises ValueError."""
        if self.last_s is None:
            return bound_of(self.since, event_time=self.event_time), bound_of(self.to, event_time=self.event_time)
        times = max(0, due_ms - round(self.last_s * 1000)), due_ms
        first, end = (Bound(event_time_ms=ms) if self.event_time else Bound(time_ms=ms) for ms in times)
        return first, end


def run_rejudge(stage: Stage) -> Outcome:
    """Judge, swap, and drop what is too old. Raises Refused, ReopenError."""
    parameters = RejudgeParameters.model_validate(dict(stage.parameters))
    output = f"{stage.run.job}.v{stage.run.number}"
    plan = _judge(stage, parameters, output)
    made = {
        "output": output,
        "topics": {topic.removeprefix(f"{output}."): topic for topic in plan["topics"]},
        "pipeline": plan["pipeline"],
        "input": plan["input"],
        "partitions": plan["estimate"]["partitions"],
        "not_retained": sum(part["not_retained"] for part in plan["partitions"]),
        "detectors": plan["detectors"],
    }
    dropped = stage.swap(made, parameters.keep)
    names = [f"{stage.run.job}.v{version}.{end}" for version in dropped for end in ENDS]
    _changes(stage).delete_topics(names)
    records = plan["estimate"]["records"]
    return Outcome(f"{records} records judged into {output}, which is the current one", {"records": records, **made})


def _judge(stage: Stage, parameters: RejudgeParameters, output: str) -> Mapping[str, Any]:
    """Have the stretch judged, by one operation after another until one is done; return its plan."""
    handle = operations.connect(stage.cluster, stage.pipeline)
    by, asked = stage.author, digest({"run": stage.run.id, "parameters": dict(stage.parameters)})
    for n in range(1, TRIES_MAX + 1):
        key = f"{stage.run.id}/{n}"
        operation = operations.ask(handle, "known", by, key, asked)
        if operation is not None and operation["state"] in ("failed", "cancelled"):
            continue  # of an attempt before this one
        if operation is None:
            _changes(stage).delete_topics(f"{output}.{end}" for end in ENDS)  # a half that is left of one before
            plan = replay_plan(stage.cluster, _wish(stage, parameters, output))
            request = Request(plan.kind, plan.subject, plan.to_json(), plan.hash, by, key, asked)
            operation = operations.ask(handle, "begin", request)
            stage.note(operation=operation["id"])
        operation = _followed(stage, handle, operation)
        if operation["state"] != "done":
            raise Refused(
                f"operation {operation['id']} {operation['state']}: {operation['error'] or operation['what']}"
            )
        found: Mapping[str, Any] = operation["plan"]
        return found
    raise Refused(f"{TRIES_MAX} operations of this run have failed")


def _followed(stage: Stage, handle: Any, operation: dict[str, Any]) -> dict[str, Any]:
    """Return the operation when it has ended; if this process is stopped, so is the operation."""
    try:
        said = None
        while operation["state"] == "running":
            told = (operation["done"], operation["of"], operation["what"])
            if told != said:
                stage.tell(*told)
                said = told
            time.sleep(LOOK_S)
            operation = operations.ask(handle, "get", operation["id"])
    except SystemExit:
        operations.ask(handle, "cancel", operation["id"])
        raise
    return operation


def _wish(stage: Stage, parameters: RejudgeParameters, output: str) -> ReplayWish:
    name = satellite_name(parameters.deployment) if parameters.deployment else parameters.pipeline or stage.pipeline
    since, until = parameters.bounds(stage.run.due_ms)
    try:
        pipeline = supervisor.pipeline_of(name)
    except ValueError as error:
        raise Absent(f"no pipeline {shown(name)} runs, whose input is to be judged") from error
    detectors = tuple(detector.model_dump(mode="json") for detector in parameters.detectors)
    limits = _limits(stage.cluster, pipeline, parameters)
    judging = Judging(detectors, limits) if detectors or limits else None
    return ReplayWish(name, output, since, until, judging)


def _limits(cluster: Cluster, pipeline: Pipeline, parameters: RejudgeParameters) -> tuple[SeriesChange, ...]:
    """Return the limits that are given, each for the partition that holds its series. Raises ChangeRefused, Refused."""
    if parameters.limits == "none":
        return ()
    if pipeline.vector is not None:
        raise Refused(f"{pipeline.name} judges vectors, which have no limits of their own")
    topics = pipeline.topics
    with ControlDesk(cluster, Places(pipeline.name, pipeline.input_topic, topics.state, topics.control)) as desk:
        if parameters.limits == "live":
            changes = list(desk.changes().values())
            series = sorted({share.series for change in changes for share in change.changes})
            held = [found[-1].share for name in series if (found := versions(changes, name))]
            return tuple(share._replace(limits_version=1) for share in held)
        assert not isinstance(parameters.limits, str)  # noqa: S101 - for mypy
        return tuple(_given(desk, given) for given in parameters.limits)


def _given(desk: ControlDesk, given: GivenLimits) -> SeriesChange:
    partition = desk.history.rows(given.series, partition=None, rows=1).partition
    return SeriesChange(given.series, partition, Limits(**given.model_dump(exclude={"series"})), 1)


def _changes(stage: Stage) -> Changes:
    return Changes(stage.cluster.bootstrap_servers, stage.cluster.client)
