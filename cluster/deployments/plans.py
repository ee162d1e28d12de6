"""What people wish of deployments, and the plans of it: what would be done, from the facts as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ray.exceptions import RayError

from actors import supervisor
from actors.calls import answer
from actors.engine.judge import EVERY, assigned
from actors.errors import ConfigError
from actors.kafka.changes import Changes
from actors.kafka.client import Cluster
from actors.packages.errors import PackageRefused
from actors.packages.limits import Limits
from actors.packages.package import Package
from actors.packages.store import PackageStore
from actors.pipeline import Pipeline
from actors.view.actor import connect
from cluster.deployments.carrying_out import check_promotion, check_removal, check_rollback
from cluster.deployments.record import Deployment, mode_of, mode_text
from cluster.deployments.satellite import own_topics
from cluster.deployments.switching import promotion, rollback
from cluster.operations.bounds import EARLIEST, Bound
from cluster.operations.errors import Absent, Conflict, Invalid, shown
from cluster.operations.plans import Plan
from schemas.topics import TOPICS

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
SERIES_MAX = 100  # patterns
PATTERN_MAX = 300  # characters of one
VIEW_S = 5.0  # for the view to answer


class DeployWish(NamedTuple):
    """What somebody wants deployed."""

    name: str
    package: str  # digest, in the store
    store: str
    mode: str = "shadow"
    target: str | None = None
    parameters: Mapping[str, Any] = {}
    series: Sequence[str] = EVERY
    limits: Mapping[str, Any] = {}
    since: Bound = EARLIEST
    replaces: str | None = None


def deploy_plan(cluster: Cluster, pipeline: str, wish: DeployWish, there: Mapping[str, Deployment]) -> Plan:
    """Look at the store and the cluster, and plan. Raises Refused."""
    mode = _mode(wish.mode)
    if not NAME.fullmatch(wish.name):
        raise Invalid(f"name {shown(wish.name)!r}: a letter, then up to 30 letters, digits and hyphens, all small")
    if wish.name in there:
        phase = there[wish.name].phase.value
        raise Conflict(f"there is a deployment {wish.name}, which is {phase}: take another name, or remove it first")
    if not wish.series or len(wish.series) > SERIES_MAX or any(len(each) > PATTERN_MAX for each in wish.series):
        raise Invalid(f"series: 1 to {SERIES_MAX} patterns of up to {PATTERN_MAX} characters")
    try:
        limits = Limits.of_json(wish.limits)
        package = Package.get(PackageStore(wish.store), wish.package)
        target = package.target_of(wish.target)
    except (PackageRefused, ConfigError, TypeError) as error:
        raise Invalid(str(error)) from error
    before = None if wish.replaces is None else _named(there, wish.replaces)
    base = running(pipeline)
    label = before.label if before is not None else wish.name
    _check_label(base, label)
    changes = Changes(cluster.bootstrap_servers, cluster.client)
    topics = own_topics(base, wish.name)
    taken = [topic for topic in topics if topic in TOPICS or changes.partitions(topic)]
    if taken:
        raise Conflict(f"{', '.join(taken)} is there already: take another name")
    bounds = {p: span for (_, p), span in changes.bounds([(base.input_topic, p) for p in base.partitions]).items()}
    since = _since(changes, base, wish.since, bounds)
    does = {
        "pipeline": pipeline,
        "deployment": wish.name,
        "package": wish.package,
        "code": f"{package.name} {package.version}",
        "requires": list(package.requires),
        "store": wish.store,
        "target": target,
        "parameters": dict(wish.parameters),
        "limits": limits.to_json(),
        "series": list(wish.series),
        "label": label,
        "replaces": wish.replaces,
        "mode": mode_text(mode),
        "from": since,
        "input": base.input_topic,
        "topics": list(topics),
    }
    records = sum(end - min(max(low, since.get(str(p), low)), end) for p, (low, end) in bounds.items())
    estimate = {"warm_up_records": records, "series": _known(pipeline, wish.series)}
    return Plan("deploy", f"deployments {label}", does, estimate)


def _known(pipeline: str, patterns: Sequence[str]) -> dict[str, int] | None:
    """Return how many of the series that the page shows patterns name; None: the view does not run, or does not answer."""
    try:
        matching, of = answer(connect(pipeline).matching.remote(list(patterns)), VIEW_S)
    except (ValueError, RayError):
        return None
    return {"matching": matching, "of": of}


def promote_plan(pipeline: str, name: str, mode: str, there: Mapping[str, Deployment]) -> Plan:
    """Plan a promotion. Raises Refused."""
    to, record = _mode(mode), _named(there, name)
    over = there.get(record.replaces or "")
    check_promotion(record, to, over)
    return _switch_plan("promote", pipeline, record, mode_text(to), promotion(record, over, to))


def rollback_plan(pipeline: str, name: str, there: Mapping[str, Deployment]) -> Plan:
    """Plan a rollback. Raises Refused."""
    record = _named(there, name)
    over = there.get(record.replaces or "")
    check_rollback(record, over)
    return _switch_plan("rollback", pipeline, record, None, rollback(record, over))


def _switch_plan(kind: str, pipeline: str, record: Deployment, mode: str | None, turns: Any) -> Plan:
    does = {
        "pipeline": pipeline,
        "deployment": record.name,
        "mode": mode,
        "turns": [
            {
                "deployment": turn.name,
                "to": "stopped" if turn.to is None else mode_text(turn.to),
            }
            for turn in turns
        ],
        "phase": record.phase.value,
    }
    return Plan(kind, f"deployments {record.label}", does)


def remove_plan(pipeline: str, name: str, there: Mapping[str, Deployment]) -> Plan:
    """Plan a removal. Raises Refused."""
    record = _named(there, name)
    check_removal(record)
    does = {
        "pipeline": pipeline,
        "deployment": name,
        "phase": record.phase.value,
        "deletes": [f"{name}.{what}" for what in ("charts", "alerts", "dlq", "state")],
    }
    return Plan("remove", f"deployments {record.label}", does)


def _mode(said: str) -> Any:
    try:
        return mode_of(said)
    except ValueError as error:
        raise Invalid(str(error)) from error


def _named(there: Mapping[str, Deployment], name: str) -> Deployment:
    found = there.get(name)
    if found is None:
        raise Absent(f"no deployment {shown(name)}")
    return found


def running(pipeline: str) -> Pipeline:
    """Return a pipeline as it runs. Raises Absent."""
    try:
        return supervisor.pipeline_of(pipeline)
    except ValueError as error:
        raise Absent(f"no pipeline {shown(pipeline)} runs, beside which a detector could judge") from error


def _check_label(base: Pipeline, label: str) -> None:
    """Raise Conflict if charts would show two detectors as one."""
    names = {each.name for family in base.families.values() for each in assigned(family)} | set(base.families)
    if label in names:
        raise Conflict(f"pipeline {base.name} has a detector {label}: take another name")


def _since(changes: Changes, base: Pipeline, bound: Bound, bounds: Mapping[int, tuple[int, int]]) -> dict[str, int]:
    """Return where the warm-up is to begin by partition; nothing: where the input begins."""
    if bound == EARLIEST:
        return {}
    if bound.time_ms is not None:
        found = changes.at_time([(base.input_topic, p) for p in bounds], bound.time_ms)
        return {str(p): bounds[p][1] if offset is None else offset for (_, p), offset in found.items()}
    if bound.edge == "latest":
        return {str(p): end for p, (_, end) in bounds.items()}
    if bound.event_time_ms is not None:
        raise Invalid("a warm-up begins at the earliest, the latest, an offset or a time of publishing")
    return {str(p): at for p in bounds if (at := bound.at(p)) is not None}
