"""The view's numbers as Ray metrics, so that they stand beside Ray's own on its Prometheus endpoint."""

from __future__ import annotations

from typing import Any

from ray.util.metrics import Gauge

# name → (what it says, how to read it from a summary)
_SAID = {
    "chipquality_rows_judged": "Rows with a value that the view has seen judged",
    "chipquality_rows_missing": "Rows without a value",
    "chipquality_rows_duplicated": "Rows seen twice under read_committed; anything but 0 is a fault",
    "chipquality_rows_per_second": "Rows per second over the last 10 s",
    "chipquality_alerts_open": "Open alerts",
    "chipquality_dead_letters": "Records in the dead-letter topics",
    "chipquality_latency_p95_ms": "Producer's clock to a read_committed reader, 95th percentile of the last 10 s",
}


class ViewGauges:
    """Gauges of one pipeline."""

    def __init__(self, pipeline: str) -> None:
        self._gauges = {name: Gauge(name, said, ("pipeline",)) for name, said in _SAID.items()}
        for gauge in self._gauges.values():
            gauge.set_default_tags({"pipeline": pipeline})

    def set(self, summary: dict[str, Any]) -> None:
        """Report a summary of the board."""
        said = {
            "chipquality_rows_judged": summary["judged"],
            "chipquality_rows_missing": summary["missing"],
            "chipquality_rows_duplicated": summary["duplicated"],
            "chipquality_rows_per_second": summary["rows_per_s"],
            "chipquality_alerts_open": summary["alerts"]["open"],
            "chipquality_dead_letters": summary["dead_letters"]["total"],
            "chipquality_latency_p95_ms": summary["latency_ms"]["p95"],
        }
        for name, value in said.items():
            if value is not None:
                self._gauges[name].set(value)
