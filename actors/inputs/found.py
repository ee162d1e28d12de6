"""What a file becomes: events as plain data, each with an id that is the same whenever the same file is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from actors.producers.measurement import check_measured, record_of_measured
from schemas.encode import Encoder
from schemas.topics import load

Kind = Literal["measurement", "inspection"]
ID_BYTES = 16
_NO_SCHEMA_ID = 0  # nothing of a check is sent
_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode  # kept: json.dumps would make one for each event


class Found(NamedTuple):
    """One event of a file."""

    kind: Kind
    event: dict[str, Any]  # fields of measurement.avsc, measurement_array.avsc or inspection.avsc


def with_id(kind: Kind, place: str, event: dict[str, Any]) -> Found:
    """Return an event with its id: a hash of where in its file it stands and of all that it says.

    The same file read again gives the same ids, and so does a file that is the same up to there; what reads otherwise (another
    time zone, other names) gives others, because it is another event.

    >>> with_id("measurement", "row 1", {"value": 1.0}).event["event_id"]
    'c28f8fcc4df796a8fa46aeddc6162ebb'
    """
    said = _JSON([kind, place, event]).encode()
    return Found(kind, {"event_id": hashlib.blake2b(said, digest_size=ID_BYTES).hexdigest(), **event})


class Checks:
    """Checks events as publishing them would, without sending anything."""

    def __init__(self) -> None:
        self._encoders: dict[str, Encoder] = {}
        self._defaults: dict[str, dict[str, Any]] = {}

    def check(self, found: Found) -> None:
        """Raise EncodeError, naming the field, for an event that could not be published or not be decoded."""
        name = "inspection" if found.kind == "inspection" else record_of_measured(found.event)
        if name not in self._encoders:
            self._encoders[name] = Encoder(name, _NO_SCHEMA_ID)
            self._defaults[name] = {f["name"]: f["default"] for f in load(name)["fields"] if "default" in f}
        self._encoders[name].encode(found.event)
        if found.kind == "measurement":
            check_measured({**self._defaults[name], **found.event})


def texts(said: Mapping[str, Any]) -> dict[str, str]:
    """Return metadata: what there is, as texts.

    >>> texts({"x": 3, "part": "", "y": None})
    {'x': '3'}
    """
    return {name: str(value) for name, value in said.items() if value not in (None, "")}
