"""What an examination of a detector package found, as values that become JSON and come back from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from actors.packages.errors import PackageRefused
from actors.packages.packaged import Packaged


@dataclass(frozen=True)
class Failure:
    """Why a package cannot be deployed."""

    phase: str  # "package", "requirements", "load", "first step", "check determinism", "cost", "stretch"
    reason: str  # one sentence
    traceback: str = ""  # or pip's words; of what hangs, where it was


@dataclass(frozen=True)
class Check:
    """What one check of the conformance suite said."""

    name: str
    passed: bool
    what: str = ""  # what is wrong


@dataclass(frozen=True)
class Cost:
    """What a detector takes."""

    us_per_row: float  # of processor time, in batches of COST_ROWS
    load_s: float  # imported and made
    first_step_s: float  # kernels compiled, or loaded
    state_bytes_per_series: int
    memory_bytes: int  # how much larger the process has become at most


@dataclass(frozen=True)
class Example:
    """A row of the stretch that signals."""

    series: str
    offset: int
    partition: int
    rule: str
    event_time_ms: int


@dataclass(frozen=True)
class Stretched:
    """What the detector said of recorded rows, each series from its Phase I on."""

    rows: int
    series: int
    judged: int  # valid rows
    signals: int  # rows with any rule
    by_rule: Mapping[str, int]  # rows, by rule; those that never fired too
    us_per_row: float
    examples: tuple[Example, ...]  # the first of each rule

    def rate(self, rule: str) -> float:
        """Return signals of a rule per thousand judged rows; 0 where none was judged."""
        return 1000.0 * self.by_rule[rule] / self.judged if self.judged else 0.0


@dataclass(frozen=True)
class Examined:
    """What is known of a package after its examination. `ok`: it can be deployed."""

    digest: str
    target: str
    failure: Failure | None = None
    checks: tuple[Check, ...] = ()
    packaged: Packaged | None = None  # once it could be loaded
    cost: Cost | None = None
    stretch: Stretched | None = None

    @property
    def ok(self) -> bool:
        """Tell whether it can be deployed."""
        return self.failure is None and self.packaged is not None

    @property
    def batch_cuts(self) -> str:
        """Say whether its verdicts depend on how a log is cut into batches: "exact", "to 1e-9", "no", or "" if unknown."""
        said = {check.name: check.passed for check in self.checks}.get("batch cuts")
        if said is None or self.packaged is None:
            return ""
        return "no" if not said else "to 1e-9" if self.packaged.cut_dependent else "exact"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "digest": self.digest,
            "target": self.target,
            "ok": self.ok,
            "batch_cuts": self.batch_cuts,
            "failure": None if self.failure is None else asdict(self.failure),
            "checks": [asdict(check) for check in self.checks],
            "packaged": None if self.packaged is None else self.packaged.to_json(),
            "cost": None if self.cost is None else asdict(self.cost),
            "stretch": None if self.stretch is None else asdict(self.stretch),
        }

    @classmethod
    def of_json(cls, said: Mapping[str, Any]) -> Examined:
        """Read what `to_json` gave. Raises PackageRefused."""
        try:
            stretch = said["stretch"]
            return cls(
                digest=str(said["digest"]),
                target=str(said["target"]),
                failure=None if said["failure"] is None else Failure(**said["failure"]),
                checks=tuple(Check(**check) for check in said["checks"]),
                packaged=None if said["packaged"] is None else Packaged.of_json(said["packaged"]),
                cost=None if said["cost"] is None else Cost(**said["cost"]),
                stretch=None if stretch is None else stretched_of(stretch),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise PackageRefused(f"not an examination: {error!r}") from error


def stretched_of(said: Mapping[str, Any]) -> Stretched:
    """Read a `Stretched` from JSON. Raises TypeError, KeyError."""
    return Stretched(**{**said, "examples": tuple(Example(**example) for example in said["examples"])})
