"""What a pipeline is: one input topic, its detector families, where it writes, and the numbers that bound it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Literal, NamedTuple

from actors.engine.alerts import CLEAN_ROWS
from actors.engine.arrivals import Arrivals
from actors.engine.fold import Topics
from actors.engine.judge import Assignment
from actors.engine.pacing import SNAPSHOT_BYTES_PER_S
from actors.kafka.client import Cluster
from actors.kafka.log import KafkaLog
from actors.log import Log
from actors.packages.limits import Guest
from models.detector import Detector

DETECTOR_CPUS = 0.1


class Vector(NamedTuple):
    """Which vector of `fab.vectors` a pipeline judges."""

    name: str
    characteristics: tuple[str, ...]  # p of them, in the order that its detectors' models have


@dataclass(frozen=True)
class Pipeline:
    """All that an owner needs; it travels to Ray as it is."""

    name: str
    cluster: Cluster
    input_topic: str
    partitions: tuple[int, ...]
    topics: Topics
    families: Mapping[str, tuple[Detector | Assignment, ...]]
    schema_ids: Mapping[str, int]  # of what we write: alert, dead_letter, position, page, …
    vector: Vector | None = None  # None: single measurements
    hosting: Literal["actor", "owner"] = "actor"
    step_rows_max: int = 16_000  # records in one step over all partitions, at most: bounds memory
    step_samples_max: int = 16_000  # rows in one step, where records have many; the record that reaches it is the last
    step_timeout_s: float = 30.0  # for a detector actor to answer; then it is killed, and the slot opens again
    commit_interval_ms: int = 50  # between two steps at most, while there is little to do (actors/step_pace.py)
    snapshot_interval_ms: int = 5_000  # between snapshots: bounds the replay after a crash
    snapshot_bytes_per_s: int = (
        SNAPSHOT_BYTES_PER_S  # of a slot's snapshots, on average: large ones are spaced and spread
    )
    clean_rows: int = CLEAN_ROWS  # judged rows without a rule after which its alert closes
    arrivals: Arrivals = field(default_factory=Arrivals)  # what is set aside instead of judged; by default nothing
    code_version: str = field(default_factory=lambda: version("chipquality"))

    slots: int = 1  # in the first deal; later ones say how many (actors/deal.py)
    standby: bool = (
        False  # start ahead what a fault will want: for every slot a second owner, and a spare detector actor
    )
    guest: Guest | None = None  # its detectors are somebody's packages: how their processes are held (actors/packages)
    changes_of: str = ""  # the pipeline whose changes of limits it makes too; empty: its own
    idle: bool = False  # its owners take what processor time is left
    log: Callable[[Cluster], Log] = KafkaLog

    @property
    def detector_cpus(self) -> float:
        """Return what Ray reserves for a detector process."""
        return DETECTOR_CPUS if self.guest is None else self.guest.limits.cpus

    def transactional_id(self, slot: int) -> str:
        """Return the id of a slot's producer: whoever opens with it fences every other."""
        return f"{self.name}-{slot}"
