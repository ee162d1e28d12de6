"""Quality events: thresholds, alerts, compliance, capability, dispositions of lots. Key: the subject they are about."""

from __future__ import annotations

from typing import Literal

from actors.kafka.delivery import Delivery
from actors.producers.category import NO_CONTEXT, CategoryPublisher, Context
from schemas.topics import QUALITY

Severity = Literal["INFO", "WARNING", "CRITICAL"]


class QualityPublisher(CategoryPublisher):
    """Publishes to `fab.quality`. Every method returns the event's Delivery; see `Publisher.publish` for errors.

    `subject` is what the event is about: a series key, a lot or a tool.
    """

    topic = QUALITY
    record = "quality"

    def threshold_violated(
        self,
        subject: str,
        *,
        metric: str,
        value: float,
        threshold: float,
        severity: Severity = "WARNING",
        characteristic: str | None = None,
        lot_id: str | None = None,
        equipment: str | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that a number went over its limit: which number, its value, the limit."""
        fields = {
            "subject": subject,
            "metric": metric,
            "value": value,
            "threshold": threshold,
            "severity": severity,
            "characteristic": characteristic,
            "lot_id": lot_id,
            "equipment": equipment,
        }
        return self._emit("THRESHOLD_VIOLATED", fields, context)

    def alert_raised(
        self,
        subject: str,
        *,
        alert_id: str,
        severity: Severity,
        reason: str | None = None,
        characteristic: str | None = None,
        lot_id: str | None = None,
        equipment: str | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that an alert of `quality.alerts` was raised to people."""
        fields = {
            "subject": subject,
            "alert_id": alert_id,
            "severity": severity,
            "reason": reason,
            "characteristic": characteristic,
            "lot_id": lot_id,
            "equipment": equipment,
        }
        return self._emit("ALERT_RAISED", fields, context)

    def compliance_checked(
        self,
        subject: str,
        *,
        standard: str,
        passed: bool,
        reason: str | None = None,
        lot_id: str | None = None,
        operator: str | None = None,
        severity: Severity | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say how a check against a standard ended; unless given, severity is INFO if it passed, else CRITICAL."""
        fields = {
            "subject": subject,
            "standard": standard,
            "passed": passed,
            "severity": severity or ("INFO" if passed else "CRITICAL"),
            "reason": reason,
            "lot_id": lot_id,
            "operator": operator,
        }
        return self._emit("COMPLIANCE_CHECKED", fields, context)

    def capability_assessed(
        self,
        subject: str,
        *,
        metric: str,
        value: float,
        threshold: float,
        characteristic: str | None = None,
        equipment: str | None = None,
        severity: Severity | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say how capable a process is (Cpk, Ppk …); it passes at or above the threshold, else severity is WARNING."""
        passed = value >= threshold
        fields = {
            "subject": subject,
            "metric": metric,
            "value": value,
            "threshold": threshold,
            "passed": passed,
            "severity": severity or ("INFO" if passed else "WARNING"),
            "characteristic": characteristic,
            "equipment": equipment,
        }
        return self._emit("CAPABILITY_ASSESSED", fields, context)

    def lot_held(
        self,
        lot_id: str,
        *,
        reason: str,
        operator: str | None = None,
        alert_id: str | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that quality stopped a lot; the lot is the subject."""
        fields = {
            "subject": lot_id,
            "lot_id": lot_id,
            "reason": reason,
            "operator": operator,
            "alert_id": alert_id,
            "severity": "CRITICAL",
        }
        return self._emit("LOT_HELD", fields, context)

    def lot_released(
        self,
        lot_id: str,
        *,
        operator: str,
        reason: str | None = None,
        alert_id: str | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that a lot may go on, and who decided so; the lot is the subject."""
        fields = {
            "subject": lot_id,
            "lot_id": lot_id,
            "reason": reason,
            "operator": operator,
            "alert_id": alert_id,
            "severity": "INFO",
        }
        return self._emit("LOT_RELEASED", fields, context)
