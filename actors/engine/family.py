"""What one detector family does with a step: advance its detectors, its alert books, and pack what they said.

Theory of operation
-------------------
A `FamilyFold` holds, for every partition it was opened for, one `StateTable` per detector, one per alert book, and one with the
parameters that people have given (actors/engine/params.py): a step's `changes` are made before its first row. It is driven
by plain calls, `open → step, step, … → snapshot`, by a DetectorActor or in the owner's own process; it does not know which.

A detector that raises is switched off on that partition from the first offset of that step on. The owner writes that to the
`applied` log, so that a replay does the same; the fold goes on.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from actors.engine import alerts
from actors.engine.params import ParamsChange, ParamsTable
from actors.engine.state import Page, StateTable
from models.detector import Detector, SeriesBatch, Verdicts, identity, read_only
from schemas.batch import MicroBatch
from schemas.charts import ChartBlock, DetectorColumns, RuleMeta, pack

DETAIL_CHARS = 8_000  # of a traceback in an alert


class Work(NamedTuple):
    """One step of one partition, for one family."""

    partition: int
    seq: int
    first_offset: int
    batch: MicroBatch
    new_series: tuple[str, ...]  # series that this step saw first, in code order
    emit: bool  # False while replaying: outputs are suppressed
    changes: tuple[ParamsChange, ...] = ()  # of limits, resets, exclusions: they hold from first_offset on


class AlertEvent(NamedTuple):
    """A transition with the names that an alert record needs."""

    detector: str
    rule: str
    rule_doc: str
    severity: str
    series: str
    change: alerts.Transition


class DetectorFailure(NamedTuple):
    """A detector raised: it is off on this partition from `at_offset` on."""

    partition: int
    at_offset: int
    detector: str
    detail: str  # the traceback


class FamilyOutput(NamedTuple):
    """What one family says of one step."""

    family: str
    chart: bytes | None  # packed ChartBlock; None when suppressed or when the position did not move
    alerts: tuple[AlertEvent, ...]
    failures: tuple[DetectorFailure, ...]


@dataclass(slots=True)
class _Judge:
    """A detector on one partition."""

    detector: Detector
    identity: str
    table: StateTable
    book: StateTable


@dataclass(slots=True)
class _Partition:
    topic: str
    series: list[str]
    judges: list[_Judge]
    params: ParamsTable

    def grow(self, new_series: Sequence[str]) -> None:
        """Have a row for every series."""
        self.series.extend(new_series)
        rows = len(self.series)
        self.params.reserve(rows)
        for judge in self.judges:
            judge.table.reserve(rows)
            judge.book.reserve(rows)


class FamilyFold:
    """One family of detectors over any number of partitions."""

    def __init__(
        self, pipeline: str, family: str, detectors: Iterable[Detector], clean_rows: int = alerts.CLEAN_ROWS
    ) -> None:
        self.pipeline = pipeline
        self.family = family
        self.detectors = tuple(detectors)
        self.clean_rows = clean_rows
        self._partitions: dict[int, _Partition] = {}
        for detector in self.detectors:
            alerts.check_rules(detector)

    def open(
        self, topic: str, partition: int, series: Sequence[str], pages: Iterable[Page], disabled: Iterable[str] = ()
    ) -> tuple[str, ...]:
        """Take a partition over: its series in code order, the family's pages, the detectors that the `applied` log has off.

        Returns the identities of detectors for which there are series but no page: they start in Phase I. Raises StateError
        for a page that does not fit.
        """
        off = set(disabled)
        judges = []
        for detector in self.detectors:
            key = identity(detector)
            if key not in off:
                table = StateTable(self.family, key, detector.state)
                book = StateTable(self.family, "alerts/" + key, alerts.alert_columns(len(detector.rules)))
                judges.append(_Judge(detector, key, table, book))
        params = ParamsTable(self.family)
        tables = {table.detector: table for judge in judges for table in (judge.table, judge.book)}
        tables[params.table.detector] = params.table
        restored = set()
        for page in pages:
            if page.detector in tables:
                tables[page.detector].restore(page)
                restored.add(page.detector)
        params.restored()
        opened = _Partition(topic, [], judges, params)
        opened.grow(series)
        self._partitions[partition] = opened
        return tuple(judge.identity for judge in judges if series and judge.identity not in restored)

    def step(self, work: Work) -> FamilyOutput:
        """Advance every detector by one batch; pack charts and alerts unless they are suppressed."""
        opened = self._partitions[work.partition]
        opened.grow(work.new_series)
        opened.params.change(work.changes)
        batch = work.batch
        limits = {name: batch.columns[name] for name in ("lsl", "usl", "target")}
        read_only(batch.series, batch.offset, batch.event_time_ms, batch.value, batch.subgroup, *limits.values())
        seen = SeriesBatch(
            row=batch.series,
            offset=batch.offset,
            event_time_ms=batch.event_time_ms,
            value=batch.value,
            subgroup=batch.subgroup,
            params=opened.params.rows,
            columns=limits,
        )
        said: dict[str, DetectorColumns] = {}
        events: list[AlertEvent] = []
        failures: list[DetectorFailure] = []
        rows = np.unique(batch.series)
        for judge in list(opened.judges):
            try:
                verdicts = _checked(judge.detector, judge.detector.update(judge.table.arrays, seen), len(batch))
            except Exception:  # noqa: BLE001 - any code may stand here; the failure is a value, reported and logged
                detail = traceback.format_exc()[-DETAIL_CHARS:]
                failures.append(DetectorFailure(work.partition, work.first_offset, judge.identity, detail))
                opened.judges.remove(judge)
                continue
            judge.table.touch(rows)
            changes = alerts.advance(judge.book.arrays, judge.detector.rules, seen, verdicts, self.clean_rows)
            judge.book.touch(rows)
            if work.emit:
                said[judge.detector.name] = _columns(judge, verdicts)
                events.extend(_named(judge, opened.series, change) for change in changes)
        moved = batch.next_offset > work.first_offset  # a step of dead letters only leaves an empty block, not a gap
        chart = pack(self._block(opened, work, said)) if work.emit and moved else None
        return FamilyOutput(self.family, chart, tuple(events), tuple(failures))

    def run(self, works: Sequence[Work], snapshot: bool) -> tuple[list[FamilyOutput], dict[int, list[Page]]]:
        """Take one step of each work; with `snapshot`, copy the dirty pages out as of these steps."""
        outputs = [self.step(work) for work in works]
        pages = {work.partition: self.snapshot(work.partition, work.seq) for work in works} if snapshot else {}
        return outputs, pages

    def warm(self) -> None:
        """Compile every kernel, or load it from the cache, with the types that a live batch has."""
        partition = -1
        n = 2
        self.open("warm", partition, (), ())
        zero, number = np.zeros(n, np.int64), np.zeros(n)
        batch = MicroBatch(
            topic="warm",
            partition=partition,
            offset=np.arange(n),
            next_offset=n,
            event_time_ms=zero,
            published_ms=zero.copy(),
            series=np.zeros(n, np.int32),
            value=number,
            subgroup=zero.copy(),
            columns={name: number.copy() for name in ("lsl", "usl", "target")}
            | {name: np.array([""] * n, object) for name in ("lot", "wafer")},
        )
        self.step(Work(partition, 1, 0, batch, ("warm",), emit=True))
        del self._partitions[partition]

    def snapshot(self, partition: int, seq: int) -> list[Page]:
        """Copy out the pages that changed since the last snapshot, as of step `seq`."""
        opened = self._partitions[partition]
        tables = [table for judge in opened.judges for table in (judge.table, judge.book)]
        return [page for table in (*tables, opened.params.table) for page in table.take_dirty(seq)]

    def disable(self, partition: int, detector: str) -> None:
        """Switch a detector off, as the `applied` log says it was at this point."""
        opened = self._partitions[partition]
        opened.judges = [judge for judge in opened.judges if judge.identity != detector]

    def _block(self, opened: _Partition, work: Work, said: dict[str, DetectorColumns]) -> ChartBlock:
        batch = work.batch
        codes, series = np.unique(batch.series, return_inverse=True)
        return ChartBlock(
            pipeline=self.pipeline,
            family=self.family,
            topic=opened.topic,
            partition=work.partition,
            seq=work.seq,
            first_offset=work.first_offset,
            next_offset=batch.next_offset,
            series_keys=[opened.series[code] for code in codes.tolist()],
            series=series.astype(np.int32),
            offset=batch.offset,
            event_time_ms=batch.event_time_ms,
            published_ms=batch.published_ms,
            value=batch.value,
            lsl=batch.columns["lsl"],
            usl=batch.columns["usl"],
            target=batch.columns["target"],
            lot=batch.columns["lot"].tolist(),
            wafer=batch.columns["wafer"].tolist(),
            detectors=said,
        )


def _columns(judge: _Judge, verdicts: Verdicts) -> DetectorColumns:
    return DetectorColumns(
        detector=judge.identity,
        statistics=judge.detector.statistics,
        rules=tuple(RuleMeta(*rule) for rule in judge.detector.rules),
        **verdicts._asdict(),
    )


def _named(judge: _Judge, series: Sequence[str], change: alerts.Transition) -> AlertEvent:
    rule = judge.detector.rules[change.rule]
    return AlertEvent(judge.identity, rule.name, rule.doc, rule.severity, series[change.series], change)


def _checked(detector: Detector, said: Verdicts, n: int) -> Verdicts:
    """Return the verdicts as the engine reads them; raise if they are not what the contract says, before anything reads them."""
    q = len(detector.statistics)
    if said.statistic.shape != (n, q) or said.signal.shape != (n,) or said.valid.shape != (n,):
        shapes = [np.shape(part) for part in said]
        raise ValueError(f"{detector.name} returned shapes {shapes} for {n} rows and {q} statistics")
    if said.signal.dtype != np.uint32 or said.valid.dtype != np.bool_:
        raise ValueError(f"{detector.name}: signal must be uint32 and valid bool")
    wide = [np.ascontiguousarray(np.broadcast_to(np.asarray(part, np.float64), (n, q))) for part in said[:4]]
    return Verdicts(wide[0], wide[1], wide[2], wide[3], said.signal, said.valid)
