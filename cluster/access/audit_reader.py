"""The newest events of the audit trail, read back from `fab.user`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from actors.errors import ReopenError
from actors.kafka.client import Cluster
from actors.kafka.consumer import Offsets, PartitionReader
from actors.kafka.letters import partitions_of
from actors.producers.events import PUBLISHED_BY
from schemas.decode import UnreadableRecord, decode_event
from schemas.topics import USER

BACK = 200  # records of each partition that one page looks at; the next page goes on
READ_S = 10.0
POLL_RECORDS = 500
GROUP = "chipquality-audit"  # librdkafka wants one; nothing joins it and nothing is committed


class Row(NamedTuple):
    """An event where it stands; `order_ms` never falls along a partition."""

    order_ms: int
    partition: int
    offset: int
    event: dict[str, Any]


class Page(NamedTuple):
    """Events, newest first, and where the next page ends in each partition; None: there is none."""

    items: list[dict[str, Any]]
    before: dict[int, int] | None


def newest(
    cluster: Cluster,
    schema_of: Callable[[int], Any],
    limit: int,
    wanted: Callable[[Mapping[str, Any]], bool],
    before: Mapping[int, int] | None = None,
) -> Page:
    """Return the newest events that are wanted, before the given offsets. Raises ReopenError, RegistryUnavailable."""
    partitions = partitions_of(cluster, [USER]).get(USER, [])
    offsets = Offsets(cluster)
    first, end = offsets.first(USER, partitions), offsets.end(USER, partitions, committed=True)
    high = {p: max(first[p], min(end[p], (before or {}).get(p, end[p]))) for p in partitions}
    low = {p: max(first[p], high[p] - BACK) for p in partitions}
    rows = _read(cluster, schema_of, low, high)
    return page_of(rows, wanted, limit, first, low, high)


def page_of(
    rows: Sequence[Row],
    wanted: Callable[[Mapping[str, Any]], bool],
    limit: int,
    first: Mapping[int, int],
    low: Mapping[int, int],
    high: Mapping[int, int],
) -> Page:
    """Choose the newest rows of [low, high); the next page goes on below those that were looked at."""
    chosen: list[Row] = []
    at = dict(high)  # partition → everything from here on was looked at
    left = sorted(rows, reverse=True)
    floor = max((row.order_ms for row in _oldest(rows) if low[row.partition] > first[row.partition]), default=0)
    for row in left:
        if len(chosen) == limit or row.order_ms < floor:
            break  # below the floor, a partition has rows that were not read and may be newer
        at[row.partition] = row.offset
        if wanted(row.event):
            chosen.append(row)
    else:
        at = dict(low)
    more = any(at[p] > first[p] for p in at)
    return Page([_item(row) for row in chosen], at if more else None)


def _oldest(rows: Sequence[Row]) -> list[Row]:
    found: dict[int, Row] = {}
    for row in rows:
        if row.partition not in found or row.offset < found[row.partition].offset:
            found[row.partition] = row
    return list(found.values())


def _item(row: Row) -> dict[str, Any]:
    by = (row.event.get("metadata") or {}).get(PUBLISHED_BY)
    return {**row.event, "partition": row.partition, "offset": row.offset, "published_by": by}


def _read(
    cluster: Cluster, schema_of: Callable[[int], Any], low: Mapping[int, int], high: Mapping[int, int]
) -> list[Row]:
    left = {p for p in high if high[p] > low[p]}
    rows: list[Row] = []
    newest_ms: dict[int, int] = {}
    reader = PartitionReader(cluster, GROUP, USER)
    deadline = time.monotonic() + READ_S
    try:
        reader.assign({p: low[p] for p in left})
        while left:
            for raw in reader.poll(POLL_RECORDS, 0.05).batches:
                p = raw.partition
                for offset, at_ms, value in zip(raw.offset, raw.timestamp_ms, raw.values, strict=True):
                    if offset < high[p]:
                        newest_ms[p] = max(int(at_ms), newest_ms.get(p, 0))
                        rows.append(Row(newest_ms[p], p, int(offset), _event(value, schema_of)))
                if raw.next_offset >= high[p]:
                    left.discard(p)
            if left and time.monotonic() > deadline:
                raise ReopenError(f"{USER}: partitions {sorted(left)} do not answer for {READ_S:g} s")
    finally:
        reader.close()
    return rows


def _event(value: bytes | None, schema_of: Callable[[int], Any]) -> dict[str, Any]:
    try:
        return decode_event(value, schema_of)
    except UnreadableRecord as error:  # anybody may write to fab.user: it must not hide the rest
        return {"event_type": "UNREADABLE", "user_id": "", "timestamp": 0, "reason": str(error)[:200]}
