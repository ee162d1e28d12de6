"""Which version of what a job makes is the current one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Alias:
    """The name of a job, and the version that it stands for."""

    job: str
    version: int  # number of the run that made it
    run: str  # id of that run
    since_ms: int
    made: Mapping[str, Any]  # JSON: what it is
    versions: tuple[int, ...]  # that are kept, ascending; the current one is the last

    def told(self) -> dict[str, Any]:
        """Return it as the API and the commands tell it."""
        return {
            "job": self.job,
            "version": self.version,
            "run": self.run,
            "since_ms": self.since_ms,
            "made": dict(self.made),
            "versions": list(self.versions),
        }

    def to_record(self) -> dict[str, Any]:
        """Return the fields of schemas/avro/job_alias.avsc."""
        return self.told() | {"made": json.dumps(self.made, separators=(",", ":"), ensure_ascii=False)}

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Alias:
        """Return what `to_record` wrote."""
        given = dict(fields)
        return cls(made=json.loads(given.pop("made")), versions=tuple(given.pop("versions")), **given)
