"""Is each row there once? The offsets of chart blocks, chained per input partition and detector family.

Every block says which input offsets its step covered: `first_offset` to `next_offset`. The next block of the same partition
and family begins where the last one ended. An overlap is rows written twice. A hole is a step without a row (dead letters only),
or rows that no reader will ever see: compare with the dead letters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from actors.names import SATELLITE
from schemas.charts import ChartBlock

SAMPLE_BITS = 14  # of a place; a record has fewer samples than that


def place_of(block: ChartBlock) -> np.ndarray:
    """Return (n,) int64, where each row stands in the input: a number that grows with the offset, and then with the sample."""
    place: np.ndarray = block.offset << SAMPLE_BITS
    return place if block.sample is None else place | block.sample


@dataclass(slots=True)
class Chain:
    """One family's chain of blocks over one input partition."""

    first_offset: int  # where this reader's knowledge begins
    next_offset: int
    rows: int = 0  # rows seen once
    records: int = 0  # input records that they are of; fewer where some have several samples
    judged: int = 0  # of them with a value
    missing: int = 0  # of them without
    duplicated: int = 0  # rows seen again
    gaps: int = 0  # holes between blocks
    gap_offsets: int = 0  # input offsets that the holes cover

    def summary(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Chains:
    """All chains. `check` says which rows of a block are new."""

    _chains: dict[tuple[str, int, str], Chain] = field(default_factory=dict)

    def check(self, block: ChartBlock, as_family: str | None = None) -> np.ndarray:
        """Count the block and return (n,) bool: the rows that this family has not delivered before.

        `as_family` chains the block under another name: `""` is the chain of whichever family comes first.
        """
        key = (block.topic, block.partition, block.family if as_family is None else as_family)
        chain = self._chains.get(key)
        if chain is None:
            chain = self._chains[key] = Chain(block.first_offset, block.first_offset)
        new = np.ones(len(block), np.bool_)
        if len(block) and int(block.offset[0]) < chain.next_offset:
            new = block.offset >= chain.next_offset
            chain.duplicated += int(len(block) - new.sum())
        if len(block) > 1:
            place = place_of(block)
            once = np.concatenate(([True], np.diff(place) > 0))
            chain.duplicated += int((new & ~once).sum())
            new &= once
        if block.first_offset > chain.next_offset and not block.pipeline.startswith(SATELLITE):  # which come and go
            chain.gaps += 1
            chain.gap_offsets += block.first_offset - chain.next_offset
        rows = int(new.sum())
        chain.records += rows if block.sample is None else int((new & (block.sample == 0)).sum())
        missing = int(np.isnan(block.value[new]).sum())
        chain.rows += rows
        chain.judged += rows - missing
        chain.missing += missing
        chain.next_offset = max(chain.next_offset, block.next_offset)
        return new

    def summary(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return {"<topic>:<partition>": {family: counts}}."""
        said: dict[str, dict[str, dict[str, int]]] = {}
        for (topic, partition, family), chain in sorted(self._chains.items()):
            said.setdefault(f"{topic}:{partition}", {})[family] = chain.summary()
        return said
