"""What should have come out: a plain fold over the input as it stands in the log; and the comparison with what did.

It shares no code with the engine: dictionaries and loops. It is told two things by the pipeline: its settings, and at which
offset the pipeline says that it switched the fragile detector off (that depends on how the log was cut into steps; the oracle
checks that it is no later than the record that broke it, and no earlier than the step that it was in).
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from actors.engine.arrivals import Arrivals
from models.detector import identity
from schemas.charts import unpack
from tests.actors.engine.world import Above
from tests.simulation.broker import Broker, Entry, visible
from tests.simulation.line import ABOVE, CLEAN_ROWS, FRAGILE, INPUT, TOPICS, read

LIMIT = 10.0
RULES = ("above", "twice")
BREAKS = 666.0


class Row(NamedTuple):
    """What one detector says of one record."""

    series: str
    value: str  # repr, because nan is not nan
    signal: int
    valid: bool


class Alert(NamedTuple):
    """What identifies an alert record."""

    detector: str
    rule: str
    series: str
    state: str
    opened_offset: int
    opened_sample: int
    last_offset: int
    closed_offset: int | None
    rows: int


@dataclass
class Said:
    """All that was said of one partition."""

    rows: dict[tuple[int, int, str], list[Row]] = field(
        default_factory=dict
    )  # (offset, sample, detector) → each time it was said
    alerts: list[Alert] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)
    aside: list[tuple[int, str]] = field(default_factory=list)
    blocks: list[tuple[str, int, int]] = field(default_factory=list)  # family, first and next offset, in log order


class _Detector:
    """`Above`, with its alerts."""

    def __init__(self, detector: Above, said: Said) -> None:
        self.name, self.identity = detector.name, identity(detector)
        self._said = said
        self._run: dict[str, int] = {}
        self._open: dict[tuple[str, str], list[int]] = {}  # (series, rule) → opened, its sample, last, rows, clean

    def judge(self, offset: int, sample: int, series: str, value: float) -> None:
        if math.isnan(value):
            self._said.rows[offset, sample, self.name] = [Row(series, repr(value), 0, False)]
            return
        run = self._run[series] = self._run.get(series, 0) + 1 if value > LIMIT else 0
        fired = {"above": run > 0, "twice": run > 1}
        signal = sum(1 << bit for bit, rule in enumerate(RULES) if fired[rule])
        self._said.rows[offset, sample, self.name] = [Row(series, repr(value), signal, True)]
        for rule in RULES:
            self._alert(offset, sample, series, rule, fired[rule])

    def _alert(self, offset: int, sample: int, series: str, rule: str, fired: bool) -> None:
        known = self._open.get((series, rule))
        if fired and known is None:
            self._open[series, rule] = [offset, sample, offset, 1, 0]
            self._said.alerts.append(Alert(self.identity, rule, series, "OPEN", offset, sample, offset, None, 1))
        elif fired and known is not None:
            known[2:] = [offset, known[3] + 1, 0]
        elif known is not None:
            known[4] += 1
            if known[4] == CLEAN_ROWS:
                *opened, last, rows, _ = self._open.pop((series, rule))
                self._said.alerts.append(Alert(self.identity, rule, series, "CLOSED", *opened, last, offset, rows))


def expected(entries: list[Entry], arrivals: Arrivals, fragile_off_at: int | None) -> Said:
    """Fold one partition of the input."""
    said = Said()
    above, fragile = _Detector(ABOVE, said), _Detector(FRAGILE, said)
    ids: deque[int] = deque(maxlen=arrivals.dedupe_window or 0)
    watermark: int | None = None
    off = False
    for entry in entries:
        if not off and fragile_off_at is not None and entry.offset >= fragile_off_at:
            off = True
            said.alerts.append(
                Alert(fragile.identity, "detector_error", "", "OPEN", fragile_off_at, 0, fragile_off_at, None, 0)
            )
        try:
            series, word, ident, time = (entry.value or b"").decode().split()
            values, first = [float(each) for each in word.split(",")], int(time)
        except ValueError:
            said.dead.append(entry.offset)
            continue
        if int(ident) in ids:
            said.aside.append((entry.offset, "duplicate"))
            continue
        lateness = arrivals.allowed_lateness_ms
        if lateness is not None and watermark is not None and first < watermark - lateness:
            said.aside.append((entry.offset, "late"))
            continue
        watermark = max(watermark or 0, first + len(values) - 1)
        ids.append(int(ident))
        assert off or BREAKS not in values, (
            f"offset {entry.offset} breaks the fragile detector; it is off at {fragile_off_at}"
        )
        for sample, value in enumerate(values):
            above.judge(entry.offset, sample, series, value)
            if not off:
                fragile.judge(entry.offset, sample, series, value)
    return said


def found(broker: Broker, partitions: int) -> list[Said]:
    """Read what the pipeline wrote, read_committed."""
    said = [Said() for _ in range(partitions)]
    for partition, entries in enumerate(visible(broker.topics[TOPICS.charts])):
        for entry in entries:
            block = unpack(entry.value or b"")
            said[partition].blocks.append((block.family, block.first_offset, block.next_offset))
            for detector, columns in block.detectors.items():
                samples = np.zeros(len(block), np.int32) if block.sample is None else block.sample
                for i, place in enumerate(zip(block.offset.tolist(), samples.tolist(), strict=True)):
                    name, value = block.series_keys[block.series[i]], repr(float(block.value[i]))
                    row = Row(name, value, int(columns.signal[i]), bool(columns.valid[i]))
                    said[partition].rows.setdefault((*place, detector), []).append(row)
    for entries in visible(broker.topics[TOPICS.alerts]):
        for entry in entries:
            event = read(entry.value or b"")
            said[event["partition"]].alerts.append(Alert(**{name: event[name] for name in Alert._fields}))
    for topic in (TOPICS.dead_letters, TOPICS.late):
        for entries in visible(broker.topics[topic]):
            for entry in entries:
                letter = read(entry.value or b"")
                into = said[letter["partition"]]
                if topic == TOPICS.late:
                    into.aside.append((letter["offset"], letter["reason"]))
                else:
                    into.dead.append(letter["offset"])
    return said


class Difference(NamedTuple):
    """One thing in which a partition's outputs are not what they should be."""

    text: str
    only_more: bool = False  # all is there that should be, and something else too


def chains(blocks: list[tuple[str, int, int]]) -> list[str]:
    """Say where the chart blocks of a partition do not follow each other."""
    said: list[str] = []
    ends: dict[str, int] = {}
    for family, first, after in blocks:
        if first != ends.get(family, 0):
            said.append(f"{family}: a block from {first} stands after one to {ends.get(family, 0)}")
        ends[family] = after
    return said


def position(broker: Broker, partition: int) -> dict[str, Any] | None:
    """Return the newest position of a partition."""
    values = [entry.value for entry in visible(broker.topics[TOPICS.state])[partition] if entry.key == b"position"]
    return read(values[-1] or b"") if values else None


def told(came: Iterable[Said]) -> Counter[str]:
    """Count what was told of rows that were not simply judged, and of detectors."""
    counts = Counter[str]()
    for said in came:
        counts["dead letter"] += len(said.dead)
        counts["detector failed"] += sum(alert.rule == "detector_error" for alert in said.alerts)
        counts.update(f"set aside: {reason}" for _, reason in said.aside)
    return counts


def differences(broker: Broker, group: str, arrivals: Arrivals, came: Sequence[Said]) -> dict[int, list[Difference]]:
    """Compare with what came, by partition; return for each partition what is wrong with it."""
    inputs, partitions = visible(broker.topics[INPUT]), range(len(came))
    return {p: wrong for p in partitions if (wrong := _wrong(broker, group, arrivals, p, inputs[p], came[p]))}


def _wrong(
    broker: Broker, group: str, arrivals: Arrivals, partition: int, entries: list[Entry], came: Said
) -> list[Difference]:
    stands = position(broker, partition)
    committed = broker.offsets.get((group, (INPUT, partition)))
    end = broker.topics[INPUT][partition].end
    if stands is None:
        return [Difference(f"there is no position; committed is {committed}, the input ends at {end}")]
    wrong = []
    if not stands["next_offset"] == committed == end:
        said = f"position {stands['next_offset']}, committed offset {committed}, end of the input {end}"
        wrong.append(Difference(said))
    off_at = min((entry["at_offset"] for entry in stands["applied"]), default=None)
    try:
        should = expected(entries, arrivals, off_at)
    except AssertionError as error:
        return [*wrong, Difference(str(error))]
    for place in sorted(should.rows.keys() | came.rows.keys()):
        want, got = should.rows.get(place, []), came.rows.get(place, [])
        if want != got:
            wrong.append(Difference(f"{place}: should be {want}, is {got}"))
    for what in ("alerts", "dead", "aside"):
        want, got = sorted(getattr(should, what), key=repr), sorted(getattr(came, what), key=repr)
        if want != got:
            missing = _minus(want, got)
            wrong.append(Difference(f"{what}: missing {missing}, too many {_minus(got, want)}", not missing))
    return wrong + [Difference(said) for said in chains(came.blocks)]


def _minus(some: list[Any], others: list[Any]) -> list[Any]:
    left = list(some)
    for other in others:
        if other in left:
            left.remove(other)
    return left
