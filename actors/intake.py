"""What a slot has polled and not folded yet, and how steps begin with it.

Records of many samples are many rows: what does not go into one step is held for the next ones, and nothing is polled meanwhile.
Records whose schema cannot be looked up because the registry is away wait (actors/unknown_schemas.py); those before them, and
other partitions, do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from actors.engine.control import PartitionChange
from actors.engine.fold import PartitionFold, Step
from actors.log import Polled, Reader
from actors.step_size import StepSize
from actors.unknown_schemas import UnknownSchemas
from schemas.batch import RawBatch, after
from schemas.registry import RegistryUnavailable

Folds = Mapping[int, PartitionFold]


class Intake:
    """Of one slot. `size` says how much a step may have."""

    def __init__(self, reader: Reader, unknown: UnknownSchemas, size: StepSize) -> None:
        self.held: dict[int, RawBatch] = {}  # polled, and not begun yet; by partition
        self._reader = reader
        self._unknown = unknown
        self._size = size

    @property
    def waiting(self) -> list[int]:
        """Return the partitions that wait for the registry."""
        return self._unknown.partitions

    def poll(self, wait_s: float) -> Mapping[int, str]:
        """Have records, if none are held; return the partitions whose next record is not in the log any more, and why."""
        if self.held:
            return {}
        polled: Polled = self._reader.poll(self._size.records, wait_s)
        self.held = {raw.partition: raw for raw in polled.batches}
        return polled.lost

    def read_again(self, folds: Folds) -> None:
        """Go on with the partitions that waited for the registry and need not any more."""
        again = self._unknown.known_again()
        for partition in again:
            self.held.pop(partition, None)  # it is read again
        if again:
            self._reader.add({partition: folds[partition].position.next_offset for partition in again})

    def forget(self, partition: int) -> None:
        """Drop a partition that is not ours any more."""
        self.held.pop(partition, None)
        self._unknown.forget(partition)

    def take(self, folds: Folds) -> list[RawBatch]:
        """Return what is held and was not folded yet; `begin` holds again what does not go into its step."""
        taken = [
            raw
            for raw in self.held.values()
            if (fold := folds.get(raw.partition)) is not None and raw.next_offset > fold.position.next_offset
        ]
        self.held = {}
        return taken

    def begin(
        self, folds: Folds, batches: Iterable[RawBatch], due: Mapping[int, Sequence[PartitionChange]]
    ) -> list[Step]:
        """Begin the step of each batch as long as there is room for rows; what does not go in is held, those not begun first."""
        room, steps = self._size.rows, []
        begun: dict[int, RawBatch] = {}
        for raw in batches:
            if room <= 0:
                self.held[raw.partition] = raw
                continue
            found = self._begin(folds[raw.partition], raw, due.get(raw.partition, ()), room)
            if found is None:
                continue
            step, rest = found
            steps.append(step)
            room -= len(step.work.batch)
            if rest is not None:
                begun[raw.partition] = rest
        self.held |= begun
        return steps

    def _begin(
        self, fold: PartitionFold, raw: RawBatch, changes: Sequence[PartitionChange], rows_max: int
    ) -> tuple[Step, RawBatch | None] | None:
        """Decode; what cannot be for want of the registry is put aside, and what stands before it is folded.

        Returns what had more rows than there is room for, too.
        """
        while True:
            try:
                step = fold.begin(raw, changes, rows_max=rows_max)
                return step, after(raw, step.work.batch.next_offset)
            except RegistryUnavailable as error:
                before = self._unknown.put_aside(raw, error)
                self._reader.remove([raw.partition])
                if before is None:
                    return None
                raw = before
