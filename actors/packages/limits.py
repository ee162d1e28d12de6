"""What a guest, a process that runs somebody's code, may use; and how it is held to it.

Theory of operation
-------------------
Memory is limited by RLIMIT_DATA, a little above what the process has before it meets the code: an allocation beyond it
fails *there*, so a leak is a MemoryError with a traceback inside the step, which the engine reports and after which it
switches the detector off, and not a process that the system kills some time later. Then the process is let a little further
(`relieve`), because what has leaked is still there, and the rest of it has to go on. Time is limited by whoever waits for
it. Processor time is limited by being nice, and by one thread for BLAS and OpenMP.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from actors.errors import ConfigError
from actors.priority import be_nicer

RELIEF_BYTES = 256 * 1024 * 1024  # beyond the limit, for the process to go on when the code has used all of it
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Limits:
    """What a detector process with somebody's code in it may use. Raises ConfigError for what makes no sense."""

    cpus: float = 0.1  # that Ray reserves for the process
    memory_bytes: int = 1024 * 1024 * 1024  # beyond what the process has before it meets the code
    step_s: float = 3.0  # for a step; then the process is killed
    load_s: float = 10.0  # to import and construct; the first step, in which kernels compile, has as much
    nice: int = 10  # beyond that of the product's own processes

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"limit {name} = {value!r}: it must be from {low} to {high}")

    def to_json(self) -> dict[str, Any]:
        """Return the limits as plain JSON."""
        return asdict(self)

    @classmethod
    def of_json(cls, said: Mapping[str, Any]) -> Limits:
        """Read limits; those that are not said are the defaults. Raises ConfigError for one that there is not."""
        unknown = sorted(set(said) - {name for name, _, _ in _RANGES})
        if unknown:
            raise ConfigError(f"no limit {', '.join(unknown)}; there are {', '.join(name for name, _, _ in _RANGES)}")
        return cls(**said)


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("cpus", 0.01, 64.0),
    ("memory_bytes", 64 * 1024 * 1024, 256 * 1024**3),
    ("step_s", 0.1, 60.0),
    ("load_s", 0.5, 600.0),
    ("nice", 0, 19),
)


@dataclass(frozen=True)
class Guest:
    """How the detector processes of a pipeline run that judges by somebody's code."""

    limits: Limits = field(default_factory=Limits)
    idle: bool = False  # they take what processor time is left

    def runtime_env(self) -> dict[str, Any]:
        """Return Ray's runtime environment of these processes: none that other work has, or will have."""
        return {"env_vars": {**ONE_THREAD, "CHIPQUALITY_GUEST": "1"}}


def confine(limits: Limits) -> None:
    """Hold this process to its limits of memory and processor, from now on."""
    be_nicer(limits.nice)
    allowed = data_bytes() + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed + RELIEF_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def relieve() -> None:
    """Let this process have what is left up to its last limit: after a MemoryError it still has to report, and go on."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def data_bytes() -> int:
    """Return what counts for RLIMIT_DATA: private memory that can be written."""
    return _status("VmData")


def peak_bytes() -> int:
    """Return the largest resident size that this process has had. Not getrusage's, which a process has from who started it."""
    return _status("VmHWM")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ConfigError(f"/proc/self/status has no {name}: guests run on Linux")
