"""What is known of one job: what it does, when, and how patiently. As it is kept in `quality.jobs`, and as it is told."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cluster.jobs.cron import Cron
from cluster.operations.errors import Invalid, shown

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
PARAMETERS_BYTES_MAX = 64 * 1024  # as JSON
CATCH_UP_MAX = 100  # missed times of one job that may be run
RETRIES_MAX = 20
BACKOFF_MAX_S = 6 * 3600.0
TIMEOUT_MAX_S = 7 * 24 * 3600.0


class CatchUp(StrEnum):
    """What becomes of times that were missed: while nothing scheduled, or while a run before them was not over."""

    none = "none"  # they are passed over
    last = "last"  # the newest of them is run
    all = "all"  # they are run one after the other, the newest `catch_up_max` of them


@dataclass(frozen=True)
class Job:
    """A job as it is defined."""

    name: str
    kind: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    cron: str = ""  # empty: only by hand
    zone: str = "UTC"
    catch_up: CatchUp = CatchUp.last
    catch_up_max: int = 10
    retries: int = 3
    backoff_s: float = 30.0  # before the first retry; doubled before each further one
    timeout_s: float = 3600.0  # of one attempt
    revision: int = 1  # how often it was defined
    since_ms: int = 0  # when, this time; what was due before does not count
    by: str = ""

    @property
    def schedule(self) -> Cron | None:
        """Return when it is due; None: only by hand."""
        return Cron(self.cron, self.zone) if self.cron else None

    def told(self) -> dict[str, Any]:
        """Return it as the API and the commands tell it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "parameters": dict(self.parameters),
            "cron": self.cron or None,
            "zone": self.zone,
            "catch_up": self.catch_up.value,
            "catch_up_max": self.catch_up_max,
            "retries": self.retries,
            "backoff_s": self.backoff_s,
            "timeout_s": self.timeout_s,
            "revision": self.revision,
            "since_ms": self.since_ms,
            "by": self.by,
        }

    def to_record(self) -> dict[str, Any]:
        """Return the fields of schemas/avro/job.avsc."""
        parameters = json.dumps(self.parameters, separators=(",", ":"), ensure_ascii=False)
        return self.told() | {"cron": self.cron, "catch_up": self.catch_up.value, "parameters": parameters}

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Job:
        """Return what `to_record` wrote. Raises ValueError for a policy that this version does not know."""
        given = dict(fields)
        return cls(catch_up=CatchUp(given.pop("catch_up")), parameters=json.loads(given.pop("parameters")), **given)


def checked(job: Job, now_ms: int) -> Job:
    """Return the job if it can be, whatever its kind. Raises Invalid, which says what is wrong with it."""
    if not NAME.fullmatch(job.name):
        raise Invalid(f"name {shown(job.name)!r}: a letter, then up to 30 letters, digits and hyphens, all small")
    if job.schedule is not None:
        job.schedule.check(now_ms)
    for name, least, most in (
        ("catch_up_max", 1, CATCH_UP_MAX),
        ("retries", 0, RETRIES_MAX),
        ("backoff_s", 0, BACKOFF_MAX_S),
        ("timeout_s", 1, TIMEOUT_MAX_S),
    ):
        if not least <= getattr(job, name) <= most:
            raise Invalid(f"{name} = {getattr(job, name)}: from {least} to {most:g}")
    try:
        size = len(json.dumps(job.parameters, allow_nan=False).encode())
    except (TypeError, ValueError) as error:
        raise Invalid(f"parameters: {error}") from error
    if size > PARAMETERS_BYTES_MAX:
        raise Invalid(f"parameters: {size} bytes, more than {PARAMETERS_BYTES_MAX}")
    return job
