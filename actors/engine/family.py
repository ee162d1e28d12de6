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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from actors.engine import alerts
from actors.engine.alert_records import AlertEvents, DetectorFailure, keys_of
from actors.engine.chart_records import pack_bounded, rows_of
from actors.engine.judge import Assignment, Judge, assigned, measured
from actors.engine.params import ParamsChange, ParamsTable
from actors.engine.share import EVERY_SERIES, Share
from actors.engine.state import Page
from models.detector import COLUMNS, Detector, SeriesBatch, Verdicts, dimension, read_only
from schemas.batch import MicroBatch
from schemas.charts import ChartBlock, DetectorColumns, RuleMeta
from schemas.texts import Distinct, Texts, WordList

DETAIL_CHARS = 8_000  # of a traceback in an alert
_FOLD = "engine"  # family of the pages that are the fold's own (actors/engine/arrivals.py)


class Work(NamedTuple):
    """One step of one partition, for one family."""

    partition: int
    seq: int
    first_offset: int
    batch: MicroBatch
    new_series: tuple[str, ...]  # series that this step saw first, in code order
    emit: bool  # False while replaying: outputs are suppressed
    changes: tuple[ParamsChange, ...] = ()  # of limits, resets, exclusions: they hold from first_offset on


class Rest(NamedTuple):
    """What a family says of the series that do not count (actors/engine/share.py)."""

    charts: tuple[bytes, ...]
    alerts: tuple[AlertEvents, ...]


class FamilyOutput(NamedTuple):
    """What one family says of one step."""

    family: str
    chart: bytes | None  # packed ChartBlock; None when suppressed or when the position did not move
    alerts: tuple[AlertEvents, ...]  # of the detectors that have any
    failures: tuple[DetectorFailure, ...]
    more_charts: tuple[bytes, ...] = ()  # the rest of the rows, where one record would be too large for its topic
    rest: Rest | None = None  # None: every series counts


@dataclass(slots=True)
class _Partition:
    topic: str
    series: list[str]
    judges: list[Judge]
    params: ParamsTable
    share: Share
    words: WordList = field(default_factory=WordList)  # the series once more, for charts
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.bool_))  # (series,) in the share; unused if whole

    def grow(self, new_series: Sequence[str]) -> None:
        """Have a row for every series."""
        self.series.extend(new_series)
        if new_series and not self.share.whole:
            self.counts = np.concatenate((self.counts, self.share.of(new_series)))
        self.words.append(new_series)
        rows = len(self.series)
        self.params.reserve(rows)
        for judge in self.judges:
            judge.grow(new_series, rows)


def configured(families: Mapping[str, Iterable[Detector | Assignment]]) -> Callable[[Page], bool]:
    """Return a test for pages: whether a detector of these families would read it as it is. Pages of the fold itself pass."""
    tables = set()
    for family, detectors in families.items():
        judges = [Judge(family, assignment) for assignment in assigned(detectors)]
        every = [table for judge in judges for table in (judge.table, judge.book)]
        tables |= {(table.detector, table.layout) for table in (*every, ParamsTable(family).table)}
    return lambda page: page.family == _FOLD or (page.detector, page.layout) in tables


class FamilyFold:
    """One family of detectors over any number of partitions."""

    def __init__(
        self,
        pipeline: str,
        family: str,
        detectors: Iterable[Detector | Assignment],
        clean_rows: int = alerts.CLEAN_ROWS,
        pack: Callable[[ChartBlock], list[bytes]] = pack_bounded,
    ) -> None:
        """Make the family. `pack` returns the chart records of a block; whoever writes none may keep the block instead."""
        self.pipeline = pipeline
        self.family = family
        self.assignments = assigned(detectors)
        self.share = self.assignments[0].share if self.assignments else EVERY_SERIES
        self.clean_rows = clean_rows
        self._pack = pack
        self._partitions: dict[int, _Partition] = {}
        self._distinct = Distinct()

    def open(
        self, topic: str, partition: int, series: Sequence[str], pages: Iterable[Page], disabled: Iterable[str] = ()
    ) -> tuple[str, ...]:
        """Take a partition over: its series in code order, the family's pages, the detectors that the `applied` log has off.

        Returns, for detectors without state where there are series, their identity and why: they start in Phase I. State of
        another version is migrated (actors/engine/migration.py). Raises StateError for a page that does not fit.
        """
        off = set(disabled)
        every = [Judge(self.family, assignment) for assignment in self.assignments]
        judges = [judge for judge in every if judge.identity not in off]
        params = ParamsTable(self.family)
        opened = _Partition(topic, [], judges, params, self.share)
        opened.grow(series)
        mine = tuple(page for page in pages if page.family == self.family)
        without_state = [why for judge in judges if (why := judge.restore(mine)) and series]
        params.restore(mine)
        self._partitions[partition] = opened
        return tuple(without_state)

    def step(self, work: Work) -> FamilyOutput:
        """Advance every detector by one batch; pack charts and alerts unless they are suppressed."""
        opened = self._partitions[work.partition]
        opened.grow(work.new_series)
        opened.params.change(work.changes)
        batch = work.batch
        columns = {name: batch.columns[name] for name in COLUMNS if name in batch.columns}
        read_only(batch.series, batch.offset, batch.event_time_ms, batch.value, batch.subgroup, *columns.values())
        seen = SeriesBatch(
            row=batch.series,
            offset=batch.offset,
            event_time_ms=batch.event_time_ms,
            value=batch.value,
            subgroup=batch.subgroup,
            params=opened.params.rows,
            columns=columns,
        )
        said: dict[str, DetectorColumns] = {}
        events: list[AlertEvents] = []
        failures: list[DetectorFailure] = []
        for judge in list(opened.judges):
            try:
                judged = judge.step(seen, self.clean_rows, batch.sample)
            except Exception:  # noqa: BLE001 - any code may stand here; the failure is a value, reported and logged
                detail = traceback.format_exc()[-DETAIL_CHARS:]
                failures.append(DetectorFailure(work.partition, work.first_offset, judge.identity, detail))
                opened.judges.remove(judge)
                continue
            if work.emit and judged.verdicts is not None:
                said[judge.name] = _columns(judge, judged.verdicts)
                if len(judged.changes):
                    series = keys_of(opened.series, judged.changes)
                    events.append(
                        AlertEvents(judge.identity, judge.detector.rules, series, judged.changes, judged.details)
                    )
        moved = batch.next_offset > work.first_offset  # a step of dead letters only leaves an empty block, not a gap
        block = self._block(opened, work, said) if work.emit and moved else None
        if self.share.whole:
            charts = () if block is None else tuple(self._pack(block))
            return _output(self.family, charts, events, failures)
        counts = opened.counts
        mine = counts[batch.series]
        charts, others = (() if block is None else tuple(self._pack(rows_of(block, at))) for at in (mine, ~mine))
        ours, theirs = (
            [part for each in events if len((part := each.some(wanted[each.changes.series])).changes)]
            for wanted in (counts, ~counts)
        )
        return _output(self.family, charts, ours, failures)._replace(rest=Rest(others, tuple(theirs)))

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
        p = dimension(self.assignments[0].detector) if self.assignments else None
        batch = MicroBatch(
            topic="warm",
            partition=partition,
            offset=np.arange(n),
            next_offset=n,
            event_time_ms=zero,
            published_ms=zero.copy(),
            series=np.zeros(n, np.int32),
            value=number if p is None else np.zeros((n, p)),
            subgroup=zero.copy(),
            columns={name: number.copy() for name in ("lsl", "usl", "target", "sample_size")}
            | {name: Texts.of([""] * n) for name in ("lot", "wafer")},
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

    def clear(self) -> None:
        """Forget all partitions; what is compiled stays."""
        self._partitions.clear()

    def drop(self, partition: int) -> None:
        """Forget a partition; one that is not open is forgotten already."""
        self._partitions.pop(partition, None)

    def _block(self, opened: _Partition, work: Work, said: dict[str, DetectorColumns]) -> ChartBlock:
        batch = work.batch
        codes, series = self._distinct.of(batch.series, len(opened.series))
        return ChartBlock(
            pipeline=self.pipeline,
            family=self.family,
            topic=opened.topic,
            partition=work.partition,
            seq=work.seq,
            first_offset=work.first_offset,
            next_offset=batch.next_offset,
            series_keys=opened.words.take(codes),
            series=series,
            offset=batch.offset,
            event_time_ms=batch.event_time_ms,
            published_ms=batch.published_ms,
            value=batch.value if batch.value.ndim == 1 else measured(batch.value),
            lsl=batch.columns["lsl"],
            usl=batch.columns["usl"],
            target=batch.columns["target"],
            lot=batch.columns["lot"],
            wafer=batch.columns["wafer"],
            detectors=said,
            sample=batch.sample,
        )


def _output(
    family: str, charts: tuple[bytes, ...], events: Iterable[AlertEvents], failures: Iterable[DetectorFailure]
) -> FamilyOutput:
    return FamilyOutput(family, charts[0] if charts else None, tuple(events), tuple(failures), charts[1:])


def _columns(judge: Judge, verdicts: Verdicts) -> DetectorColumns:
    return DetectorColumns(
        detector=judge.identity,
        statistics=judge.detector.statistics,
        rules=tuple(RuleMeta(*rule) for rule in judge.detector.rules),
        **verdicts._asdict(),
    )
