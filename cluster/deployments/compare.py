"""Where two versions of a detector agree and differ, from the chart blocks and alerts that they wrote. Pure.

Theory of operation
-------------------
Both have judged the same input, cut into other steps. So rows are matched by partition, offset and sample, over the stretch that
both have judged, of the series that both are for. Of each row that both were asked about: are the statistics the same, bit for
bit, and if not, how far apart; did one signal and not the other. Alerts are matched by partition, series and the offset at which
they opened, whatever their rule.

Rules of this file: bounded. At most ROWS_MAX rows of each are held, the newest; EXAMPLES_MAX examples are told of each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from schemas.charts import ChartBlock, DetectorColumns

ROWS_MAX = 500_000  # of each version, over all partitions
EXAMPLES_MAX = 20
_SAMPLE_BITS = 14  # of a row's place; a record has fewer samples than that


class Opened(NamedTuple):
    """An alert that a version opened."""

    partition: int
    series: str
    offset: int
    rule: str


def _every(_: str) -> bool:
    return True


@dataclass
class Rows:
    """What one version said of rows, partition by partition."""

    label: str  # what its charts call it
    asked: Callable[[str], bool] = _every  # of which series rows are held
    statistics: tuple[str, ...] = ()
    detector: str = ""  # identity; where none is given, that of the first block
    count: int = 0
    dropped: int = 0  # older than what is held, or of another identity
    parts: dict[int, list[_Part]] = field(default_factory=dict)

    def add(self, block: ChartBlock, first: int, end: int) -> None:
        """Take the rows of a block from offset `first` on and before `end`, if the detector is in it."""
        said = block.detectors.get(self.label)
        if said is None:
            return
        ours = np.fromiter(map(self.asked, block.series_keys), np.bool_)
        within = (block.offset >= first) & (block.offset < end)
        at = np.flatnonzero(within & ours[block.series]) if len(within) else np.zeros(0, np.int64)
        if self.detector not in ("", said.detector):  # of another version of the same name
            self.dropped += len(block)
            return
        self.statistics, self.detector = said.statistics, said.detector
        part = _part(block, said, at)
        self.parts.setdefault(block.partition, []).append(part)
        self.count += len(part.place)
        while self.count > ROWS_MAX:
            oldest = self.parts[max(self.parts, key=lambda p: len(self.parts[p]))].pop(0)
            self.count -= len(oldest.place)
            self.dropped += len(oldest.place)

    def of(self, partition: int) -> _Part:
        """Return the rows of a partition in the order of their places, each once."""
        parts = self.parts.get(partition, [])
        if not parts:
            return _Part(*(np.zeros((0, 0) if name == "statistic" else 0) for name in _Part._fields))
        whole = _Part(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        _, at = np.unique(whole.place, return_index=True)
        return _Part(*(column[at] for column in whole))


class _Part(NamedTuple):
    place: np.ndarray  # (n,) int64: offset and sample
    series: np.ndarray  # (n,) object: keys
    value: np.ndarray  # (n,) float64
    statistic: np.ndarray  # (n, q) float64
    signals: np.ndarray  # (n,) bool
    valid: np.ndarray  # (n,) bool


def _part(block: ChartBlock, said: DetectorColumns, at: np.ndarray) -> _Part:
    sample = np.zeros(len(block), np.int64) if block.sample is None else block.sample.astype(np.int64)
    keys = np.array(list(block.series_keys) or [""], object)
    return _Part(
        ((block.offset << _SAMPLE_BITS) | sample)[at],
        keys[block.series[at]],
        block.value[at],
        said.statistic[at],
        (said.signal[at] != 0) & said.valid[at],
        said.valid[at],
    )


@dataclass
class Compared:
    """What came of a comparison."""

    rows: int = 0  # that both judged, or were asked about
    judged: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0, "both": 0})
    signals: dict[str, int] = field(default_factory=lambda: {"only_a": 0, "only_b": 0, "both": 0})
    signal_examples: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"only_a": [], "only_b": []})
    statistics: dict[str, dict[str, Any]] = field(default_factory=dict)
    alerts: dict[str, int] = field(default_factory=lambda: {"only_a": 0, "only_b": 0, "both": 0})
    alert_examples: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"only_a": [], "only_b": []})

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return dict(vars(self))


def compare(a: Rows, b: Rows, alerts_a: Iterable[Opened], alerts_b: Iterable[Opened]) -> Compared:
    """Compare what two versions said of the rows that both were asked about."""
    found = Compared()
    common = [name for name in a.statistics if name in b.statistics]
    found.statistics = {name: {"equal": 0, "different": 0, "max_abs_difference": 0.0, "at": None} for name in common}
    spans: dict[int, tuple[int, int]] = {}
    for partition in sorted(a.parts.keys() & b.parts.keys()):
        left, right = a.of(partition), b.of(partition)
        _, at_a, at_b = np.intersect1d(left.place, right.place, assume_unique=True, return_indices=True)
        left, right = _Part(*(column[at_a] for column in left)), _Part(*(column[at_b] for column in right))
        if not len(left.place):
            continue
        spans[partition] = int(left.place[0] >> _SAMPLE_BITS), int(left.place[-1] >> _SAMPLE_BITS)
        found.rows += len(left.place)
        for name, count in (("a", left.valid), ("b", right.valid), ("both", left.valid & right.valid)):
            found.judged[name] += int(count.sum())
        for name in common:
            _statistic(
                found.statistics[name], partition, left, right, a.statistics.index(name), b.statistics.index(name)
            )
        for name, which in (
            ("only_a", left.signals & ~right.signals),
            ("only_b", right.signals & ~left.signals),
            ("both", left.signals & right.signals),
        ):
            found.signals[name] += int(which.sum())
            if name in found.signal_examples:
                found.signal_examples[name] += [_row(partition, left, i) for i in np.flatnonzero(which)[:EXAMPLES_MAX]]
    for examples in found.signal_examples.values():
        del examples[EXAMPLES_MAX:]
    _alerts(found, spans, alerts_a, alerts_b)
    return found


def _statistic(found: dict[str, Any], partition: int, left: _Part, right: _Part, in_a: int, in_b: int) -> None:
    ours, theirs = left.statistic[:, in_a], right.statistic[:, in_b]
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    found["equal"] += int(same.sum())
    found["different"] += int((~same).sum())
    apart = np.abs(ours - theirs)
    apart[np.isnan(apart)] = 0.0
    if len(apart) and apart.max() > found["max_abs_difference"]:
        at = int(apart.argmax())
        found["max_abs_difference"] = float(apart[at])
        found["at"] = {**_row(partition, left, at), "a": float(ours[at]), "b": float(theirs[at])}


def _row(partition: int, part: _Part, i: int) -> dict[str, Any]:
    value = float(part.value[i])
    return {
        "partition": partition,
        "offset": int(part.place[i] >> _SAMPLE_BITS),
        "series": str(part.series[i]),
        "value": value if np.isfinite(value) else None,
    }


def _alerts(
    found: Compared, spans: Mapping[int, tuple[int, int]], alerts_a: Iterable[Opened], alerts_b: Iterable[Opened]
) -> None:
    def within(alerts: Iterable[Opened]) -> dict[tuple[int, str, int], Opened]:
        return {
            (each.partition, each.series, each.offset): each
            for each in alerts
            if each.partition in spans and spans[each.partition][0] <= each.offset <= spans[each.partition][1]
        }

    left, right = within(alerts_a), within(alerts_b)
    found.alerts["both"] = len(left.keys() & right.keys())
    for name, these, those in (("only_a", left, right), ("only_b", right, left)):
        only = sorted(these.keys() - those.keys())
        found.alerts[name] = len(only)
        found.alert_examples[name] = [these[key]._asdict() for key in only[:EXAMPLES_MAX]]


def compared_lines(said: Mapping[str, Any]) -> list[str]:
    """Return a comparison as a person reads it."""
    a, b = said["a"]["name"], said["b"]["name"]
    signals, alerts, judged = said["signals"], said["alerts"], said["judged"]
    lines = [
        f"{a} (a) and {b} (b): {said['rows']} rows that both were asked about; "
        f"judged {judged['a']} by a, {judged['b']} by b, {judged['both']} by both",
        *_statistic_lines(said["statistics"]),
        f"signals: {signals['both']} of both, {signals['only_a']} of a only, {signals['only_b']} of b only",
        f"alerts:  {alerts['both']} of both, {alerts['only_a']} of a only, {alerts['only_b']} of b only",
    ]
    if said["alerts_held_back"]:
        lines.append(f"         open transactions hold {said['alerts_held_back']} records of alerts back: ask again")
    for which in ("only_a", "only_b"):
        lines += [
            f"  {which[-1]} only: {each['series']} at {each['partition']}:{each['offset']} ({each['rule']})"
            for each in said["alert_examples"][which]
        ]
    for name in ("a", "b"):
        cost = said[name]
        lines.append(f"{cost['name']}: {_told(cost['us_per_row'])} µs a row, steps of {_told(cost['step_ms'])} ms")
    return lines


def _statistic_lines(statistics: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    if not statistics:
        return ["statistics: none has the same name in both"]
    return [
        f"statistic {name}: {each['equal']} equal, {each['different']} different, "
        f"{each['max_abs_difference']:.6g} apart at most"
        for name, each in statistics.items()
    ]


def _told(number: float | None) -> str:
    return "–" if number is None else f"{number:.3g}"
