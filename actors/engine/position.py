"""What the state topic of a pipeline holds, one partition for each input partition, and how it is read back.

Theory of operation
-------------------
Four kinds of records, told apart by key; the topic is compacted, so the newest of each key is what counts:

- `position`: in every transaction, after the state that it speaks of, before the outputs. Where the fold stands, where its last
  snapshot stands, which detectors are off.
- `applied|<change id>`: a change of limits, a reset or an exclusion that took effect here (actors/engine/control.py), written
  in the transaction of its step and never again. Those after the snapshot are made again by a replay; all of them are
  kept, so that no change is made twice and a person can see where it was made.
- `page|<detector>|<layout>|<number>`, and with `|2` at its end: rows of state columns (actors/engine/state.py), in one of two
  places (actors/engine/snapshot.py).
- `series|<number>`: a stretch of the series dictionary.

A page is written together with a position that names its step as its snapshot, or says that it was written apart from it. So
another page newer than `snapshot_seq` cannot be, nor anything newer than `seq`; if there is one, the log has been torn and the
partition is quarantined, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from actors.engine.control import AppliedChange
from actors.engine.state import Page, PageColumn
from actors.errors import StateError
from schemas.columnar.writer import Value

SERIES_PER_PAGE = 1024
APPLIED_MAX = 1000  # entries of the applied log; the log is part of every position record
POSITION_KEY = b"position"
CHANGE_KEY = b"applied|"  # and the id of the change
SERIES_KEY = b"series|"  # and its number
PAGE_KEY = b"page|"


class Encodes(Protocol):
    """What `schemas.encode.Encoder` does."""

    def encode(self, record: dict[str, Any]) -> bytes:
        """Return the record with its header."""
        ...

    def encode_columns(self, n: int, columns: Mapping[str, Value]) -> list[bytes]:
        """Return n records, each with its header, of a column or one value for each field."""
        ...


class Record(NamedTuple):
    """A record to write. partition -1: by key."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None  # None: a tombstone


class Applied(NamedTuple):
    """Something that took effect at an input offset; a replay applies it there again."""

    at_offset: int
    kind: str  # "detector_disabled"
    subject: str  # identity of the detector
    detail: str


class Position(NamedTuple):
    """Where the fold of one partition stands."""

    topic: str
    partition: int
    next_offset: int
    seq: int
    snapshot_offset: int
    snapshot_seq: int
    code_version: str
    applied: tuple[Applied, ...] = ()
    event_time_ms: int = 0  # the largest one folded so far; 0: none
    slot: int = 0  # that may write the partition next (actors/deal.py)
    deal: int = 0  # number of the deal that says so

    def disabled_before(self, offset: int) -> set[str]:
        """Return the detectors that are off for rows from `offset` on."""
        return {entry.subject for entry in self.applied if entry.kind == DISABLED and entry.at_offset <= offset}


DISABLED = "detector_disabled"


class StateImage(NamedTuple):
    """What the state topic says of one partition."""

    position: Position | None
    series: list[str]
    pages: list[Page]
    changes: tuple[AppliedChange, ...] = ()  # in the order in which they were made
    page_keys: tuple[bytes, ...] = ()  # of `pages`
    stale: tuple[bytes, ...] = ()  # keys of pages that no snapshot has


def position_record(state_topic: str, position: Position, encoders: Mapping[str, Encodes]) -> Record:
    """Return the record of a position."""
    fields = position._asdict() | {"applied": [entry._asdict() for entry in position.applied]}
    return Record(state_topic, position.partition, POSITION_KEY, encoders["position"].encode(fields))


def change_record(state_topic: str, partition: int, change: AppliedChange, encoders: Mapping[str, Encodes]) -> Record:
    """Return the record of a change that took effect."""
    value = encoders["applied_change"].encode(change.to_record())
    return Record(state_topic, partition, CHANGE_KEY + change.change.change_id.encode(), value)


def page_key(place: tuple[str, str, int], *, second: bool) -> bytes:
    """Return the key of a page (detector, layout, number) in its first or second place; see actors/engine/snapshot.py."""
    detector, layout, number = place
    return f"page|{detector}|{layout}|{number}{'|2' if second else ''}".encode()


def page_record(
    state_topic: str, partition: int, page: Page, encoders: Mapping[str, Encodes], *, second: bool, apart: bool
) -> Record:
    """Return the record of a page; `apart`: it does not stand in one transaction with all of its snapshot."""
    columns = [column._asdict() | {"shape": list(column.shape)} for column in page.columns]
    value = encoders["page"].encode(page._asdict() | {"columns": columns, "apart": apart})
    return Record(state_topic, partition, page_key((page.detector, page.layout, page.page), second=second), value)


def series_record(
    state_topic: str, partition: int, series: Sequence[str], number: int, seq: int, encoders: Mapping[str, Encodes]
) -> Record:
    """Return the record of a page of the dictionary."""
    first = number * SERIES_PER_PAGE
    keys = list(series[first : first + SERIES_PER_PAGE])
    value = encoders["series_page"].encode({"page": number, "first_code": first, "seq": seq, "keys": keys})
    return Record(state_topic, partition, SERIES_KEY + str(number).encode(), value)


def read_image(records: Iterable[tuple[bytes, bytes | None]], decode: Callable[[bytes], dict[str, Any]]) -> StateImage:
    """Put the state of one partition together from its records in offset order. Raises StateError if they do not fit together."""
    newest: dict[bytes, bytes] = {}
    for key, value in records:
        if value is None:
            newest.pop(key, None)
        else:
            newest[key] = value
    position = position_of(decode(newest.pop(POSITION_KEY))) if POSITION_KEY in newest else None
    pages: dict[tuple[str, str, int], tuple[Page, bytes]] = {}  # with their keys
    stale: list[bytes] = []
    stretches: dict[int, list[str]] = {}
    changes: list[AppliedChange] = []
    for key, value in newest.items():
        fields = decode(value)
        is_page = key.startswith(PAGE_KEY)
        named = position.snapshot_seq if position is not None and is_page and not fields["apart"] else None
        if position is None or fields["seq"] > (position.seq if named is None else named):
            raise StateError(f"state record {key.decode()} is of step {fields['seq']}; the position says {position}")
        if key.startswith(CHANGE_KEY):
            changes.append(_change(fields))
        elif key.startswith(SERIES_KEY):
            stretches[fields["page"]] = fields["keys"]
        elif fields["seq"] > position.snapshot_seq:
            stale.append(key)  # of a snapshot that was never named
        else:
            _keep_newer(pages, stale, _page(fields), key)
    series: list[str] = []
    for number in sorted(stretches):
        if number * SERIES_PER_PAGE != len(series):
            raise StateError(f"series dictionary: page {number} begins after {len(series)} series")
        series.extend(stretches[number])
    return StateImage(
        position,
        series,
        [page for page, _ in pages.values()],
        tuple(sorted(changes, key=lambda change: change.seq)),
        tuple(key for _, key in pages.values()),
        tuple(stale),
    )


def _page(fields: dict[str, Any]) -> Page:
    del fields["apart"]
    columns = tuple(PageColumn(**column | {"shape": tuple(column["shape"])}) for column in fields.pop("columns"))
    return Page(**fields, columns=columns)


def _keep_newer(
    pages: dict[tuple[str, str, int], tuple[Page, bytes]], stale: list[bytes], page: Page, key: bytes
) -> None:
    """Keep the newer of the two copies of a page."""
    place = page.detector, page.layout, page.page
    held = pages.get(place)
    if held is None or held[0].seq < page.seq:
        pages[place] = page, key
        stale += [held[1]] if held else []
    else:
        stale.append(key)


def position_of(fields: dict[str, Any]) -> Position:
    """Return the position that a record of it says."""
    return Position(**fields | {"applied": tuple(Applied(**entry) for entry in fields["applied"])})


def _change(fields: dict[str, Any]) -> AppliedChange:
    try:
        return AppliedChange.of(fields)
    except ValueError as error:
        raise StateError(f"change {fields['change_id']}: {error}: written by a newer version") from error
