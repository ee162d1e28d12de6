"""Inspection events: the life of an inspection, the defects it finds, the quality it assesses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from actors.kafka.delivery import Delivery
from actors.producers.category import NO_CONTEXT, CategoryPublisher, Context, check_unit_interval
from schemas.topics import INSPECTION


@dataclass(frozen=True, slots=True)
class Inspection:
    """Which inspection: of which chip of which batch, and of what kind (AOI, SEM, X_RAY …)."""

    inspection_id: str
    batch_id: str
    chip_id: str
    inspection_type: str


@dataclass(frozen=True, slots=True)
class Defect:
    """One defect found."""

    defect_type: str  # e.g. SCRATCH, PARTICLE
    severity: str  # e.g. MINOR, MAJOR, CRITICAL
    confidence: float  # how sure the classifier is, 0 to 1
    location: str  # in the words of the inspection tool


class InspectionPublisher(CategoryPublisher):
    """Publishes to `fab.inspection`. Every method returns the event's Delivery; see `Publisher.publish` for errors.

    `status` is the state after the event; each method has the usual word for it as its default.
    """

    topic = INSPECTION
    record = "inspection"

    def created(self, inspection: Inspection, *, status: str = "CREATED", context: Context = NO_CONTEXT) -> Delivery:
        """Say that an inspection is planned."""
        return self._inspection("INSPECTION_CREATED", inspection, status, context)

    def started(
        self, inspection: Inspection, *, status: str = "IN_PROGRESS", context: Context = NO_CONTEXT
    ) -> Delivery:
        """Say that it has begun."""
        return self._inspection("INSPECTION_STARTED", inspection, status, context)

    def completed(
        self,
        inspection: Inspection,
        *,
        quality_score: float | None = None,
        defects: Sequence[Defect] = (),
        status: str = "COMPLETED",
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that it has ended, with all defects found and, if assessed, the quality, 0 (worst) to 1 (best)."""
        return self._inspection("INSPECTION_COMPLETED", inspection, status, context, quality_score, defects)

    def failed(self, inspection: Inspection, *, status: str = "FAILED", context: Context = NO_CONTEXT) -> Delivery:
        """Say that it could not be carried out; say why in the context's metadata."""
        return self._inspection("INSPECTION_FAILED", inspection, status, context)

    def defect_detected(
        self,
        inspection: Inspection,
        defects: Sequence[Defect],
        *,
        status: str = "IN_PROGRESS",
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that defects were found, as soon as they are."""
        return self._inspection("DEFECT_DETECTED", inspection, status, context, None, defects)

    def quality_assessed(
        self,
        inspection: Inspection,
        quality_score: float,
        *,
        defects: Sequence[Defect] = (),
        status: str = "ASSESSED",
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say how good the chip is, 0 (worst) to 1 (best)."""
        return self._inspection("QUALITY_ASSESSED", inspection, status, context, quality_score, defects)

    def _inspection(
        self,
        event_type: str,
        inspection: Inspection,
        status: str,
        context: Context,
        quality_score: float | None = None,
        defects: Sequence[Defect] = (),
    ) -> Delivery:
        fields = {
            **asdict(inspection),
            "status": status,
            "quality_score": quality_score,
            "defects": [asdict(defect) for defect in defects],
        }
        return self._emit(event_type, fields, context)

    def _check(self, fields: Mapping[str, Any]) -> None:
        super()._check(fields)
        check_unit_interval("quality_score", fields["quality_score"])
        for i, defect in enumerate(fields["defects"]):
            check_unit_interval(f"defects[{i}].confidence", defect["confidence"])
