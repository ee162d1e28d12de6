"""What the broker says of partitions that a slot is to take: their state read whole, and whether the parts of the log agree.

Runs in the background, while other partitions of the slot go on, and touches nothing of the slot's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from actors.deal import Deal, Dealer
from actors.engine.position import StateImage, read_image
from actors.errors import StateError
from actors.outputs_check import newest_steps
from actors.pipeline import Pipeline
from actors.surroundings import Surroundings
from schemas.charts import ChartStep

_LOG = logging.getLogger("chipquality.slot")


class Look(NamedTuple):
    """What the broker says of one partition."""

    image: StateImage | StateError
    committed: int | None
    first: int  # retained input offset
    end: int  # of the state
    newest: ChartStep | None = None  # that has a chart block

    def check(self, image: StateImage, partition: int) -> None:
        """Raise StateError where the parts of the log do not agree with the state."""
        position, committed = image.position, self.committed
        if position is None:
            if committed is not None:
                raise StateError(f"offset {committed} is committed but there is no position record: state is lost")
            return
        if committed is not None and committed != position.next_offset:
            raise StateError(f"torn transaction: committed offset {committed}, position {position.next_offset}")
        if self.newest is not None and self.newest.seq == position.seq + 1:
            raise StateError(
                f"torn transaction: a chart block of step {self.newest.seq}, from {self.newest.first_offset} to "
                f"{self.newest.next_offset}, stands beyond the position {position.next_offset}"
            )
        if position.snapshot_offset < min(self.first, position.next_offset):
            raise StateError(
                f"input of partition {partition} before {self.first} is gone; the snapshot stands at {position.snapshot_offset}"
            )


class Looked(NamedTuple):
    """What came of looking."""

    found: Mapping[int, Look]  # by partition; without those that moved meanwhile
    fenced: frozenset[int]  # slots whose producers were, before
    deal: Deal | None  # read after that; None: nobody was fenced


class Looks(NamedTuple):
    """Looks at partitions of a pipeline."""

    pipeline: Pipeline
    around: Surroundings
    dealer: Dealer

    def look(
        self, wanted: Iterable[int], fence: Iterable[int], timeout_s: float, seen: Mapping[int, int | None]
    ) -> Looked:
        """Fence slots, read the deal again, read what the broker says of the partitions wanted.

        Not of partitions whose state ends where it was `seen` to end: who holds them has not handed them over. A partition whose
        state has grown meanwhile is left out: its parts need not agree. Raises ReopenError and RegistryUnavailable.
        """
        pipeline, log = self.pipeline, self.around.log
        fenced = frozenset(fence)
        for slot in sorted(fenced):
            self._fence(slot)
        deal = self.dealer.read() if fenced else None
        ends = {p: end for p, end in log.end(pipeline.topics.state, list(wanted)).items() if end != seen.get(p)}
        if not ends:
            return Looked({}, fenced, deal)
        partitions = list(ends)
        records = log.read_to_end(pipeline.name, pipeline.topics.state, ends, timeout_s, newest=True)
        committed = log.committed(pipeline.name, pipeline.input_topic, partitions)
        first = log.first(pipeline.input_topic, partitions)
        images = {p: self._image(records[p]) for p in partitions}
        newest = newest_steps(pipeline, self.around, partitions, _written(images), timeout_s)
        after = log.end(pipeline.topics.state, partitions)
        found = {
            p: Look(images[p], committed[p], first[p], end, newest.get(p)) for p, end in ends.items() if after[p] == end
        }
        return Looked(found, fenced, deal)

    def _fence(self, slot: int) -> None:
        _LOG.warning("%s: fencing slot %d, which has not handed over", self.pipeline.name, slot)
        writer = self.around.log.writer(self.pipeline.transactional_id(slot))
        try:
            writer.open()
        finally:
            writer.abandon()

    def _image(self, records: Iterable[tuple[bytes, bytes | None]]) -> StateImage | StateError:
        try:
            return read_image(records, self.around.codec.read)
        except StateError as error:
            return error
        except (ValueError, TypeError, KeyError) as error:  # not a record of ours, or one of a newer version
            return StateError(f"the state cannot be read: {type(error).__name__}: {error}")


def _written(images: Mapping[int, StateImage | StateError]) -> frozenset[int]:
    """Return the partitions whose position tells of steps."""
    positions = {p: image.position for p, image in images.items() if isinstance(image, StateImage)}
    return frozenset(p for p, position in positions.items() if position is not None and position.seq)
