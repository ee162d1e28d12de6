"""Which pages a torn step overwrote, and whether the copies that stood there before can still be read.

Theory of operation
-------------------
Compaction takes the older copy of a page once a newer one stands in the log, and a repair folds from the older ones. So where the
step wrote a page whose key is not met before it, either there never was such a page, or it is gone. That it is gone is
ruled out by any of these:

- The page is written apart: it goes to a place that holds no named copy (actors/engine/snapshot.py).
- The step's positions are all there, from the first one on. Each stands right behind the pages of its step, and compaction
  would have taken it with them: only the newest stays.
- What the state says: rows of series that were not known yet, no change of limits before the snapshot, nothing set aside.

Else it counts as gone. A book of alerts, for one, has a page only once an incident was open at a snapshot, which nothing
else tells.

Rules of this file: pure; a page that may be gone is never taken for one that was not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from actors.engine.position import PAGE_KEY, SERIES_KEY, Position, StateImage
from actors.engine.state import Page

_ARRIVALS = "arrivals"  # the tables of actors/engine/gate.py
_SETTINGS = "arrivals@1"  # of them the one that is there from the first step on, if there is anything to set
_IDS = "arrivals.ids@1/"  # and the window
_PARAMS = "params/"  # and the family (actors/engine/params.py)

Entry = tuple[bytes, bytes | None]
Decode = Callable[[bytes], dict[str, Any]]


def gone(
    step: Sequence[Entry], earlier: Sequence[Entry], before: StateImage, positions: Sequence[Position], decode: Decode
) -> str:
    """Return a page that the step overwrote and whose older copy may be gone; "" if there is none.

    `step` are its state records, `earlier` all that stands before them, `before` what these say, `positions` those among them.
    """
    position = before.position
    if position is None or not position.seq or _never_compacted(positions):
        return ""
    kept = {key for key, _ in earlier}
    for key, value in step:
        if key in kept or not key.startswith((PAGE_KEY, SERIES_KEY)):
            continue
        kept.add(key)
        if value is None:
            return f"a copy of {key.decode()}"
        page = decode(value)
        if key.startswith(SERIES_KEY):
            if page["first_code"] < _rows(before):
                return f"page {page['page']} of the series"
        elif not page["apart"] and _was_there(page, before, position):
            return f"page {page['page']} of {page['detector']}"
    return ""


def _never_compacted(positions: Sequence[Position]) -> bool:
    """Say whether every step's position is retained, an older one than the newest among them."""
    seqs = [position.seq for position in positions]
    steps = list(dict.fromkeys(seqs))
    return len(steps) > 1 and steps == list(range(1, len(steps) + 1))


def _rows(before: StateImage) -> int:
    """Return how many series there were at least, as pages tell."""
    of_series = [page for page in before.pages if not page.detector.startswith(_ARRIVALS)]
    return max((page.first_row + page.rows for page in of_series), default=0)


def _was_there(page: Mapping[str, Any], before: StateImage, position: Position) -> bool:
    """Say whether there may have been a page like this before the step that wrote it."""
    detector, first = page["detector"], page["first_row"]
    if detector.startswith(_ARRIVALS):
        return _arrivals_were_there(detector, first, before.pages, settled=page["seq"] <= position.snapshot_seq)
    if not position.snapshot_seq:
        return False
    if detector.startswith(_PARAMS) and all(made.seq > position.snapshot_seq for made in before.changes):
        return False
    return bool(first < len(before.series) or not before.series)


def _arrivals_were_there(detector: str, first: int, pages: Sequence[Page], *, settled: bool) -> bool:
    """Say it of a page of arrivals; `settled`: the step has let other settings hold, and kept the ids of before."""
    held = [page for page in pages if page.detector.startswith(_ARRIVALS)]
    if detector == _SETTINGS:
        return bool(held) or not settled
    if not held:
        return settled
    said = {c.name: int(np.frombuffer(c.data, np.int64)[0]) for p in held if p.detector == _SETTINGS for c in p.columns}
    return detector == f"{_IDS}{said.get('dedupe_window')}" and first < said["count"]
