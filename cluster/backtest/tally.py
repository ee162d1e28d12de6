"""Counting what a detector says of a partition, step by step, into numbers that add up over partitions.

A `Tally` is fed a partition's steps in log order; `counts` gives its `Counts`, and `merged` those of all partitions. What is
measured is said in docs/backtest.md; the slow, obvious form of it is tests/naive/backtest.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from actors.backtest import Alerts, Said
from cluster.backtest.labels import END, Label, Matching
from models.detector import Detector, Rule, Verdicts
from models.incidents import Incidents, Rows
from schemas.charts import ChartBlock
from schemas.texts import Texts

WIDTHS = np.round(np.geomspace(0.4, 4.0, 21), 3)  # of limits, times as wide as they are; 1.0 is not among them
WIDTHS = np.unique(np.append(WIDTHS, 1.0))
DAY_MS = 86_400_000
SERIES_TOLD = 50  # with the most alerts
EXAMPLES_OF_RULE = 3
FAILURES_TOLD = 20
DAYS_MAX = 40_000  # of event time with rows of their own: more are wrong clocks


class Example(NamedTuple):
    """An alert to be shown."""

    strength: float  # how far out its opening row is, in widths of the limit
    rule: str
    series: str
    partition: int
    offset: int
    event_time_ms: int
    alert_id: str


@dataclass(frozen=True)
class Failure:
    """A detector that raised."""

    partition: int
    offset: int
    detail: str  # traceback


@dataclass
class Found:
    """What came of the labels; arrays by label, (l,) each."""

    rows: np.ndarray  # judged rows of it
    begin_ms: np.ndarray  # event time of the first of them; END: there is none
    found_ms: np.ndarray  # event time of the first signalling one in log order; END: none signals
    before: np.ndarray  # judged rows before that one in its partition
    out: np.ndarray  # float64, how far its farthest judged row is out

    @classmethod
    def nothing(cls, labels: int) -> Found:
        """Return what has come of labels before any row."""
        many = np.full(labels, END, np.int64)
        return cls(np.zeros(labels, np.int64), many, many.copy(), np.zeros(labels, np.int64), np.full(labels, -np.inf))

    def with_(self, other: Found) -> Found:
        """Return what came of the labels in both."""
        sooner = other.found_ms < self.found_ms
        return Found(
            self.rows + other.rows,
            np.minimum(self.begin_ms, other.begin_ms),
            np.minimum(self.found_ms, other.found_ms),
            np.where(sooner, other.before, self.before),
            np.maximum(self.out, other.out),
        )


@dataclass
class Counts:
    """What a stretch has brought."""

    records: int = 0  # between the offsets that were folded and told
    rows: int = 0
    judged: int = 0
    signalled: int = 0
    labelled: int = 0  # judged rows inside of a label
    series: int = 0
    first_ms: int = int(END)  # event time of judged rows
    last_ms: int = -int(END)
    by_rule: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # rows on which it fires
    opened: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # incidents by rule, then by width
    false: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # those of them outside of every label
    days: dict[int, tuple[int, int]] = field(default_factory=dict)  # day since 1970 → judged rows, alerts
    alerts_of: list[tuple[str, int]] = field(default_factory=list)  # series with the most alerts
    letters: Counter[str] = field(default_factory=Counter)  # records that could not be read, by reason
    aside: int = 0
    failures: list[Failure] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    found: Found = field(default_factory=lambda: Found.nothing(0))


class Tally:
    """The counts of one partition. `label`: what charts call the detector that is measured."""

    def __init__(
        self, detector: Detector, label: str, partition: int, labels: Sequence[Label], clean_rows: int
    ) -> None:
        self._rules: tuple[Rule, ...] = tuple(Rule(*rule) for rule in detector.rules)
        self._label = label
        self._partition = partition
        self._matching = Matching(labels)
        self._incidents = Incidents(len(self._rules), WIDTHS, clean_rows)
        self._alerts = np.zeros(0, np.int64)  # (S,) opened
        self._keys: Sequence[str] = ()
        self._codes: dict[str, int] = {}  # of series by key
        self._counts = Counts(by_rule=np.zeros(len(self._rules), np.int64), found=Found.nothing(len(labels)))
        self._seen = np.zeros(0, np.bool_)  # (S,) series with a row

    def take(self, said: Said) -> None:
        """Count a step."""
        counts, self._keys = self._counts, said.series
        counts.letters.update(said.letters)
        counts.aside += said.aside
        for failure in said.failures[: FAILURES_TOLD - len(counts.failures)]:
            counts.failures.append(Failure(failure.partition, failure.at_offset, failure.detail))
        for block in said.blocks:
            if len(block):
                self._rows(said, block)
        for alerts in said.alerts:
            self._opened(alerts, said)

    def counts(self) -> Counts:
        """Return the counts of all that was taken."""
        counts = self._counts
        counts.opened, counts.false = self._incidents.opened.copy(), self._incidents.false()
        counts.series = int(self._seen.sum())
        most = np.argsort(-self._alerts, kind="stable")[:SERIES_TOLD]
        counts.alerts_of = [(self._keys[code], int(self._alerts[code])) for code in most.tolist() if self._alerts[code]]
        return counts

    def _rows(self, said: Said, block: ChartBlock) -> None:
        """Count a step's rows. A block has them in the order of the batch, which has the partition's own codes."""
        batch, counts = said.batch, self._counts
        counts.rows += len(block)
        self._seen = _with_room(self._seen, len(said.series))
        self._seen[batch.series] = True
        columns = block.detectors.get(self._label)
        if columns is None:
            return
        valid, signal, at = columns.valid, columns.signal, batch.event_time_ms
        inside = np.zeros(len(batch), np.bool_)
        matched = list(self._matching.rows(batch, said.series))
        for _, rows in matched:
            inside[rows] = True
        verdicts = Verdicts(columns.statistic, columns.centre, columns.lcl, columns.ucl, signal, valid)
        out = self._incidents.take(Rows(batch.series, verdicts, inside))
        judged = np.flatnonzero(valid)
        if len(judged):
            counts.judged += len(judged)
            counts.signalled += int(np.count_nonzero(signal[judged]))
            counts.labelled += int(np.count_nonzero(inside[judged]))
            counts.first_ms = min(counts.first_ms, int(at[judged].min()))
            counts.last_ms = max(counts.last_ms, int(at[judged].max()))
            self._days(at[judged], 0)
            fired = signal[judged[signal[judged] != 0]]
            counts.by_rule += [int(np.count_nonzero(fired >> r & 1)) for r in range(len(self._rules))]
        for number, rows in matched:
            self._label_rows(number, rows[valid[rows]], at, signal, out)

    def _label_rows(self, number: int, rows: np.ndarray, at: np.ndarray, signal: np.ndarray, out: np.ndarray) -> None:
        """Note judged rows of a label, (m,) in log order."""
        found = self._counts.found
        if not len(rows):
            return
        found.begin_ms[number] = min(int(found.begin_ms[number]), int(at[rows].min()))
        found.out[number] = max(float(found.out[number]), float(out[rows].max()))
        if found.found_ms[number] == END:
            signals = np.flatnonzero(signal[rows])
            found.before[number] += signals[0] if len(signals) else len(rows)
            if len(signals):
                found.found_ms[number] = at[rows[signals[0]]]
        found.rows[number] += len(rows)

    def _days(self, at: np.ndarray, which: int) -> None:
        """Add to the days of these event times: judged rows (0), or alerts (1)."""
        days, many = np.unique(at // DAY_MS, return_counts=True)
        known = self._counts.days
        for day, n in zip(days.tolist(), many.tolist(), strict=True):
            if day in known or len(known) < DAYS_MAX:
                rows, alerts = known.get(day, (0, 0))
                known[day] = (rows + n, alerts) if which == 0 else (rows, alerts + n)

    def _opened(self, alerts: Alerts, said: Said) -> None:
        """Count alerts that opened."""
        columns = alerts.columns
        opened = np.flatnonzero(_codes(columns["state"]) == 1)
        if not len(opened):
            return
        texts = columns["series"]
        assert isinstance(texts, Texts)  # noqa: S101 - for mypy
        self._alerts = _with_room(self._alerts, len(said.series))
        series = texts[opened]
        known = self._codes
        for code in range(len(known), len(said.series)):
            known[said.series[code]] = code
        np.add.at(self._alerts, [known[key] for key in series.tolist()], 1)
        self._days(_column(columns, "opened_time")[opened], 1)
        self._show(columns, opened)

    def _show(self, columns: Mapping[str, object], opened: np.ndarray) -> None:
        """Keep those that are farthest out as examples."""
        numbers = [_column(columns, name)[opened] for name in ("statistic", "centre", "lcl", "ucl")]
        strength = _strength(*numbers)
        rule = _codes(columns["rule"])[opened]
        for r in np.unique(rule).tolist():
            of = np.flatnonzero(rule == r)
            name = self._rules[r].name
            kept = [example for example in self._counts.examples if example.rule == name]
            others = [example for example in self._counts.examples if example.rule != name]
            least = kept[-1].strength if len(kept) == EXAMPLES_OF_RULE else -np.inf
            for i in of[np.argsort(-strength[of], kind="stable")[:EXAMPLES_OF_RULE]].tolist():
                if strength[i] > least or len(kept) < EXAMPLES_OF_RULE:
                    kept.append(self._example(columns, int(opened[i]), float(strength[i]), name))
            self._counts.examples = others + best(kept)

    def _example(self, columns: Mapping[str, object], i: int, strength: float, rule: str) -> Example:
        series, ident = columns["series"], columns["alert_id"]
        assert isinstance(series, Texts)  # noqa: S101 - for mypy
        assert isinstance(ident, Texts)  # noqa: S101
        offset, at = int(_column(columns, "opened_offset")[i]), int(_column(columns, "opened_time")[i])
        return Example(strength, rule, series[i], self._partition, offset, at, ident[i])


def best(examples: Sequence[Example]) -> list[Example]:
    """Return the examples that are shown of one rule, the farthest out first."""
    return sorted(examples, key=lambda x: (-x.strength, x.partition, x.offset))[:EXAMPLES_OF_RULE]


def merged(every: Sequence[Counts]) -> Counts:
    """Return the counts of all partitions together; there is one at least."""
    whole = Counts()
    for name in ("records", "rows", "judged", "signalled", "labelled", "series", "aside"):
        setattr(whole, name, sum(getattr(counts, name) for counts in every))
    for name in ("by_rule", "opened", "false"):
        setattr(whole, name, np.sum([getattr(counts, name) for counts in every], axis=0))
    whole.first_ms = min(counts.first_ms for counts in every)
    whole.last_ms = max(counts.last_ms for counts in every)
    whole.found = every[0].found
    for counts in every:
        whole.letters.update(counts.letters)
        whole.failures += counts.failures
        for day, (rows, alerts) in counts.days.items():
            before = whole.days.get(day, (0, 0))
            whole.days[day] = before[0] + rows, before[1] + alerts
    for counts in every[1:]:
        whole.found = whole.found.with_(counts.found)
    whole.alerts_of = sorted((x for c in every for x in c.alerts_of), key=lambda x: (-x[1], x[0]))[:SERIES_TOLD]
    rules = {example.rule for counts in every for example in counts.examples}
    for rule in sorted(rules):
        whole.examples += best([x for counts in every for x in counts.examples if x.rule == rule])
    return whole


def _codes(column: object) -> np.ndarray:
    assert isinstance(column, Texts)  # noqa: S101 - for mypy
    return column.codes


def _column(columns: Mapping[str, object], name: str) -> np.ndarray:
    return np.asarray(columns[name])


def _strength(statistic: np.ndarray, centre: np.ndarray, lcl: np.ndarray, ucl: np.ndarray) -> np.ndarray:
    """Return (m,) float64, how far out each is; 0 where its chart has no limits."""
    base = np.where(np.isnan(centre), 0.0, centre)
    with np.errstate(all="ignore"):
        out = np.where(statistic >= base, (statistic - base) / (ucl - base), (base - statistic) / (base - lcl))
    found: np.ndarray = np.nan_to_num(out, nan=0.0, posinf=np.finfo(np.float64).max, neginf=0.0)
    return found


def _with_room(array: np.ndarray, size: int) -> np.ndarray:
    """Return the array with so many rows at least, new ones 0."""
    more = size - len(array)
    return array if more <= 0 else np.concatenate([array, np.zeros(max(more, len(array)), array.dtype)])
