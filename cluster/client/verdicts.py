"""Verdicts from the log: every one that is retained in `quality.charts`, not only the newest points that the API holds.

The API's view keeps up to 500 points of a series. What was judged before stands in Kafka as packed Arrow records, one for each
step and detector family, and is read here straight from the broker: with Kafka's own access, not with the API's key.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Iterator
from datetime import datetime

import numpy as np
import pyarrow as pa

from actors.errors import ReopenError
from actors.kafka.changes import Changes
from actors.kafka.client import Cluster
from actors.kafka.consumer import PartitionReader
from schemas.charts import ChartBlock, DetectorColumns, step_of, unpack
from schemas.topics import CHARTS

ROWS_MAX = 5_000_000  # of one table, unless told otherwise
QUIET_S = 30.0  # without a record before the end is reached
_POLL_ROWS = 200
_GROUP = "chipquality-client"  # nothing is committed
_MS = pa.timestamp("ms", tz="UTC")
_WORD = pa.dictionary(pa.int32(), pa.string())
_REAL = pa.float64()
SCHEMA = pa.schema(
    [
        ("topic", _WORD), ("partition", pa.int32()), ("offset", pa.int64()), ("sample", pa.int32()), ("event_time", _MS),
        ("series", _WORD), ("input", _REAL), ("lsl", _REAL), ("usl", _REAL), ("target", _REAL), ("lot", _WORD), ("wafer", _WORD),
        ("detector", _WORD), ("identity", _WORD), ("statistic", _WORD), ("value", _REAL), ("centre", _REAL), ("lcl", _REAL),
        ("ucl", _REAL), ("valid", pa.bool_()), ("signals", pa.list_(pa.string())),
    ]
)  # fmt: skip


class TooManyRowsError(ValueError):
    """There are more verdicts than were asked for at most: narrow the series, the detectors or the time."""


class Verdicts:
    """Reads verdicts of a pipeline from Kafka, read_committed. `client`: librdkafka's settings, for TLS and SASL."""

    def __init__(
        self,
        bootstrap_servers: str,
        pipeline: str = "quality",
        *,
        topic: str = CHARTS,
        client: dict[str, str] | None = None,
    ) -> None:
        self.pipeline, self.topic = pipeline, topic
        self._cluster = Cluster(bootstrap_servers, client=client or {})

    def read(
        self,
        series: Collection[str] | None = None,
        *,
        detectors: Collection[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        rows_max: int = ROWS_MAX,
    ) -> pa.Table:
        """Return a row for each verdict and statistic; see `batches`. Raises TooManyRowsError beyond `rows_max` rows."""
        parts, rows = [], 0
        for part in self.batches(series, detectors=detectors, since=since, until=until):
            parts.append(part)
            rows += part.num_rows
            if rows > rows_max:
                raise TooManyRowsError(f"more than {rows_max:,} verdicts: narrow series, detectors, since or until")
        return pa.concat_tables([SCHEMA.empty_table(), *parts]).unify_dictionaries()

    def batches(
        self,
        series: Collection[str] | None = None,
        *,
        detectors: Collection[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[pa.Table]:
        """Yield a table for each packed record with something in it, in the order of each partition.

        `series` and `detectors` by name, None: all. `since` and `until` are event times (`until` does not belong to it; times
        without a zone are refused). Records are read to where the topic ends now. `input` is the measured value, `value` the
        statistic; `signals` are the rules that fired on it.
        A record that is no chart record is left out, with a warning that says where it is. Raises ReopenError if Kafka does not
        answer.
        """
        edges = [_ms(edge) for edge in (since, until)]
        wanted = None if series is None else set(series)
        named = None if detectors is None else set(detectors)
        for place, packed in self._records():
            try:
                block = unpack(packed) if step_of(packed).pipeline == self.pipeline else None
            except ValueError as error:
                warnings.warn(f"{place} is left out: {error}", stacklevel=2)
                continue
            part = None if block is None else _rows(block, wanted, named, edges[0], edges[1])
            if part is not None:
                yield part

    def _records(self) -> Iterator[tuple[str, bytes]]:
        """Yield place and value of all retained records."""
        changes = Changes(self._cluster.bootstrap_servers, dict(self._cluster.client))
        places = [(self.topic, partition) for partition in changes.partitions(self.topic)]
        bounds = changes.bounds(places, "read_committed")
        left = {partition: high for (_, partition), (low, high) in bounds.items() if low < high}
        reader = PartitionReader(self._cluster, _GROUP, self.topic)
        deadline = time.monotonic() + QUIET_S
        try:
            reader.assign({partition: bounds[self.topic, partition][0] for partition in left})
            while left:
                polled = reader.poll(_POLL_ROWS, 0.1)
                for partition, why in polled.lost.items():
                    raise ReopenError(f"{self.topic}:{partition}: {why}")
                for batch in polled.batches:
                    deadline = time.monotonic() + QUIET_S
                    inside = batch.offset < left.get(batch.partition, 0)
                    for offset, value, is_in in zip(batch.offset, batch.values, inside, strict=True):
                        if is_in and value:
                            yield f"{self.topic}:{batch.partition}:{offset}", value
                    if batch.next_offset >= left.get(batch.partition, batch.next_offset + 1):
                        del left[batch.partition]
                if left and time.monotonic() > deadline:
                    raise ReopenError(f"{self.topic}: offsets {left} not reached, nothing came for {QUIET_S:g} s")
        finally:
            reader.close()


def _ms(edge: datetime | None) -> int | None:
    if edge is None:
        return None
    if edge.tzinfo is None:
        raise ValueError(f"{edge.isoformat()}: a time with its zone is wanted, e.g. datetime(…, tzinfo=UTC)")
    return round(edge.timestamp() * 1000)


def _rows(
    block: ChartBlock, series: set[str] | None, detectors: set[str] | None, since_ms: int | None, until_ms: int | None
) -> pa.Table | None:
    """Return what is wanted of a block; None if that is nothing."""
    keep = np.ones(len(block), np.bool_)
    if series is not None:
        keep &= np.isin(block.series, [code for code, key in enumerate(block.series_keys) if key in series])
    if since_ms is not None:
        keep &= block.event_time_ms >= since_ms
    if until_ms is not None:
        keep &= block.event_time_ms < until_ms
    rows = np.flatnonzero(keep)
    judged = [(name, said) for name, said in block.detectors.items() if detectors is None or name in detectors]
    if not len(rows) or not judged:
        return None
    common = _common(block, rows)
    return pa.concat_tables(
        [
            pa.table(common | _judged(name, said, at, rows), SCHEMA)
            for name, said in judged
            for at in range(len(said.statistics))
        ]
    )


def _common(block: ChartBlock, rows: np.ndarray) -> dict[str, pa.Array]:
    n = len(rows)
    sample = np.zeros(n, np.int32) if block.sample is None else block.sample[rows]
    return {
        "topic": _word(block.topic, n),
        "partition": np.full(n, block.partition, np.int32),
        "offset": block.offset[rows],
        "sample": sample,
        "event_time": pa.array(block.event_time_ms[rows], _MS),
        "series": _words(block.series[rows], list(block.series_keys)),
        "input": _number(block.value[rows]),
        **{name: _number(getattr(block, name)[rows]) for name in ("lsl", "usl", "target")},
        **{
            name: _words(text.codes[rows], list(text.words))
            for name, text in (("lot", block.lot), ("wafer", block.wafer))
        },
    }


def _judged(name: str, said: DetectorColumns, at: int, rows: np.ndarray) -> dict[str, pa.Array]:
    n = len(rows)
    rules = [(bit, rule.name) for bit, rule in enumerate(said.rules) if rule.statistic == at]
    signal = said.signal[rows]
    return {
        "detector": _word(name, n),
        "identity": _word(said.detector, n),
        "statistic": _word(said.statistics[at], n),
        "value": _number(said.statistic[rows, at]),
        **{line: _number(getattr(said, line)[rows, at]) for line in ("centre", "lcl", "ucl")},
        "valid": said.valid[rows],
        "signals": [[rule for bit, rule in rules if one >> bit & 1] if one else [] for one in signal.tolist()],
    }


def _number(values: np.ndarray) -> pa.Array:
    return pa.array(values, from_pandas=True)  # NaN is null: none, or missing


def _word(text: str, n: int) -> pa.Array:
    return _words(np.zeros(n, np.int32), [text])


def _words(codes: np.ndarray, words: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(words, pa.string()))
