"""From verdicts, one per row, to alerts, one per incident.

Theory of operation
-------------------
An alert is opened by the first signal of (series, detector, rule), held while the rule goes on firing, and closed after
`clean_rows` judged rows without it. Rows that were not judged neither hold nor close. The book of open alerts is state columns
like a detector's, so that it is snapshot, restored and replayed by the same code; one njit loop advances it, and tells its
transitions (opened, closed) as columns: rules that are strict open and close alerts on several rows in a hundred.

`alert_id` is a hash of detector identity, topic, partition, series, rule and opening offset: a replay gives the same ids. One
record may have many samples, and so more than one incident: where the opening row is not its record's first sample, the sample's
number is hashed too. The book keeps both as one number, the *place*, which is the offset itself for a first sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from models.detector import Column, Detector, Rule, SeriesBatch, Verdicts
from models.kernel import kernel

CLEAN_ROWS = 20  # judged rows without the rule after which its alert closes
RULES_MAX = 32  # bits of Verdicts.signal
_OPENED, _CLOSED, _HELD = 1, 0, -1
_OFFSET_BITS = 48  # of a place: 280 trillion records of a partition; the sample's number stands above them
_OFFSET = (1 << _OFFSET_BITS) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """Alerts that were opened or closed, in row order; m of them. Two are equal if they are so bit for bit."""

    opened: np.ndarray  # (m,) bool; False: closed
    at: np.ndarray  # (m,) int64, row of the batch where it happened
    series: np.ndarray  # (m,) int64
    rule: np.ndarray  # (m,) int64
    rows: np.ndarray  # (m,) int64, signalling rows so far
    when: np.ndarray  # (m, 4) int64: place and time of the row that opened it, and of the last signalling row
    numbers: np.ndarray  # (m, 5) float64, of the opening row: value, statistic, centre, lcl, ucl

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self.at)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transitions) and self._bytes() == other._bytes()

    def some(self, wanted: np.ndarray) -> Transitions:
        """Return those of `wanted`, (m,) bool, in their order."""
        return Transitions(*(getattr(self, each.name)[wanted] for each in fields(self)))

    def _bytes(self) -> list[bytes]:
        return [getattr(self, each.name).tobytes() for each in fields(self)]

    @property
    def opened_offset(self) -> np.ndarray:
        """(m,) int64, offset of the record that opened it."""
        return self.when[:, 0] & _OFFSET

    @property
    def opened_sample(self) -> np.ndarray:
        """(m,) int64, which sample of that record did."""
        return self.when[:, 0] >> _OFFSET_BITS

    @property
    def last_offset(self) -> np.ndarray:
        """(m,) int64, offset of the last signalling row."""
        return self.when[:, 2] & _OFFSET


def _transitions(parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Transitions:
    out, when, numbers = (np.concatenate(each) for each in zip(*parts, strict=True))
    kind, at, series, rule, rows = out.T
    return Transitions(kind == _OPENED, at, series, rule, rows, when, numbers)


def alert_columns(rules: int) -> dict[str, Column]:
    """Declare the alert book's state columns for a detector with `rules` rules."""
    return {
        "open": Column("u4"),  # a bit per rule
        "clean": Column("i4", (rules,)),  # judged rows since the rule last fired
        "rows": Column("i4", (rules,)),  # rows on which it fired
        "when": Column("i8", (rules, 4)),  # place and time of the opening row, and of the last one
        "numbers": Column("f8", (rules, 5)),  # of the opening row: value, statistic, centre, lcl, ucl
    }


def alert_id(
    detector: str, topic: str, partition: int, series: str, rule: str, opened_offset: int, opened_sample: int = 0
) -> str:
    """Return the deterministic id of an alert: 32 hexadecimal digits."""
    place = f"{opened_offset}.{opened_sample}" if opened_sample else str(opened_offset)
    words = "\x1f".join((detector, topic, str(partition), series, rule, place))
    return hashlib.blake2b(words.encode(), digest_size=16).hexdigest()


def places(offset: np.ndarray, sample: np.ndarray | None) -> np.ndarray:
    """Return (n,) int64, offset and sample of each row as one number; sample None: all are the first.

    >>> places(np.array([7, 8, 8]), np.array([0, 0, 1])).tolist() == [7, 8, 8 + 2**48]
    True
    """
    if sample is None:
        return offset
    place: np.ndarray = offset | sample.astype(np.int64) << _OFFSET_BITS
    place.setflags(write=False)
    return place


@kernel
def _blank(clean: np.ndarray, rows: np.ndarray, when: np.ndarray, numbers: np.ndarray, s: int, r: int) -> None:
    """Let a closed alert leave nothing behind: the row is as new then, and takes no place in a page."""
    clean[s, r] = rows[s, r] = 0
    when[s, r] = 0
    numbers[s, r] = 0.0


@kernel
def _note(
    when: np.ndarray,
    numbers: np.ndarray,
    s: int,
    r: int,
    offset: int,
    time: int,
    value: float,
    statistic: float,
    centre: float,
    lcl: float,
    ucl: float,
) -> None:
    """Note the row that opens an alert."""
    when[s, r, 0] = offset
    when[s, r, 1] = time
    numbers[s, r, 0] = value
    numbers[s, r, 1] = statistic
    numbers[s, r, 2] = centre
    numbers[s, r, 3] = lcl
    numbers[s, r, 4] = ucl


@kernel
def _hold(clean: np.ndarray, rows: np.ndarray, when: np.ndarray, s: int, r: int, offset: int, time: int) -> None:
    """Count a row on which the rule of an open alert fired."""
    clean[s, r] = 0
    rows[s, r] += 1
    when[s, r, 2] = offset
    when[s, r, 3] = time


@kernel
def _tell(out: np.ndarray, at: int, kind: int, i: int, s: int, r: int, rows: int) -> None:
    """Tell a transition, in row `at`."""
    out[at, 0] = kind
    out[at, 1] = i
    out[at, 2] = s
    out[at, 3] = r
    out[at, 4] = rows


@kernel
def _advance(
    first: int,
    row: np.ndarray,
    offset: np.ndarray,
    time: np.ndarray,
    value: np.ndarray,
    statistic: np.ndarray,
    centre: np.ndarray,
    lcl: np.ndarray,
    ucl: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
    judged_statistic: np.ndarray,
    clean_rows: int,
    book_open: np.ndarray,
    book_clean: np.ndarray,
    book_rows: np.ndarray,
    book_when: np.ndarray,
    book_numbers: np.ndarray,
    out: np.ndarray,
    out_when: np.ndarray,
    out_numbers: np.ndarray,
) -> tuple[int, int]:
    """Advance the book from batch row `first`; stop early when `out` may not hold another row. Return (next row, transitions)."""
    rules = judged_statistic.shape[0]
    found = 0
    i = first
    while i < row.shape[0] and found + rules <= out.shape[0]:
        s = row[i]
        fired = np.int64(signal[i])
        opened = np.int64(book_open[s])
        if valid[i] and (fired | opened) != 0:
            for r in range(rules):
                bit = np.int64(1) << r
                kind = _HELD
                if fired & bit:
                    if not opened & bit:
                        opened |= bit
                        kind = _OPENED
                        q = judged_statistic[r]
                        book_rows[s, r] = 0
                        _note(book_when, book_numbers, s, r, offset[i], time[i], value[i],
                              statistic[i, q], centre[i, q], lcl[i, q], ucl[i, q])  # fmt: skip
                    _hold(book_clean, book_rows, book_when, s, r, offset[i], time[i])
                elif opened & bit:
                    book_clean[s, r] += 1
                    if book_clean[s, r] >= clean_rows:
                        opened &= ~bit
                        kind = _CLOSED
                if kind != _HELD:
                    _tell(out, found, kind, i, s, r, book_rows[s, r])
                    out_when[found] = book_when[s, r]
                    out_numbers[found] = book_numbers[s, r]
                    found += 1
                if kind == _CLOSED:
                    _blank(book_clean, book_rows, book_when, book_numbers, s, r)
            book_open[s] = opened
        i += 1
    return i, found


def advance(
    book: Mapping[str, np.ndarray],
    rules: tuple[Rule, ...],
    batch: SeriesBatch,
    verdicts: Verdicts,
    clean_rows: int,
    sample: np.ndarray | None = None,
) -> Transitions:
    """Advance the book by one detector's verdicts of one batch, (n, q) each; return what opened and closed, in row order.

    sample: (n,) int32, which of its record each row is; None where every record is one row.
    """
    n = len(batch)
    if not rules or not n:
        return NONE
    judged_statistic = np.array([rule.statistic for rule in rules], np.int64)
    room = max(256, len(rules))
    place = places(batch.offset, sample)
    out, when, numbers = np.empty((room, 5), np.int64), np.empty((room, 4), np.int64), np.empty((room, 5))
    parts, first = [], 0
    while first < n:
        first, found = _advance(
            first, batch.row, place, batch.event_time_ms, batch.value,
            verdicts.statistic, verdicts.centre, verdicts.lcl, verdicts.ucl, verdicts.signal,
            verdicts.valid, judged_statistic, clean_rows,
            book["open"], book["clean"], book["rows"], book["when"], book["numbers"], out, when, numbers,
        )  # fmt: skip
        if found:
            parts.append((out[:found].copy(), when[:found].copy(), numbers[:found].copy()))
    return _transitions(parts) if parts else NONE


NONE = _transitions([(np.empty((0, 5), np.int64), np.empty((0, 4), np.int64), np.empty((0, 5)))])


def check_rules(detector: Detector) -> None:
    """Raise ValueError if the rules do not fit the bits of a signal or name a statistic that there is not."""
    if len(detector.rules) > RULES_MAX:
        raise ValueError(f"{detector.name}: {len(detector.rules)} rules; a signal has {RULES_MAX} bits")
    for rule in detector.rules:
        if not 0 <= rule.statistic < len(detector.statistics):
            raise ValueError(f"{detector.name}: rule {rule.name} judges statistic {rule.statistic}: there is none")
