"""The fold of one partition: what came in, what the families said of it, what goes out in one transaction.

Theory of operation
-------------------
    raw records ──begin──▶ Step (a MicroBatch and a number) ──families──▶ FamilyOutputs ──conclude──▶ records to commit

`begin` decodes; `conclude` turns outputs into records and advances the position. Between the two the families
advance their state (actors/engine/family.py), here or in other processes: the fold does not know. It is driven by plain calls,
live and in a replay; a replay differs only in that its outputs are suppressed.

Between decoding and judging, `begin` sets aside what came twice, too late or from a wrong clock, if it is to
(actors/engine/gate.py). Every record is one of: judged, missing, dead letter, set aside. One with many samples is as many rows,
each judged or missing; as a dead letter or set aside it is one.

Changes of limits, resets and exclusions enter with a step, hold from its first offset on, and are recorded in its transaction
(actors/engine/control.py). A series that a change names before its first row gets its code then, so that the limits are there.
A measurement that is excluded before it is folded (the owner lagged, or a new pipeline folds the topic from its beginning) comes
to the detectors as a missing one, all samples of its record, with True in the column `excluded`; one that was judged before stays
as it was said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from actors.engine.alert_records import DetectorFailure, Source, alert_records, failure_record
from actors.engine.arrivals import Arrivals
from actors.engine.control import AppliedChange, PartitionChange
from actors.engine.dead_letters import dead_letter_records
from actors.engine.family import FamilyOutput, Rest, Work
from actors.engine.gate import Gate
from actors.engine.params import ParamsChange
from actors.engine.position import (
    APPLIED_MAX,
    DISABLED,
    Applied,
    Encodes,
    Position,
    Record,
    StateImage,
    change_record,
    position_record,
)
from actors.engine.snapshot import TRANSACTION_BYTES_MAX, Snapshot
from actors.engine.state import Page
from actors.errors import ConfigError, StateError
from models.limit_versions import Kind, effect
from schemas.batch import DeadLetter, MicroBatch, RawBatch, SeriesDictionary

_NOTHING_ASIDE = Arrivals()


class Decodes(Protocol):
    """What `schemas.decode.MeasurementDecoder` does."""

    def decode(
        self, raw: RawBatch, series: SeriesDictionary, *, event_ids: bool = False, rows_max: int | None = None
    ) -> MicroBatch:
        """Return columns, with `event_ids` also those; what cannot be read is in `rejects`.

        With `rows_max`, of as many of the first records as have at most so many rows; of one at least.
        """
        ...


@dataclass(frozen=True, slots=True)
class Topics:
    """Where a fold writes, and where its owner hears of changes."""

    charts: str
    alerts: str
    dead_letters: str
    state: str
    control: str = ""  # empty: nobody can change anything
    deals: str = ""  # of no use to the fold: where its owner hears which partitions it has
    late: str = ""  # for what is set aside (actors/engine/gate.py); empty: nothing may be
    rest_charts: str = ""  # for series that are not in the pipeline's share (actors/engine/share.py); empty: all are
    rest_alerts: str = ""


class Step(NamedTuple):
    """One step of one partition, decoded."""

    work: Work
    rejects: tuple[DeadLetter, ...]
    changes: tuple[PartitionChange, ...] = ()
    aside: tuple[DeadLetter, ...] = ()  # came twice, too late or from a wrong clock
    settled: tuple[Page, ...] = ()  # say which settings of arrivals hold from here on


class PartitionFold:
    """The fold of one partition. `position` is where it stands; everything else can be rebuilt from the log."""

    def __init__(
        self,
        pipeline: str,
        position: Position,
        series: Iterable[str],
        decoder: Decodes,
        encoders: Mapping[str, Encodes],
        topics: Topics,
        changes: Iterable[AppliedChange] = (),
        arrivals: Arrivals = _NOTHING_ASIDE,
        pages: Iterable[Page] = (),
        snapshot: Snapshot | None = None,
    ) -> None:
        """Take a partition over. `pages`: all of its snapshot; the fold takes its own, or raises StateError."""
        self.pipeline = pipeline
        self.position = position
        self.series = SeriesDictionary(series)
        self.decoder = decoder
        self.encoders = encoders
        self.topics = topics
        self.changes_made: set[str] = set()  # ids
        self._excluded: set[int] = set()  # offsets that are still to come
        for made in changes:
            self.changes_made.add(made.change.change_id)
            self._exclude([made.change], made.at_offset)
        self._begun_series = len(self.series)
        self.snapshot = snapshot or Snapshot(StateImage(position, self.series.keys, []))
        self._gate = Gate(arrivals, pages)
        if (arrivals.on or self._gate.settings.on) and not topics.late:
            raise ConfigError("there is no topic for what comes twice or too late")

    @property
    def watermark_ms(self) -> int | None:
        """Return the partition's watermark; None: nothing is set aside for being late, or no row was folded since."""
        return self._gate.watermark_ms

    def begin(
        self,
        raw: RawBatch,
        changes: Sequence[PartitionChange] = (),
        *,
        emit: bool = True,
        rows_max: int | None = None,
    ) -> Step:
        """Decode the next records of the partition; `changes` hold from the first of them on.

        With `rows_max` only so many of them as have at most so many rows, and one at least: the step says how far it goes.
        If decoding raises, nothing is advanced but the series dictionary: call it again with the same arguments.
        """
        params = tuple(self._params_changes(changes))
        batch = self.decoder.decode(raw, self.series, event_ids=self._gate.wants_ids, rows_max=rows_max)
        at_snapshot = self.position.next_offset == self.position.snapshot_offset and not self.snapshot.under_way
        settled = self._gate.settle(self.position.snapshot_seq) if emit and at_snapshot else []
        batch, aside = self._gate.sort_out(raw, batch, tell=emit)
        self._exclude(changes, self.position.next_offset)
        work = Work(
            partition=raw.partition,
            seq=self.position.seq + 1,
            first_offset=self.position.next_offset,
            batch=self._without_excluded(batch),
            new_series=tuple(self.series.keys[self._begun_series :]),
            emit=emit,
            changes=params,
        )
        self._begun_series = len(self.series)
        return Step(work, batch.rejects, tuple(changes), aside, tuple(settled))

    def _exclude(self, changes: Iterable[PartitionChange], first_offset: int) -> None:
        for change in changes:
            offsets = {s.offset for s in change.shares if s.offset is not None and s.offset >= first_offset}
            if change.kind is Kind.EXCLUDE:
                self._excluded |= offsets
            elif change.kind is Kind.INCLUDE:
                self._excluded -= offsets

    def _without_excluded(self, batch: MicroBatch) -> MicroBatch:
        """Return the batch without rejects, its excluded rows as missing ones."""
        batch = replace(batch, rejects=())
        inside = [offset for offset in self._excluded if offset < batch.next_offset]
        if not inside:
            return batch
        flags = np.isin(batch.offset, inside)
        value = batch.value.copy()
        value[flags] = np.nan
        return replace(batch, value=value, columns={**batch.columns, "excluded": flags})

    def _params_changes(self, changes: Sequence[PartitionChange]) -> Iterable[ParamsChange]:
        for change in changes:
            for share in change.shares:
                code = self.series.code(share.series)
                if code >= 0:  # else the dictionary is full: none of this series' rows will be judged either
                    yield ParamsChange(code, *effect(change.kind, share))

    def replayed(self, step: Step) -> None:
        """Advance past a step of a replay: only the offset moves, nothing is written."""
        self._passed(step.work.batch.next_offset)
        self.position = self.position._replace(next_offset=step.work.batch.next_offset)

    def _passed(self, next_offset: int) -> None:
        if self._excluded:
            self._excluded = {offset for offset in self._excluded if offset >= next_offset}

    def conclude(
        self,
        step: Step,
        outputs: Iterable[FamilyOutput],
        pages: Iterable[Page] | None = None,
        bytes_max: int = TRANSACTION_BYTES_MAX,
    ) -> list[Record]:
        """Advance the position past the step; return all that the transaction must hold.

        First the state that the position speaks of, then the position, then the outputs. So where a transaction was torn
        (docs/torn.md), a position that can be seen never stands before pages that cannot.

        `pages`, when given (even empty), are a snapshot as of this step. At most `bytes_max` of it (and a page) go into this
        transaction, the rest into those of the next steps: as long as `snapshot.under_way`, there must be further ones.
        """
        work, before = step.work, self.position
        outputs = tuple(outputs)
        failures = tuple(failure for output in outputs for failure in output.failures)
        position = before._replace(
            next_offset=work.batch.next_offset,
            seq=work.seq,
            applied=self._applied(failures),
            event_time_ms=int(work.batch.event_time_ms.max(initial=before.event_time_ms)),
        )
        state = self.snapshot.replaced(self.topics.state, position.partition, step.settled, self.encoders)
        state += [
            change_record(
                self.topics.state,
                position.partition,
                AppliedChange(change, work.first_offset, work.seq, before.event_time_ms),
                self.encoders,
            )
            for change in step.changes
        ]
        self.changes_made.update(change.change_id for change in step.changes)
        self._passed(position.next_offset)
        if pages is not None:
            self.snapshot.begin([*pages, *self._gate.take_dirty(position.seq)], len(self.series), position)
        written, self.position = self.snapshot.write(
            self.topics.state, position, self.series.keys, self.encoders, bytes_max
        )
        state += written
        position = self.position
        records = [*state, position_record(self.topics.state, position, self.encoders)]
        source, alert_encoder = Source(self.pipeline, position.topic, position.partition), self.encoders["alert"]
        for output in outputs:
            if output.chart is not None:
                key = f"{position.topic}:{position.partition}/{output.family}".encode()
                charts = (output.chart, *output.more_charts)
                records += [Record(self.topics.charts, position.partition, key, chart) for chart in charts]
            for events in output.alerts:
                records += alert_records(events, work.batch, source, self.topics.alerts, alert_encoder)
            if output.rest is not None:
                records += self._rest(output.family, output.rest, work, source)
        records += [failure_record(failure, source, self.topics.alerts, alert_encoder) for failure in failures]
        encoder = self.encoders["dead_letter"]
        records += dead_letter_records(step.rejects, self.topics.dead_letters, self.pipeline, encoder)
        records += dead_letter_records(step.aside, self.topics.late, self.pipeline, encoder)
        return records

    def _rest(self, family: str, rest: Rest, work: Work, source: Source) -> list[Record]:
        """Return the records of the series that are not in the pipeline's share."""
        key = f"{source.topic}:{source.partition}/{family}".encode()
        records = [Record(self.topics.rest_charts, source.partition, key, chart) for chart in rest.charts]
        for events in rest.alerts:
            records += alert_records(events, work.batch, source, self.topics.rest_alerts, self.encoders["alert"])
        return records

    def _applied(self, failures: tuple[DetectorFailure, ...]) -> tuple[Applied, ...]:
        new = tuple(Applied(f.at_offset, DISABLED, f.detector, f.detail.strip().rpartition("\n")[2]) for f in failures)
        applied = self.position.applied + new
        if len(applied) > APPLIED_MAX:
            raise StateError(f"the applied log has {len(applied)} entries; the limit is {APPLIED_MAX}")
        return applied
