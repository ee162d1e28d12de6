"""A partition whose transaction was torn: what can be seen of the step, and what has to be written so that it is whole.

Theory of operation
-------------------
librdkafka repeats the end of a transaction by itself and has no KIP-890: a delayed duplicate EndTxn(commit) of transaction n can
arrive in the middle of transaction n+1 and commit what of it has reached the broker. Of each topic partition that is a first
part of the step's records, in the order of `PartitionFold.conclude`: state, position, chart blocks, alerts, dead letters. The
rest of the transaction, and its input offsets, are lost with the error that its own end then meets. So, after a tear,

- either the position of the step can be seen, and the committed offset says where the step began,
- or it cannot, and state records or outputs stand beyond the position.

The step is folded again from the image of the state before it, and what it gives is compared with what can be seen: what is
missing is written, with the position and the offset, in one transaction (actors/repair.py). The fold is deterministic, so the
whole is bit for bit what it would have been. Where it is not (another version, another detector), nothing is written.

State stands before its position. So a position that can be seen has all of its state beside it, and only outputs are missing. The
image before it is the same state without the step; only if the step was a snapshot that overwrote pages, their older
versions must still be in the log (compaction leaves them some ten minutes; actors/engine/torn_pages.py). If the position cannot
be seen, pages may have been overwritten in part: then the repair is a snapshot too.

Rules of this file: pure; nothing is guessed. What cannot be told for sure is `Cure.REFUSED`, with the way that is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from actors.engine.control import AppliedChange, PartitionChange
from actors.engine.fold import Topics
from actors.engine.position import (
    CHANGE_KEY,
    PAGE_KEY,
    POSITION_KEY,
    Encodes,
    Position,
    Record,
    StateImage,
    page_record,
    position_of,
    read_image,
)
from actors.engine.torn_pages import Decode, Entry, gone
from actors.errors import StateError
from schemas.charts import ChartBlock, ChartStep, step_of, unpack

BLOCKS_KEPT = 64  # of each family, the newest: a step has one, or some where one record would be too large
REPROCESS = "fold the retained input again in a pipeline of another name, which has its own state (docs/torn.md)"


class Cure(StrEnum):
    """What can be done for a partition."""

    NOTHING = "nothing to do"
    COMPLETE = "complete the step"
    OFFSET = "commit the position's offset"
    REFUSED = "refused"


class Block(NamedTuple):
    """A chart block that can be seen."""

    step: ChartStep
    packed: bytes


class BlockPlace(NamedTuple):
    """Which block of a step it is, of those of a family that begin at an offset: a large record goes on in further ones."""

    family: str
    first_offset: int
    number: int


def placed(steps: Iterable[ChartStep]) -> list[BlockPlace]:
    """Return the places of a step's blocks, in the order in which they stand.

    >>> placed([ChartStep("p", "spc", "t", 0, 1, first, 9) for first in (3, 5, 5)])[1:]
    [BlockPlace(family='spc', first_offset=5, number=0), BlockPlace(family='spc', first_offset=5, number=1)]
    """
    seen = Counter[tuple[str, int]]()
    found = []
    for step in steps:
        begins = step.family, step.first_offset
        found.append(BlockPlace(*begins, seen[begins]))
        seen[begins] += 1
    return found


class Diagnosis(NamedTuple):
    """What is wrong with a partition, and what a repair does."""

    partition: int
    cure: Cure
    why: str = ""
    way: str = ""  # for REFUSED: what is left to do
    position: Position | None = None  # the newest that can be seen
    before: StateImage | None = None  # for COMPLETE: the state before the step
    end: int | None = None  # next_offset of the step; None: nothing that can be seen tells
    seq: int = 0  # of the step
    changes: tuple[PartitionChange, ...] = ()  # that the step made
    rewrite: bool = False  # pages of the image before were overwritten or deleted: the repair is a snapshot
    loose: tuple[bytes, ...] = ()  # keys of pages that stand beyond the position

    @property
    def start(self) -> int:
        """Return the input offset that the step begins at; of a whole partition, where it stands."""
        place = self.position if self.before is None else self.before.position
        return 0 if place is None else place.next_offset


@dataclass(frozen=True, slots=True)
class Outputs:
    """What can be seen of a partition's outputs from an input offset on."""

    alerts: Mapping[tuple[str, str], int]  # (alert_id, state) → offset of the row that caused it
    letters: frozenset[int]  # input offsets of dead letters
    aside: frozenset[int]  # input offsets of records that were set aside (twice, too late)
    blocks: Mapping[BlockPlace, bytes]  # packed, of the step

    def end(self) -> int | None:
        """Return the first offset after the rows that caused them; None: there is nothing but blocks."""
        offsets = [*self.alerts.values(), *self.letters, *self.aside]
        return max(offsets) + 1 if offsets else None


def diagnose(
    partition: int,
    entries: Sequence[Entry],
    committed: int | None,
    blocks: Mapping[str, Sequence[Block]],
    first_input: int,
    decode: Decode,
) -> Diagnosis:
    """Say what is wrong with a partition.

    `entries` are all retained versions of its state records in log order, `blocks` the newest BLOCKS_KEPT of each family,
    `first_input` the first retained input offset.
    """
    try:
        found = _diagnose(partition, entries, committed, blocks, decode)
    except StateError as error:
        return Diagnosis(partition, Cure.REFUSED, str(error), REPROCESS)
    if found.cure is not Cure.COMPLETE or found.before is None or found.before.position is None:
        return found
    needed = found.before.position.snapshot_offset
    if first_input > needed and needed != found.end:
        return refused(found, f"input from {needed} is needed and retained only from {first_input}", REPROCESS)
    return found


def refused(found: Diagnosis, why: str, way: str) -> Diagnosis:
    """Return the diagnosis with its cure taken back."""
    why = f"{found.why}; {why}" if found.why else why
    return Diagnosis(found.partition, Cure.REFUSED, why, way, found.position)


class _History(NamedTuple):
    """The positions in the log, and what stands after the last one."""

    positions: list[tuple[int, Position]]  # index in entries
    loose: list[Entry]  # records of a step whose position cannot be seen


def _diagnose(
    partition: int,
    entries: Sequence[Entry],
    committed: int | None,
    blocks: Mapping[str, Sequence[Block]],
    decode: Decode,
) -> Diagnosis:
    history = _history(entries, decode)
    if not history.positions:
        if committed is None and not entries:
            return Diagnosis(partition, Cure.NOTHING)
        raise StateError(f"there is no position record, and offset {committed} is committed: state is lost")
    at, position = history.positions[-1]
    steps = [block.step for kept in blocks.values() for block in kept]
    beyond = [s for s in steps if s.next_offset > position.next_offset or s.seq > position.seq]
    if history.loose or beyond:
        before = read_image(entries[: at + 1], decode)
        return _without_position(partition, entries, history, before, beyond, committed, decode)
    return _at_position(partition, entries, history, committed, blocks, decode)


def _at_position(
    partition: int,
    entries: Sequence[Entry],
    history: _History,
    committed: int | None,
    blocks: Mapping[str, Sequence[Block]],
    decode: Decode,
) -> Diagnosis:
    """Nothing stands beyond the position: does the committed offset agree, and do the outputs reach it?"""
    position = history.positions[-1][1]
    whole = read_image(entries, decode)
    why = f"committed offset {committed}, position {position.next_offset}"
    if committed is not None and committed > position.next_offset:
        return Diagnosis(partition, Cure.OFFSET, f"{why}: set by hand", position=position)
    start = _start(position, history, blocks)
    ends = [kept[-1].step.next_offset for kept in blocks.values() if kept]
    lacking = start is not None and any(start <= end < position.next_offset for end in ends)
    if start is not None and start < position.next_offset and (committed == start or lacking):
        return _with_position(partition, entries, history, whole, start, f"torn transaction: {why}", decode)
    if committed in {None, position.next_offset}:
        return Diagnosis(partition, Cure.NOTHING, position=position, before=whole, seq=position.seq + 1)
    if start is not None:
        return Diagnosis(
            partition, Cure.OFFSET, f"{why}: set by hand, the last step began at {start}", position=position
        )
    why += "; neither the position before nor a chart block tells where the last step began"
    way = f"if the offset was set by hand, set it to {position.next_offset} with Kafka's tools; else {REPROCESS}"
    return Diagnosis(partition, Cure.REFUSED, why, way, position)


def _history(entries: Sequence[Entry], decode: Decode) -> _History:
    positions = [
        (i, position_of(decode(value))) for i, (key, value) in enumerate(entries) if key == POSITION_KEY and value
    ]
    return _History(positions, list(entries[positions[-1][0] + 1 :]) if positions else [])


def _start(position: Position, history: _History, blocks: Mapping[str, Sequence[Block]]) -> int | None:
    """Return where the last step began, if anything still says so."""
    for _, earlier in reversed(history.positions):
        if earlier.seq == position.seq - 1:
            return earlier.next_offset
    steps = [block.step for kept in blocks.values() for block in kept]
    begun = [step.first_offset for step in steps if step.seq == position.seq]
    ended = [step.next_offset for step in steps if step.seq == position.seq - 1]
    return min(begun) if begun else max(ended, default=None)


def _without_position(
    partition: int,
    entries: Sequence[Entry],
    history: _History,
    before: StateImage,
    beyond: Sequence[ChartStep],
    committed: int | None,
    decode: Decode,
) -> Diagnosis:
    """A step of which records can be seen, and its position cannot."""
    (at, position), loose = history.positions[-1], history.loose
    why = f"torn transaction: records of step {position.seq + 1} stand beyond the position {position.next_offset}"
    found = Diagnosis(partition, Cure.COMPLETE, why, "", position, before, None, position.seq + 1)
    ends = {step.next_offset for step in beyond}
    if any(step.seq != position.seq + 1 or step.first_offset < position.next_offset for step in beyond):
        steps = ", ".join(f"{s.family} {s.first_offset} to {s.next_offset}" for s in beyond)
        return refused(found, f"blocks stand there that are not of that step ({steps})", REPROCESS)
    if committed is not None and committed > position.next_offset and committed not in ends:
        return refused(found, f"offset {committed} is committed: the newest state is lost", REPROCESS)
    made = [AppliedChange.of(decode(value)) for key, value in loose if key.startswith(CHANGE_KEY) and value]
    changes = tuple(change.change for change in made)
    rewrite = any(key.startswith(PAGE_KEY) and (value is None or not decode(value)["apart"]) for key, value in loose)
    pages = tuple(dict.fromkeys(key for key, _ in loose if key.startswith(PAGE_KEY)))
    found = found._replace(end=max(ends, default=None), changes=changes, rewrite=rewrite, loose=pages)
    lost = gone(loose, entries[: at + 1], before, [seen for _, seen in history.positions], decode)
    return refused(found, f"{lost} before the step is not retained any more", REPROCESS) if lost else found


def _with_position(
    partition: int,
    entries: Sequence[Entry],
    history: _History,
    whole: StateImage,
    start: int,
    why: str,
    decode: Decode,
) -> Diagnosis:
    """A step whose position can be seen, and not all of its outputs."""
    position = history.positions[-1][1]
    made = [change for change in whole.changes if change.seq == position.seq]
    found = Diagnosis(
        partition,
        Cure.COMPLETE,
        why,
        "",
        position,
        None,
        position.next_offset,
        position.seq,
        tuple(c.change for c in made),
    )
    earlier = [(at, seen) for at, seen in history.positions if seen.seq == position.seq - 1]
    if position.snapshot_seq < position.seq:
        before = earlier[-1][1] if earlier else _worked_out(position, start)
        before = before._replace(snapshot_offset=position.snapshot_offset, snapshot_seq=position.snapshot_seq)
        kept = tuple(change for change in whole.changes if change.seq < position.seq)
        return found._replace(before=whole._replace(position=before, changes=kept))
    if not earlier:
        return refused(found, "the step was a snapshot, and the state before it is not retained any more", REPROCESS)
    until = earlier[-1][0] + 1
    image = read_image(entries[:until], decode)
    past = [seen for at, seen in history.positions if at < until]
    lost = gone(entries[until:], entries[:until], image, past, decode)
    if lost:
        return refused(found, f"{lost} before the step is not retained any more", REPROCESS)
    return found._replace(before=image)


def _worked_out(position: Position, start: int) -> Position:
    """Return the position before a step that began at `start`."""
    applied = tuple(entry for entry in position.applied if entry.at_offset < start)
    return position._replace(next_offset=start, seq=position.seq - 1, applied=applied)


def restored(
    found: Diagnosis, written: Iterable[Record], state_topic: str, encoders: Mapping[str, Encodes]
) -> list[Record]:
    """Return records that undo pages of the torn step which the repair does not write: as they were, or tombstones."""
    if found.before is None:
        return []
    named = dict(zip(found.before.page_keys, found.before.pages, strict=True))
    keys = {record.key for record in written}
    return [
        page_record(state_topic, found.partition, named[key], encoders, second=key.endswith(b"|2"), apart=False)
        if key in named
        else Record(state_topic, found.partition, key, None)
        for key in found.loose
        if key not in keys
    ]


# ---- what is missing


def reach(found: Diagnosis, outputs: Outputs) -> Diagnosis:
    """Return the diagnosis with the end of the step, as far as alerts and dead letters tell."""
    end = outputs.end()
    if found.cure is Cure.NOTHING and end is not None and end > found.start:
        why = f"torn transaction: alerts or dead letters stand beyond the position {found.start}"
        found = found._replace(cure=Cure.COMPLETE, why=why)
    if found.cure is not Cure.COMPLETE or found.end is not None:
        return found
    return found._replace(end=max(found.start, end or 0))


def missing(records: Iterable[Record], outputs: Outputs, topics: Topics, decode: Decode) -> list[Record]:
    """Return what of a step's outputs cannot be seen yet.

    Raises StateError if what can be seen is not what the step gives.
    """
    records = list(records)
    alerts, blocks = dict(outputs.alerts), dict(outputs.blocks)
    charts = placed(step_of(record.value or b"") for record in records if record.topic == topics.charts)
    next_chart = iter(charts)
    letters = {topics.dead_letters: set(outputs.letters), topics.late: set(outputs.aside)}
    lacking = []
    for record in records:
        value = record.value or b""
        if record.topic == topics.charts:
            place = next(next_chart)
            seen = blocks.pop(place, None)
            if seen is not None:
                _same(place.family, unpack(seen), unpack(value))
                continue
        elif record.topic == topics.alerts:
            alert = decode(value)
            if alerts.pop((alert["alert_id"], alert["state"]), None) is not None:
                continue
        elif record.topic in letters:
            offset = decode(value)["offset"]
            if offset in letters[record.topic]:
                letters[record.topic].discard(offset)
                continue
        else:
            continue
        lacking.append(record)
    left = [
        *(f"block of {place.family} at {place.first_offset}" for place in blocks),
        *(f"alert {ident} {state}" for ident, state in alerts),
    ]
    left += [f"offset {offset} in {topic}" for topic, offsets in letters.items() for offset in sorted(offsets)]
    if left:
        raise StateError(f"folded again, the step does not give what stands in the outputs: {', '.join(left[:3])}")
    return lacking


def _same(family: str, seen: ChartBlock, folded: ChartBlock) -> None:
    for each in fields(ChartBlock):
        if not _equal(getattr(seen, each.name), getattr(folded, each.name)):
            what = f"block of {family} at {seen.first_offset}: {each.name} differs"
            raise StateError(f"folded again, the step does not give what stands in the outputs: {what}")


def _equal(seen: Any, folded: Any) -> bool:
    if isinstance(seen, np.ndarray):
        return bool(seen.dtype == folded.dtype and seen.shape == folded.shape and seen.tobytes() == folded.tobytes())
    if isinstance(seen, Mapping):
        return seen.keys() == folded.keys() and all(_equal(seen[name], folded[name]) for name in seen)
    if hasattr(seen, "__dataclass_fields__"):
        return all(_equal(getattr(seen, each.name), getattr(folded, each.name)) for each in fields(seen))
    return bool(seen == folded)
