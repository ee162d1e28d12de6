"""What a recovery does again between the snapshot and the position, and at which offsets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from actors.engine.control import AppliedChange, PartitionChange
from actors.engine.position import DISABLED, Position
from schemas.batch import RawBatch, cut


class Piece(NamedTuple):
    """Records to fold at once, after switching detectors off and with changes that hold from the first of them on."""

    raw: RawBatch
    disabled: tuple[str, ...]
    changes: tuple[PartitionChange, ...]


class Replay:
    """The replay of one partition, from `target.snapshot_offset` to `target.next_offset`.

    `changes` are all that the partition ever made; those of the snapshot are in its pages, and are not made again.
    """

    def __init__(self, target: Position, changes: Iterable[AppliedChange]) -> None:
        self.target = target
        self.at = target.snapshot_offset
        self._disabled: defaultdict[int, list[str]] = defaultdict(list)
        self._changes: defaultdict[int, list[PartitionChange]] = defaultdict(list)
        for entry in target.applied:
            if entry.kind == DISABLED:
                self._disabled[entry.at_offset].append(entry.subject)
        for change in changes:
            if change.seq > target.snapshot_seq:
                self._changes[change.at_offset].append(change.change)

    @property
    def done(self) -> bool:
        """Say whether all records were folded; `rest` may still have something to do."""
        return self.at >= self.target.next_offset

    def pieces(self, raw: RawBatch) -> Iterator[Piece]:
        """Yield what to fold of the next records, in order; call it with all that the log has, in any cuts."""
        for part in cut(raw, {self.at, self.target.next_offset, *self._disabled, *self._changes}):
            if not self.done and part.next_offset > self.at:
                yield self._piece(part)
                self.at = part.next_offset

    def rest(self) -> Piece | None:
        """Return what took effect at the position itself, after the last record; None if nothing did."""
        position = self.target
        none = np.zeros(0, np.int64)
        piece = self._piece(RawBatch(position.topic, position.partition, none, none, [], [], position.next_offset))
        return piece if piece.changes or piece.disabled else None

    def _piece(self, raw: RawBatch) -> Piece:
        return Piece(raw, tuple(self._disabled.get(self.at, ())), tuple(self._changes.get(self.at, ())))
