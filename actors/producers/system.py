"""System events: health, performance and errors of services. Key: the service."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from actors.kafka.delivery import Delivery
from actors.producers.category import NO_CONTEXT, CategoryPublisher, Context
from schemas.topics import SYSTEM

Health = Literal["UP", "DEGRADED", "DOWN"]
ErrorSeverity = Literal["WARNING", "ERROR", "FATAL"]


@dataclass(frozen=True, slots=True)
class Service:
    """Which service reports: its name, the process or host if there are several, its version if known."""

    name: str
    instance: str | None = None
    version: str | None = None


class SystemPublisher(CategoryPublisher):
    """Publishes to `fab.system`. Every method returns the event's Delivery; see `Publisher.publish` for errors."""

    topic = SYSTEM
    record = "system"

    def started(self, service: Service, *, message: str | None = None, context: Context = NO_CONTEXT) -> Delivery:
        """Say that a service has started."""
        return self._service("SERVICE_STARTED", service, {"status": "UP", "message": message}, context)

    def stopped(self, service: Service, *, message: str | None = None, context: Context = NO_CONTEXT) -> Delivery:
        """Say that a service has stopped, of itself or by a person."""
        return self._service("SERVICE_STOPPED", service, {"status": "DOWN", "message": message}, context)

    def health(
        self, service: Service, status: Health, *, message: str | None = None, context: Context = NO_CONTEXT
    ) -> Delivery:
        """Say how a service is."""
        return self._service("SERVICE_HEALTH", service, {"status": status, "message": message}, context)

    def performance(
        self,
        service: Service,
        *,
        metric: str,
        value: float,
        unit: str | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say one measured quantity of a service; the metric's name has its unit last, e.g. step_ms."""
        fields = {"metric": metric, "value": value, "unit": unit}
        return self._service("PERFORMANCE_METRIC", service, fields, context)

    def error(
        self,
        service: Service,
        error: BaseException,
        *,
        severity: ErrorSeverity = "ERROR",
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that an exception was raised: its class, its words, its traceback."""
        fields = {
            "severity": severity,
            "error_type": type(error).__qualname__,
            "message": str(error),
            "stack_trace": "".join(traceback.format_exception(error)),
        }
        return self._service("ERROR_RAISED", service, fields, context)

    def _service(self, event_type: str, service: Service, fields: Mapping[str, Any], context: Context) -> Delivery:
        named = {"service": service.name, "instance": service.instance, "version": service.version}
        return self._emit(event_type, {**named, **fields}, context)
