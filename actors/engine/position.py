"""What the state topic of a pipeline holds, one partition for each input partition, and how it is read back.

Theory of operation
-------------------
Four kinds of records, told apart by key; the topic is compacted, so the newest of each key is what counts:

- `position`: in every transaction, after the state that it speaks of, before the outputs. Where the fold stands, where its last
  snapshot stands, which detectors are off.
- `applied|<change id>`: a change of limits, a reset or an exclusion that took effect here (actors/engine/control.py), written
  in the transaction of its step and never again. Those after the snapshot are made again by a replay; all of them are
  kept, so that no change is made twice and a person can see where it was made.
- `page|<detector>|<layout>|<number>`: rows of state columns (actors/engine/state.py).
- `series|<number>`: a stretch of the series dictionary.

Pages and series are written only together with a position that names their step as its snapshot. So a page newer than
`snapshot_seq` cannot be, nor a change newer than `seq`; if there is one, the log has been torn and the partition is quarantined,
never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from actors.engine.control import AppliedChange
from actors.engine.state import Page, PageColumn
from actors.errors import StateError

SERIES_PER_PAGE = 1024
APPLIED_MAX = 1000  # entries of the applied log; the log is part of every position record
POSITION_KEY = b"position"
CHANGE_KEY = b"applied|"  # and the id of the change


class Encodes(Protocol):
    """What `schemas.encode.Encoder` does."""

    def encode(self, record: dict[str, Any]) -> bytes:
        """Return the record with its header."""
        ...


class Record(NamedTuple):
    """A record to write. partition -1: by key."""

    topic: str
    partition: int
    key: bytes
    value: bytes


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


def position_record(state_topic: str, position: Position, encoders: Mapping[str, Encodes]) -> Record:
    """Return the record of a position."""
    fields = position._asdict() | {"applied": [entry._asdict() for entry in position.applied]}
    return Record(state_topic, position.partition, POSITION_KEY, encoders["position"].encode(fields))


def change_record(state_topic: str, partition: int, change: AppliedChange, encoders: Mapping[str, Encodes]) -> Record:
    """Return the record of a change that took effect."""
    value = encoders["applied_change"].encode(change.to_record())
    return Record(state_topic, partition, CHANGE_KEY + change.change.change_id.encode(), value)


def page_record(state_topic: str, partition: int, page: Page, encoders: Mapping[str, Encodes]) -> Record:
    """Return the record of a page."""
    key = f"page|{page.detector}|{page.layout}|{page.page}"
    columns = [column._asdict() | {"shape": list(column.shape)} for column in page.columns]
    value = encoders["page"].encode(page._asdict() | {"columns": columns})
    return Record(state_topic, partition, key.encode(), value)


def series_records(
    state_topic: str, partition: int, series: Sequence[str], known: int, seq: int, encoders: Mapping[str, Encodes]
) -> list[Record]:
    """Return records for the pages of the dictionary that have grown since it had `known` series."""
    records = []
    if len(series) > known:
        for page in range(known // SERIES_PER_PAGE, (len(series) - 1) // SERIES_PER_PAGE + 1):
            first = page * SERIES_PER_PAGE
            fields = {
                "page": page,
                "first_code": first,
                "seq": seq,
                "keys": list(series[first : first + SERIES_PER_PAGE]),
            }
            records.append(
                Record(state_topic, partition, f"series|{page}".encode(), encoders["series_page"].encode(fields))
            )
    return records


def read_image(records: Iterable[tuple[bytes, bytes | None]], decode: Callable[[bytes], dict[str, Any]]) -> StateImage:
    """Put the state of one partition together from its records in offset order. Raises StateError if they do not fit together."""
    newest: dict[bytes, bytes] = {}
    for key, value in records:
        if value is None:
            newest.pop(key, None)
        else:
            newest[key] = value
    position = _position(decode(newest.pop(POSITION_KEY))) if POSITION_KEY in newest else None
    pages: list[Page] = []
    stretches: dict[int, list[str]] = {}
    changes: list[AppliedChange] = []
    for key, value in newest.items():
        fields = decode(value)
        a_change = key.startswith(CHANGE_KEY)
        if position is None or fields["seq"] > (position.seq if a_change else position.snapshot_seq):
            raise StateError(f"state record {key.decode()} is of step {fields['seq']}; the position says {position}")
        if a_change:
            changes.append(_change(fields))
        elif key.startswith(b"series|"):
            stretches[fields["page"]] = fields["keys"]
        else:
            columns = tuple(
                PageColumn(**column | {"shape": tuple(column["shape"])}) for column in fields.pop("columns")
            )
            pages.append(Page(**fields, columns=columns))
    series: list[str] = []
    for page in sorted(stretches):
        if page * SERIES_PER_PAGE != len(series):
            raise StateError(f"series dictionary: page {page} begins after {len(series)} series")
        series.extend(stretches[page])
    return StateImage(position, series, pages, tuple(sorted(changes, key=lambda change: change.seq)))


def _position(fields: dict[str, Any]) -> Position:
    return Position(**fields | {"applied": tuple(Applied(**entry) for entry in fields["applied"])})


def _change(fields: dict[str, Any]) -> AppliedChange:
    try:
        return AppliedChange.of(fields)
    except ValueError as error:
        raise StateError(f"change {fields['change_id']}: {error}: written by a newer version") from error
