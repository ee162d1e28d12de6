"""What is known of a stretch: labels from a file, and which rows each of them is about.

A label has a subject (a pattern of series keys, a lot, a wafer; what is left empty may be anything), an interval of event time
(`from` belongs to it, `to` does not; what is left empty is open), and a kind in the words of whoever labelled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from cluster.operations.bounds import when_ms
from cluster.operations.errors import Invalid, shown
from schemas.batch import MicroBatch
from schemas.texts import Texts

LABELS_MAX = 100_000
COLUMNS = ("series", "lot", "wafer", "from", "to", "kind")
BEGINNING, END = np.iinfo(np.int64).min, np.iinfo(np.int64).max
ANY = "*"


@dataclass(frozen=True)
class Label:
    """One thing that is to be found."""

    series: str = ANY  # a pattern with * and ?
    lot: str = ""  # empty: any
    wafer: str = ""
    from_ms: int = int(BEGINNING)  # event time
    to_ms: int = int(END)
    kind: str = ""


def read_labels(path: Path) -> tuple[Label, ...]:
    """Read labels from CSV or Parquet. Raises Invalid that names the file, the row and what is wrong with it."""
    frame = _frame(path)
    unknown = [str(name) for name in frame.columns if name not in COLUMNS]
    if unknown:
        raise Invalid(f"{path}: no column {shown(', '.join(unknown))!r} is known; there may be {', '.join(COLUMNS)}")
    if not set(frame.columns) - {"kind"}:
        raise Invalid(f"{path}: labels need one of the columns {', '.join(COLUMNS[:-1])} at least")
    if not 0 < len(frame) <= LABELS_MAX:
        raise Invalid(f"{path}: {len(frame)} labels; there must be 1 to {LABELS_MAX}")
    found = []
    for number, row in enumerate(frame.to_dict("records"), 1):
        try:
            found.append(_label({str(name): value for name, value in row.items()}))
        except Invalid as error:
            raise Invalid(f"{path}: label {number}: {error}") from None
    return tuple(found)


def _frame(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError, pa.ArrowException) as error:  # pandas' own errors are ValueErrors
        raise Invalid(f"{path}: labels cannot be read: {' '.join(str(error).split())[:200]}") from error


def _label(row: dict[str, Any]) -> Label:
    text = {name: _text(row.get(name)) for name in ("series", "lot", "wafer", "kind")}
    begin, end = _ms(row.get("from")), _ms(row.get("to"))
    if begin is None and end is None and not (text["series"] or text["lot"] or text["wafer"]):
        raise Invalid("it names neither a series, a lot, a wafer nor a time")
    label = Label(
        text["series"] or ANY,
        text["lot"],
        text["wafer"],
        int(BEGINNING) if begin is None else begin,
        int(END) if end is None else end,
        text["kind"],
    )
    if label.to_ms <= label.from_ms:
        raise Invalid("`to` is not after `from`")
    return label


def _absent(value: object) -> bool:
    return value is None or value == "" or bool(pd.isna(value))  # type: ignore[call-overload]  # of one value


def _text(value: object) -> str:
    return "" if _absent(value) else str(value).strip()


def _ms(value: object) -> int | None:
    if _absent(value):
        return None
    if isinstance(value, datetime):  # of pandas, too
        return when_ms(value.isoformat())
    text = str(value).strip()
    return when_ms(int(text) if text.removeprefix("-").isdigit() else text)


class Matching:
    """Which rows of a partition belong to which label; fed step by step."""

    def __init__(self, labels: Sequence[Label]) -> None:
        self.labels = labels
        self._from = np.array([label.from_ms for label in labels], np.int64)
        self._to = np.array([label.to_ms for label in labels], np.int64)
        self._by_wafer, self._by_lot = _by(labels, "wafer"), _by(labels, "lot")
        free = [n for n, label in enumerate(labels) if not label.wafer and not label.lot]
        self._free = np.array(free, np.int64)
        self._series: dict[str, np.ndarray] = {pattern: np.zeros(0, np.bool_) for pattern in {x.series for x in labels}}
        self._series.pop(ANY, None)

    def rows(self, batch: MicroBatch, keys: Sequence[str]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the labels that have rows in a step, and which, (m,) int64 ascending; keys: of all series so far, by code."""
        if not len(batch):
            return
        at = batch.event_time_ms
        first, last = int(at.min()), int(at.max())
        lot, wafer = batch.columns["lot"], batch.columns["wafer"]
        for number in self._candidates(_words(lot), _words(wafer), first, last):
            label = self.labels[number]
            here = (at >= label.from_ms) & (at < label.to_ms)
            for text, column in ((label.lot, lot), (label.wafer, wafer)):
                if text:
                    here &= _is(column, text)
            if label.series != ANY:
                here &= self._of(label.series, keys)[batch.series]
            rows = np.flatnonzero(here)
            if len(rows):
                yield number, rows

    def _candidates(self, lots: set[str], wafers: set[str], first: int, last: int) -> list[int]:
        some = [self._free]
        some += [self._by_wafer[wafer] for wafer in wafers if wafer in self._by_wafer]
        some += [self._by_lot[lot] for lot in lots if lot in self._by_lot]
        numbers = np.unique(np.concatenate(some))
        near = (self._from[numbers] <= last) & (self._to[numbers] > first)
        found: list[int] = numbers[near].tolist()
        return found

    def _of(self, pattern: str, keys: Sequence[str]) -> np.ndarray:
        """Return (≥ S,) bool: which series a pattern is about."""
        known = self._series[pattern]
        if len(known) < len(keys):
            more = [fnmatchcase(key, pattern) for key in keys[len(known) :]]
            known = self._series[pattern] = np.concatenate([known, np.array(more, np.bool_)])
        return known


def _by(labels: Sequence[Label], what: str) -> dict[str, np.ndarray]:
    """Return the numbers of labels by their wafer, or by the lot of those without a wafer."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for number, label in enumerate(labels):
        text = label.wafer if what == "wafer" else "" if label.wafer else label.lot
        if text:
            found[text].append(number)
    return {text: np.array(numbers, np.int64) for text, numbers in found.items()}


def _words(texts: Texts) -> set[str]:
    used = np.flatnonzero(np.bincount(texts.codes, minlength=1))
    return {texts.words[code] for code in used.tolist()} if len(texts) else set()


def _is(texts: Texts, wanted: str) -> np.ndarray:
    """Return (n,) bool: which rows have this text."""
    same = np.fromiter((word == wanted for word in texts.words), np.bool_, len(texts.words))
    found: np.ndarray = same[texts.codes]
    return found
