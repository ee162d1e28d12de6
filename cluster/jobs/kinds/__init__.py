"""The kinds of jobs. Each has parameters, checked when a job is defined, and runs again without doing anything twice."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from cluster.jobs.job import Job
from cluster.jobs.kinds.limits import LimitsParameters, run_limits
from cluster.jobs.kinds.rejudge import RejudgeParameters, run_rejudge
from cluster.jobs.kinds.train import TrainParameters, run_train
from cluster.jobs.stage import Runs
from cluster.operations.errors import Invalid, shown


class Kind(NamedTuple):
    """A kind of job."""

    parameters: type[BaseModel]
    run: Runs


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "rejudge": Kind(RejudgeParameters, run_rejudge),
        "limits": Kind(LimitsParameters, run_limits),
        "train": Kind(TrainParameters, run_train),
    }
)


def check(job: Job) -> None:
    """Raise Invalid for a kind that there is not, or parameters that it does not know."""
    kind = KINDS.get(job.kind)
    if kind is None:
        raise Invalid(f"kind {shown(job.kind)!r}: there are {', '.join(KINDS)}")
    try:
        kind.parameters.model_validate(dict(job.parameters))
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'parameters'}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors()
        )
        raise Invalid(f"{job.kind}: {said}"[:1000]) from None
