"""What travels inside the process: records as they came, columns decoded from them, and rows that could not be read.

Theory of operation
-------------------
A `RawBatch` is what a consumer fetched from one partition. A decoder turns it into a `MicroBatch`: columns, row i of every
column from the same record, in offset order. A record that cannot be read becomes a `DeadLetter` in `rejects`; nothing raises
because of what a record contains. Arrays are read-only: Ray hands them out read-only, so nobody may rely on writing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

SERIES_MAX = 1_000_000  # series per partition; the record that would open one more is a dead letter
TEXT_BYTES_MAX = 256  # of one text that is kept: a part of the series key, lot, wafer, subgroup; in UTF-8
SERIES_KEY_BYTES_MAX = 768  # of a series key: a page of the series dictionary fits in a record of Kafka's default size


class Reason(StrEnum):
    """Why a record is a dead letter. The value is what stands in the dead-letter record."""

    NO_VALUE = "no_value"  # the record has a null value (a tombstone)
    NOT_AVRO = "not_avro"  # no Confluent header: magic byte or length
    UNKNOWN_SCHEMA = "unknown_schema"  # the registry does not know the schema id
    INCOMPATIBLE_SCHEMA = "incompatible_schema"  # the writer's schema cannot be read as ours
    MALFORMED = "malformed"  # truncated, or bytes that are not the schema's
    TRAILING_BYTES = "trailing_bytes"  # read whole, and bytes are left over
    NOT_FINITE = "not_finite"  # a value of +inf or -inf
    WRONG_SAMPLES = "wrong_samples"  # a record of samples has none, too many, or no time for them
    WRONG_CHARACTERISTICS = "wrong_characteristics"  # a vector has not the characteristics that its pipeline judges
    TOO_LONG = "too_long"  # a text of more than TEXT_BYTES_MAX, or a series key of more than SERIES_KEY_BYTES_MAX
    TOO_MANY_SERIES = "too_many_series"  # SERIES_MAX is reached
    DUPLICATE = "duplicate"  # its event id was folded not long ago: set aside, not dead (see actors/engine/gate.py)
    LATE = "late"  # its event time is too far behind the partition's watermark: set aside
    AHEAD = "ahead"  # its event time is too far ahead of its Kafka timestamp: a wrong clock; set aside
    PUBLISH_FAILED = "publish_failed"  # a publisher could not deliver it (see actors/producers)
    HANDLING_FAILED = "handling_failed"  # a plain consumer gave up on it (see actors/sinks)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record that could not be processed, with its coordinates and the reason."""

    topic: str
    partition: int
    offset: int  # -1: it never reached the topic (a publisher's dead letter)
    timestamp_ms: int  # Kafka timestamp of the record
    reason: Reason
    detail: str
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Records of one partition as fetched, in offset order. All sequences have length n."""

    topic: str
    partition: int
    offset: np.ndarray  # (n,) int64, strictly increasing
    timestamp_ms: np.ndarray  # (n,) int64, Kafka timestamp: the producer's clock
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    next_offset: int  # consumer position after this batch; not offset[-1] + 1: a transactional log has gaps

    def __len__(self) -> int:
        """Return the number of records, n."""
        return len(self.values)


def cut(raw: RawBatch, offsets: Iterable[int]) -> list[RawBatch]:
    """Split a batch before each of the given offsets; pieces cover the same positions and may be empty.

    >>> raw = RawBatch("t", 0, np.array([3, 4, 7]), np.zeros(3, np.int64), [None] * 3, [b"a", b"b", b"c"], 9)
    >>> [(list(piece.values), piece.next_offset) for piece in cut(raw, [4, 6])]
    [([b'a'], 4), ([b'b'], 6), ([b'c'], 9)]
    """
    pieces, start = [], 0
    for before in (*sorted(o for o in offsets if o < raw.next_offset), raw.next_offset):
        end = int(np.searchsorted(raw.offset, before))
        rows = slice(start, end)
        columns = raw.offset[rows], raw.timestamp_ms[rows], raw.keys[rows], raw.values[rows]
        pieces.append(RawBatch(raw.topic, raw.partition, *columns, before))
        start = end
    return pieces


def head(raw: RawBatch, records: int) -> RawBatch:
    """Return the first records of a batch, and its position after them.

    >>> raw = RawBatch("t", 0, np.array([3, 4, 7]), np.zeros(3, np.int64), [None] * 3, [b"a", b"b", b"c"], 9)
    >>> head(raw, 2).values, head(raw, 2).next_offset, head(raw, 3) is raw
    ([b'a', b'b'], 7, True)
    """
    return raw if records >= len(raw) else cut(raw, [int(raw.offset[records])])[0]


def after(raw: RawBatch, next_offset: int) -> RawBatch | None:
    """Return what of a batch comes at or after a position; None if the batch ends there.

    >>> raw = RawBatch("t", 0, np.array([3, 4, 7]), np.zeros(3, np.int64), [None] * 3, [b"a", b"b", b"c"], 9)
    >>> after(raw, 7).values, after(raw, 9)
    ([b'c'], None)
    """
    return cut(raw, [next_offset])[1] if next_offset < raw.next_offset else None


def take(raw: RawBatch, rows: np.ndarray) -> RawBatch:
    """Return some rows of a batch, in ascending order.

    >>> raw = RawBatch("t", 0, np.array([3, 4, 7]), np.zeros(3, np.int64), [None] * 3, [b"a", b"b", b"c"], 9)
    >>> take(raw, np.array([0, 2])).values
    [b'a', b'c']
    """
    which = rows.tolist()
    keys, values = [raw.keys[row] for row in which], [raw.values[row] for row in which]
    return RawBatch(raw.topic, raw.partition, raw.offset[rows], raw.timestamp_ms[rows], keys, values, raw.next_offset)


def joined(topic: str, partition: int, parts: Sequence[RawBatch], next_offset: int) -> RawBatch:
    """Return batches that follow each other as one that ends at `next_offset`; it is the inverse of `cut`.

    >>> raw = RawBatch("t", 0, np.array([3, 4, 7]), np.zeros(3, np.int64), [None] * 3, [b"a", b"b", b"c"], 9)
    >>> joined("t", 0, cut(raw, [4, 6]), 9).values, joined("t", 0, [], 9).next_offset
    ([b'a', b'b', b'c'], 9)
    """
    none = [np.zeros(0, np.int64)]
    return RawBatch(
        topic,
        partition,
        np.concatenate([part.offset for part in parts] or none),
        np.concatenate([part.timestamp_ms for part in parts] or none),
        [key for part in parts for key in part.keys],
        [value for part in parts for value in part.values],
        next_offset,
    )


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Columns of one partition between two offsets; row i of every column is the same measured value.

    A record is one row, or as many as it has samples: those stand together, share its offset, and are numbered from 0 in the
    column `sample`, which is there only where a record of the batch has several.
    """

    topic: str
    partition: int
    offset: np.ndarray  # (n,) int64, increasing from record to record
    next_offset: int
    event_time_ms: np.ndarray  # (n,) int64, UTC, from the payload
    published_ms: np.ndarray  # (n,) int64, Kafka timestamp: the producer's clock
    series: np.ndarray  # (n,) int32, code in the partition's SeriesDictionary
    value: np.ndarray  # (n,) float64, of vectors (n, p); NaN = the record says "missing"
    subgroup: np.ndarray  # (n,) int64, stable 63-bit hash of the subgroup's name; -1 = none given
    columns: Mapping[str, Any] = field(
        default_factory=dict
    )  # lsl, usl, target, sample_size float64; lot, wafer Texts; event_id int64 codes where asked for; sample int32
    rejects: tuple[DeadLetter, ...] = ()

    def __len__(self) -> int:
        """Return the number of decoded rows, n."""
        return len(self.offset)

    @property
    def sample(self) -> np.ndarray | None:
        """Return (n,) int32, which sample of its record each row is; None where every record is one row."""
        column: np.ndarray | None = self.columns.get("sample")
        return column

    @property
    def records(self) -> int:
        """Return how many records the rows are of."""
        return len(self) if self.sample is None else len(first_rows(self.offset))


def first_rows(offset: np.ndarray) -> np.ndarray:
    """Return (m,) int64, the first row of each of m records; offset: (n,) of the rows.

    >>> first_rows(np.array([3, 4, 4, 4, 7])).tolist(), first_rows(np.array([], np.int64)).tolist()
    ([0, 1, 4], [])
    """
    return np.flatnonzero(np.diff(offset, prepend=offset[:1] - 1))


class SeriesDictionary:
    """Series key ↔ code of one partition. Codes are dense, given in order of first appearance, and never change.

    >>> series = SeriesDictionary()
    >>> series.code("E1|A|R|10|CD"), series.code("E2|A|R|10|CD"), series.code("E1|A|R|10|CD")
    (0, 1, 0)
    >>> series.keys
    ['E1|A|R|10|CD', 'E2|A|R|10|CD']
    """

    def __init__(self, keys: Iterable[str] = (), series_max: int = SERIES_MAX) -> None:
        self.keys: list[str] = list(keys)
        self.series_max = series_max
        self._codes = {key: code for code, key in enumerate(self.keys)}

    def __len__(self) -> int:
        """Return the number of series seen."""
        return len(self.keys)

    def code(self, key: str) -> int:
        """Return the code of `key`, giving it the next one if it is new; -1 if the dictionary is full."""
        code = self._codes.get(key)
        if code is None:
            code = len(self.keys)
            if code >= self.series_max:
                return -1
            self._codes[key] = code
            self.keys.append(key)
        return code


SERIES_KEY_PARTS = ("equipment", "chamber", "recipe", "operation", "characteristic")


def series_key(equipment: str, chamber: str, recipe: str, operation: str, characteristic: str) -> str:
    """Join the parts that name a series; the key of its Kafka records, so that one series is in one partition.

    `%` and `|` inside a part are percent-encoded, so that different parts never give the same key.

    >>> series_key("ETCH-07", "B", "POLY_V3", "4200", "CD_WIDTH")
    'ETCH-07|B|POLY_V3|4200|CD_WIDTH'
    >>> split_series_key(series_key("a|b", "100%", "", "", "x"))
    ('a|b', '100%', '', '', 'x')
    """
    parts = (equipment, chamber, recipe, operation, characteristic)
    joined = "|".join(parts)
    if "%" not in joined and joined.count("|") == len(parts) - 1:
        return joined
    return "|".join(part.replace("%", "%25").replace("|", "%7C") for part in parts)


def split_series_key(key: str) -> tuple[str, ...]:
    """Return the parts of a series key, in the order of `SERIES_KEY_PARTS`."""
    return tuple(part.replace("%7C", "|").replace("%25", "%") for part in key.split("|"))
