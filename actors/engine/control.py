"""Which changes of the control topic a partition still has to make, and what a change is once it took effect.

Theory of operation
-------------------
The control topic says *what* people want; at which input offset it happens is this partition's to say, once: the owner commits
an `AppliedChange` in the transaction of the step that it took effect at. The record holds the change whole. So

- a replay makes the changes after its snapshot again from these records, at the same offsets, and needs nothing else: it does
  not matter what has become of the control topic since;
- a change is made at most once on a partition, however often it stands in the control topic: its id is in the partition's state.

`Waiting` keeps, per partition, the applied changes that its state does not have yet, in the order of the control topic. One with
an `effective_from_ms` waits until the partition's event time has reached it; it does not hold up those after it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any, NamedTuple

from models.limit_versions import Change, Kind, SeriesChange, State, share_of, share_to_record

CHANGES_PER_STEP_MAX = 100  # more of them wait for the next step


class PartitionChange(NamedTuple):
    """A change's share of one partition."""

    change_id: str
    kind: Kind
    shares: tuple[SeriesChange, ...]


class AppliedChange(NamedTuple):
    """A change that took effect on a partition."""

    change: PartitionChange
    at_offset: int  # first input offset that it holds for
    seq: int  # of the step
    event_time_ms: int  # largest event time of the partition before it; 0: none

    def to_record(self) -> dict[str, Any]:
        """Return the fields of the schema `applied_change`."""
        fields = self._asdict()
        change = fields.pop("change")
        shares = [share_to_record(share) for share in change.shares]
        return fields | {"change_id": change.change_id, "kind": change.kind.value, "changes": shares}

    @classmethod
    def of(cls, fields: dict[str, Any]) -> AppliedChange:
        """Return what `to_record` wrote. Raises ValueError for a kind that this version does not know."""
        shares = tuple(share_of(share) for share in fields["changes"])
        change = PartitionChange(fields["change_id"], Kind(fields["kind"]), shares)
        return cls(change, fields["at_offset"], fields["seq"], fields["event_time_ms"])


class _Waiting(NamedTuple):
    change: PartitionChange
    effective_from_ms: int | None


class Waiting:
    """Applied changes of one pipeline that partitions have not made yet."""

    def __init__(self, pipeline: str, topic: str, partitions: Iterable[int]) -> None:
        self.pipeline = pipeline
        self.topic = topic
        self._seen: set[str] = set()
        self._waiting: dict[int, dict[str, _Waiting]] = {partition: {} for partition in partitions}

    def count(self, partitions: Iterable[int]) -> int:
        """Return how many changes wait, over these partitions."""
        return sum(len(self._waiting[partition]) for partition in partitions)

    def take(self, changes: Iterable[Change]) -> None:
        """Take changes as they stand in the control topic, in its order; the first application of an id is what counts."""
        for change in changes:
            ours = (change.pipeline, change.topic) == (self.pipeline, self.topic)
            if not ours or change.state is not State.APPLIED or change.change_id in self._seen:
                continue
            self._seen.add(change.change_id)
            for partition, waiting in self._waiting.items():
                shares = tuple(share for share in change.changes if share.partition == partition)
                if shares:
                    share = PartitionChange(change.change_id, change.kind, shares)
                    waiting[change.change_id] = _Waiting(share, change.effective_from_ms)

    def due(self, partition: int, made: Container[str], event_time_ms: int) -> list[PartitionChange]:
        """Return what a partition has to make at its next step; `made` are the ids in its state."""
        waiting = self._waiting[partition]
        if not waiting:
            return []
        for change_id in [change_id for change_id in waiting if change_id in made]:
            del waiting[change_id]
        return [
            change
            for change, effective_from_ms in waiting.values()
            if effective_from_ms is None or effective_from_ms <= event_time_ms
        ][:CHANGES_PER_STEP_MAX]
