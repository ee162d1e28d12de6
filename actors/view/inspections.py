"""The newest inspections and the defects that they found, as `fab.inspection` tells them event by event.

Bounded three ways: so many inspections, so many defects of each, so many defects in all. The oldest inspection is forgotten, and
a defect beyond its bound is counted, not kept; of BEYOND_MAX of those it is known that they were, so that they are counted once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from actors import cursors
from actors.view.pareto import Tally
from models.wafer_map import spot

INSPECTIONS_MAX = 2_000
DEFECTS_MAX = 5_000  # kept of one inspection
DEFECTS_TOTAL_MAX = 200_000  # kept of all of them
BEYOND_MAX = 200_000  # defects that are counted only, of all inspections, that are known when they are told again
LOT_NAMES = ("lot", "lot_id")  # of the metadata, whichever there is
WAFER_NAMES = ("wafer", "wafer_id")

DEFECTS_BY = ("defect_type", "defect_severity", "inspection_type")


@dataclass(slots=True)
class _Inspection:
    facts: dict[str, Any]
    lot: str
    wafer: str
    first_ms: int  # event time of its first event
    sorting: tuple[int, str]  # newest last
    defects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    beyond: set[int] = field(default_factory=set)  # hashes of the names of defects that are counted only
    uncounted: int = 0  # further ones; one that is told again is counted again

    @property
    def untold(self) -> int:
        return len(self.beyond) + self.uncounted


class InspectionBook:
    """Inspections by id, those with the newest event last."""

    def __init__(
        self,
        inspections_max: int = INSPECTIONS_MAX,
        defects_max: int = DEFECTS_MAX,
        defects_total_max: int = DEFECTS_TOTAL_MAX,
        beyond_max: int = BEYOND_MAX,
    ) -> None:
        self.beyond_max = beyond_max
        self.inspections_max, self.defects_max, self.defects_total_max = inspections_max, defects_max, defects_total_max
        self.forgotten = 0
        self.defects = 0  # kept
        self._beyond = 0  # known of those that are not
        self._kept: OrderedDict[str, _Inspection] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of inspections kept."""
        return len(self._kept)

    def add(self, event: dict[str, Any], written_ms: int) -> None:
        """Take an event in. One that tells of a defect that is known (same kind, same place) adds nothing to the map."""
        key = str(event["inspection_id"])
        kept = self._kept.get(key)
        if kept is None:
            metadata = event["metadata"]
            lot = next((metadata[name] for name in LOT_NAMES if name in metadata), event["batch_id"])
            wafer = next((metadata[name] for name in WAFER_NAMES if name in metadata), "")
            kept = self._kept[key] = _Inspection({}, lot, wafer, event["timestamp"], (written_ms, key))
        kept.sorting = (max(written_ms, kept.sorting[0]), key)
        score = event["quality_score"]
        kept.facts = {
            "inspection_id": key,
            "batch_id": event["batch_id"],
            "chip_id": event["chip_id"],
            "inspection_type": event["inspection_type"],
            "status": event["status"],
            "event_type": event["event_type"],
            "quality_score": kept.facts.get("quality_score") if score is None else score,
            "event_time_ms": event["timestamp"],
        }
        for defect in event["defects"]:
            self._found(kept, defect)
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and (len(self._kept) > self.inspections_max or self.defects > self.defects_total_max):
            _, gone = self._kept.popitem(last=False)
            self.defects -= len(gone.defects)
            self._beyond -= len(gone.beyond)
            self.forgotten += 1

    def _found(self, kept: _Inspection, defect: dict[str, Any]) -> None:
        name = (defect["defect_type"], defect["severity"], defect["location"])
        if name in kept.defects:
            return
        if len(kept.defects) >= self.defects_max:
            self._count(kept, hash(name))
            return
        kept.defects[name] = {**defect, **spot(defect["location"])._asdict()}
        self.defects += 1

    def _count(self, kept: _Inspection, name: int) -> None:
        if name in kept.beyond:
            return
        if self._beyond < self.beyond_max:
            kept.beyond.add(name)
            self._beyond += 1
        else:
            kept.uncounted += 1

    def newest(self, limit: int, before: str | None = None) -> dict[str, Any]:
        """Return a page of inspections, newest first, without their defects. Raises ValueError for a bad cursor."""
        edge = cursors.decode(before, cursors.number_and_text) if before else None
        places = sorted(
            (kept.sorting for kept in self._kept.values() if edge is None or kept.sorting < edge), reverse=True
        )
        page = places[:limit]
        return {
            "items": [self._summary(self._kept[key]) for _, key in page],
            "next": cursors.encode(page[-1]) if len(places) > limit else None,
            "total": len(self._kept),
            "forgotten": self.forgotten,
        }

    def map(self, inspection: str) -> dict[str, Any] | None:
        """Return one inspection with its defects; None if it is not kept."""
        kept = self._kept.get(inspection)
        return None if kept is None else self._mapped([kept])

    def wafer(self, lot: str, wafer: str) -> dict[str, Any] | None:
        """Return all inspections of a wafer of a lot (or batch) together; None if none is kept."""
        found = [kept for kept in self._kept.values() if kept.lot == lot and kept.wafer == wafer]
        return self._mapped(found) if found else None

    def _mapped(self, found: Iterable[_Inspection]) -> dict[str, Any]:
        listed = list(found)
        defects = [
            {"inspection_id": kept.facts["inspection_id"], "chip_id": kept.facts["chip_id"], **defect}
            for kept in listed
            for defect in kept.defects.values()
        ]
        return {
            "lot": listed[0].lot,
            "wafer": listed[0].wafer,
            "inspections": [self._summary(kept) for kept in listed],
            "defects": defects[: self.defects_max],
            "without_place": sum(defect["x"] is None and defect["die_x"] is None for defect in defects),
            "untold": sum(kept.untold for kept in listed) + max(0, len(defects) - self.defects_max),
        }

    def _summary(self, kept: _Inspection) -> dict[str, Any]:
        counted = {"defects": len(kept.defects) + kept.untold, "lot": kept.lot, "wafer": kept.wafer}
        return kept.facts | counted | {"first_ms": kept.first_ms}

    def pareto(self, by: str, since_ms: int, limit: int) -> dict[str, Any]:
        """Return the Pareto table of the defects of inspections whose newest event was written since then."""
        tally = Tally()
        name = {"defect_type": "defect_type", "defect_severity": "severity"}.get(by)
        for kept in self._kept.values():
            if kept.sorting[0] < since_ms:
                continue
            if name is None:
                tally.add(kept.facts["inspection_type"], len(kept.defects))
            else:
                for defect in kept.defects.values():
                    tally.add(defect[name])
        return tally.table(limit)
