"""Manufacturing events: the milestones of lots, batches and steps. Key: the lot, so that a lot's events keep their order."""

from __future__ import annotations

from actors.kafka.delivery import Delivery
from actors.producers.category import NO_CONTEXT, CategoryPublisher, Context
from schemas.topics import MANUFACTURING


class ManufacturingPublisher(CategoryPublisher):
    """Publishes to `fab.manufacturing`. Every method returns the event's Delivery; see `Publisher.publish` for errors."""

    topic = MANUFACTURING
    record = "manufacturing"

    def lot_created(
        self,
        lot_id: str,
        *,
        product: str | None = None,
        route: str | None = None,
        wafer_count: int | None = None,
        operator: str | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that a lot exists: what it becomes, the flow it follows, how many wafers it has."""
        fields = {
            "lot_id": lot_id,
            "product": product,
            "route": route,
            "wafer_count": wafer_count,
            "operator": operator,
        }
        return self._emit("LOT_CREATED", fields, context)

    def lot_started(self, lot_id: str, *, operator: str | None = None, context: Context = NO_CONTEXT) -> Delivery:
        """Say that processing of a lot has begun."""
        return self._emit("LOT_STARTED", {"lot_id": lot_id, "operator": operator}, context)

    def lot_completed(
        self,
        lot_id: str,
        *,
        wafer_count: int | None = None,
        operator: str | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that a lot has gone through its route; `wafer_count` is what came out."""
        fields = {"lot_id": lot_id, "wafer_count": wafer_count, "operator": operator}
        return self._emit("LOT_COMPLETED", fields, context)

    def lot_on_hold(
        self,
        lot_id: str,
        *,
        reason: str,
        operation: str | None = None,
        operator: str | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that a lot waits, where and why."""
        fields = {"lot_id": lot_id, "reason": reason, "operation": operation, "operator": operator}
        return self._emit("LOT_ON_HOLD", fields, context)

    def batch_created(
        self,
        lot_id: str,
        *,
        batch_id: str,
        equipment: str | None = None,
        recipe: str | None = None,
        wafer_count: int | None = None,
        operator: str | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that a lot joined a batch: what one run of a tool processes together."""
        fields = {
            "lot_id": lot_id,
            "batch_id": batch_id,
            "equipment": equipment,
            "recipe": recipe,
            "wafer_count": wafer_count,
            "operator": operator,
        }
        return self._emit("BATCH_CREATED", fields, context)

    def step_started(
        self,
        lot_id: str,
        *,
        operation: str,
        equipment: str,
        chamber: str | None = None,
        recipe: str | None = None,
        batch_id: str | None = None,
        operator: str | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that a lot's operation has begun, on which tool."""
        fields = {
            "lot_id": lot_id,
            "operation": operation,
            "equipment": equipment,
            "chamber": chamber,
            "recipe": recipe,
            "batch_id": batch_id,
            "operator": operator,
        }
        return self._emit("STEP_STARTED", fields, context)

    def step_completed(
        self,
        lot_id: str,
        *,
        operation: str,
        equipment: str,
        chamber: str | None = None,
        recipe: str | None = None,
        batch_id: str | None = None,
        wafer_count: int | None = None,
        operator: str | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that a lot's operation has ended; `wafer_count` is what came out of it."""
        fields = {
            "lot_id": lot_id,
            "operation": operation,
            "equipment": equipment,
            "chamber": chamber,
            "recipe": recipe,
            "batch_id": batch_id,
            "wafer_count": wafer_count,
            "operator": operator,
        }
        return self._emit("STEP_COMPLETED", fields, context)

    def milestone_reached(
        self, lot_id: str, *, milestone: str, operation: str | None = None, context: Context = NO_CONTEXT
    ) -> Delivery:
        """Say that a lot has passed a named point of its route, e.g. FEOL_DONE."""
        fields = {"lot_id": lot_id, "milestone": milestone, "operation": operation}
        return self._emit("MILESTONE_REACHED", fields, context)
