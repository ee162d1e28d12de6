"""Estimate limits anew from history, and propose them: nothing takes effect before somebody approves it (docs/limits.md).

The id of a proposal follows from the run and the series, so what an attempt has proposed, the next one finds, and does not
propose again. Series whose limits have moved by less than `moved_sigmas` are left alone, so that a nightly run proposes news.
"""

from __future__ import annotations

import hashlib
import time
from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from actors import supervisor
from actors.control_desk import ControlDesk, Places
from actors.kafka.history import Bound
from actors.limit_desk import ROWS_MAX, LimitDesk, Span, Study
from cluster.jobs.stage import Outcome, Stage
from cluster.operations.errors import Absent, Refused, shown
from models.limit_proposal import Proposal
from models.limit_versions import ChangeRefused

SERIES_MAX = 1_000
LOOKED_AT = 200_000  # newest records, among which series are found by patterns
TOLD_MAX = 200  # series of a result that are told one by one


class LimitsParameters(BaseModel):
    """Whose limits, and from what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pipeline: str | None = Field(
        None, max_length=60, description="of single measurements, that runs; the main one unless given"
    )
    series: list[str] = Field(min_length=1, max_length=SERIES_MAX, description="keys, or patterns with * and ?")
    rows: int | None = Field(None, ge=2, le=ROWS_MAX, description="newest rows of each; 100 unless last_s is given")
    last_s: float | None = Field(
        None, gt=0, le=10 * 366 * 86_400, description="instead: those of so many seconds, by event time"
    )
    estimator: str | None = Field(None, max_length=40, description="of sigma; moving range unless given")
    rules: list[int] = Field(default_factory=lambda: [1], max_length=8, description="Nelson rules that take points out")
    moved_sigmas: float = Field(
        0.1, ge=0, le=10, description="propose where mu, or sigma, has moved by more than so many of the present sigma"
    )
    reason: str = Field("scheduled estimation", min_length=1, max_length=500)


def run_limits(stage: Stage) -> Outcome:
    """Propose limits of every series. Raises Refused if there is none of which limits can be computed."""
    parameters = LimitsParameters.model_validate(dict(stage.parameters))
    name = parameters.pipeline or stage.pipeline
    try:
        pipeline = supervisor.pipeline_of(name)
    except ValueError as error:
        raise Absent(f"no pipeline {shown(name)} runs, whose limits they are") from error
    topics = pipeline.topics
    with ControlDesk(stage.cluster, Places(name, pipeline.input_topic, topics.state, topics.control)) as control:
        desk = LimitDesk(control)
        series = _series(desk, parameters.series)
        found: dict[str, list[dict[str, Any]]] = {"proposed": [], "unchanged": [], "refused": []}
        for n, key in enumerate(series):
            stage.tell(n, len(series), key)
            what, said = _one(stage, desk, parameters, key)
            found[what].append({"series": key, **said})
    if series and len(found["refused"]) == len(series):
        raise Refused(f"no limits can be computed: {found['refused'][0]['why']}")
    counted = {what: len(items) for what, items in found.items()}
    told = ", ".join(f"{count} {what}" for what, count in counted.items())
    result = {"counts": counted, **{what: items[:TOLD_MAX] for what, items in found.items()}}
    return Outcome(f"limits of {len(series)} series: {told}", result)


def _series(desk: LimitDesk, wanted: list[str]) -> list[str]:
    """Return the series that keys and patterns name, sorted. Raises Refused for too many, or none."""
    keys = {key for key in wanted if not set(key) & {"*", "?"}}
    patterns = [key for key in wanted if key not in keys]
    if patterns:
        there = desk.control.history.series(LOOKED_AT)
        keys |= {key for key in there if any(fnmatchcase(key, pattern) for pattern in patterns)}
    if not 0 < len(keys) <= SERIES_MAX:
        raise Refused(f"{len(keys)} series are meant: from 1 to {SERIES_MAX}")
    return sorted(keys)


def _one(stage: Stage, desk: LimitDesk, parameters: LimitsParameters, key: str) -> tuple[str, dict[str, Any]]:
    """Propose limits of one series, if there is something to propose."""
    change_id = hashlib.blake2b(f"{stage.run.id}|{key}".encode(), digest_size=6).hexdigest()
    if change_id in desk.control.changes():
        return "proposed", {"change_id": change_id}
    since = None
    if parameters.last_s is not None:
        since = Bound(time_ms=max(0, stage.run.due_ms - round(parameters.last_s * 1000)))
    span = Span(key, rows=parameters.rows, since=since)
    study = Study({}, True, parameters.estimator, tuple(parameters.rules))
    reason = f"{parameters.reason} (run {stage.run.id})"
    try:
        change, proposal = desk.draft(span, study, stage.author, reason, _now_ms(), change_id)
    except ChangeRefused as error:
        return "refused", {"why": str(error)}
    if not moved(proposal, parameters.moved_sigmas):
        return "unchanged", {}
    desk.control.publish(change)
    new = proposal.share.limits
    return "proposed", {"change_id": change_id, "mu": new.mu, "sigma": new.sigma, "rows": proposal.rows}


def moved(proposal: Proposal, sigmas: float) -> bool:
    """Tell whether a proposal says something new: there was nothing before, or mu or sigma is elsewhere by so many sigmas."""
    if proposal.old is None:
        return True
    old, new = proposal.old.share.limits, proposal.share.limits
    if old.mu is None or old.sigma is None or new.mu is None or new.sigma is None:
        return True
    return max(abs(new.mu - old.mu), abs(new.sigma - old.sigma)) > sigmas * old.sigma


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
