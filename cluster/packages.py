"""Where detector packages lie, as the configuration says, and recorded rows of a topic to try one on."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from actors.errors import ConfigError, ReopenError
from actors.kafka.changes import Changes
from actors.kafka.client import Cluster
from actors.packages.recorded import ROWS_MAX
from actors.packages.store import PackageStore
from actors.stretch import Stretch
from cluster.config import Config
from cluster.operations.bounds import Bound
from schemas.batch import MicroBatch, RawBatch, SeriesDictionary, after
from schemas.decode import MeasurementDecoder
from schemas.registry import Registry

READ_S = 120.0  # for a stretch to be read
_POLL_RECORDS = 10_000
_DECODE_ROWS = 100_000
_GROUP = "chipquality-detector-check"  # nothing is committed
_CARRIED = ("lsl", "usl", "target", "sample_size")

Spans = Mapping[int, tuple[int, int]]


def store_of(config: Config) -> PackageStore:
    """Return the store of packages and artefacts. Raises PackageRefused, which is a ConfigError."""
    return PackageStore(config.detectors.store or str(config.local.directory / "detectors"))


def spans_of(cluster: Cluster, topic: str, since: Bound, until: Bound) -> Spans:
    """Return which retained offsets of each partition two bounds name. Raises ConfigError, ReopenError."""
    changes = Changes(cluster.bootstrap_servers, cluster.client)
    places = [(topic, partition) for partition in changes.partitions(topic)]
    if not places:
        raise ConfigError(f"there is no topic {topic[:200]}")
    bounds = changes.bounds(places, "read_committed")
    times = {ms: changes.at_time(places, ms) for ms in (since.time_ms, until.time_ms) if ms is not None}

    def at(bound: Bound, place: tuple[str, int], otherwise: int) -> int:
        if bound.time_ms is not None:
            found = times[bound.time_ms][place]
            return bounds[place][1] if found is None else found
        if bound.edge is not None:
            return bounds[place][0] if bound.edge == "earliest" else bounds[place][1]
        named = bound.at(place[1])
        return otherwise if named is None else named

    spans = {}
    for place, (low, high) in bounds.items():
        first, end = (min(max(at(bound, place, edge), low), high) for bound, edge in ((since, low), (until, high)))
        spans[place[1]] = first, max(first, end)
    return spans


def read_stretch(cluster: Cluster, topic: str, spans: Spans, rows_max: int = ROWS_MAX) -> bytes:
    """Return the measurements of a stretch as Parquet (actors/packages/recorded.py), `rows_max` at most.

    Raises ConfigError if there are more, or none; ReopenError if they are not read in time.
    """
    left = {partition: end for partition, (first, end) in spans.items() if first < end}
    if not left:
        raise ConfigError(f"nothing of {topic} is in that stretch")
    log = Stretch(topic, {p: spans[p][0] for p in left}, left)(cluster)
    decoder = MeasurementDecoder(Registry(cluster.registry_url, cluster.registry_client).schema)
    series = {partition: SeriesDictionary() for partition in left}
    batches: list[MicroBatch] = []
    rows, deadline = 0, time.monotonic() + READ_S
    reader = log.reader(_GROUP, topic)
    try:
        reader.assign({partition: spans[partition][0] for partition in left})
        while left:
            polled = reader.poll(_POLL_RECORDS, 0.1)
            for partition, why in polled.lost.items():
                raise ReopenError(f"{topic}:{partition}: {why}")
            for raw in polled.batches:
                decoded = _decoded(decoder, raw, series[raw.partition])
                rows += sum(map(len, decoded))
                batches += decoded
                if raw.next_offset >= left.get(raw.partition, raw.next_offset + 1):
                    del left[raw.partition]
            if rows > rows_max:
                raise ConfigError(f"more than {rows_max} rows are in that stretch of {topic}: take a shorter one")
            if left and time.monotonic() > deadline:
                raise ReopenError(f"{topic}: the stretch was not read in {READ_S:g} s")
    finally:
        reader.close()
        log.close()
    if not rows:
        raise ConfigError(f"no measurement of {topic} is in that stretch")
    return _parquet(batches, series)


def _decoded(decoder: MeasurementDecoder, raw: RawBatch, series: SeriesDictionary) -> list[MicroBatch]:
    found = []
    rest: RawBatch | None = raw
    while rest is not None:
        batch = decoder.decode(rest, series, rows_max=_DECODE_ROWS)
        found.append(batch)
        rest = after(rest, batch.next_offset)
    return found


def _parquet(batches: list[MicroBatch], series: Mapping[int, SeriesDictionary]) -> bytes:
    keys = {partition: np.array(found.keys, dtype=object) for partition, found in series.items()}
    columns = {
        "series": pa.array(np.concatenate([keys[batch.partition][batch.series] for batch in batches]), pa.string()),
        "partition": np.concatenate([np.full(len(batch), batch.partition, np.int64) for batch in batches]),
    }
    for name in ("offset", "event_time_ms", "value", "subgroup"):
        columns[name] = np.concatenate([getattr(batch, name) for batch in batches])
    for name in _CARRIED:
        columns[name] = np.concatenate([batch.columns[name] for batch in batches])
    file = io.BytesIO()
    pa.parquet.write_table(pa.table(columns), file)
    return file.getvalue()
