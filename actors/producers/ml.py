"""ML events: inference, training, drift and deployment of models. Key: the model's name, over all its versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.kafka.delivery import Delivery
from actors.producers.category import NO_CONTEXT, CategoryPublisher, Context, check_unit_interval
from schemas.topics import ML


@dataclass(frozen=True, slots=True)
class Model:
    """Which model, and which version of it."""

    name: str
    version: str


class MlPublisher(CategoryPublisher):
    """Publishes to `fab.ml`. Every method returns the event's Delivery; see `Publisher.publish` for errors."""

    topic = ML
    record = "ml"

    def inference_completed(
        self,
        model: Model,
        *,
        subject: str,
        label: str | None = None,
        confidence: float | None = None,
        latency_ms: float | None = None,
        rows: int | None = None,
        scores: Mapping[str, float] | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say what a model judged of a chip, a lot or a series, how sure it is (0 to 1), and how long it took."""
        fields = {
            "subject": subject,
            "label": label,
            "confidence": confidence,
            "latency_ms": latency_ms,
            "rows": rows,
            "scores": dict(scores or {}),
        }
        return self._model("INFERENCE_COMPLETED", model, fields, context)

    def training_completed(
        self,
        model: Model,
        *,
        duration_s: float,
        rows: int,
        scores: Mapping[str, float],
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that a model was trained: how long, on how many rows, with which scores (auc, rmse …)."""
        fields = {"duration_s": duration_s, "rows": rows, "scores": dict(scores)}
        return self._model("TRAINING_COMPLETED", model, fields, context)

    def drift_detected(
        self,
        model: Model,
        *,
        statistic: float,
        threshold: float,
        feature: str | None = None,
        subject: str | None = None,
        rows: int | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Say that a distribution moved: of which feature (None: all together), by which statistic over which limit."""
        fields = {
            "statistic": statistic,
            "threshold": threshold,
            "feature": feature,
            "subject": subject,
            "rows": rows,
        }
        return self._model("DRIFT_DETECTED", model, fields, context)

    def model_deployed(self, model: Model, *, environment: str, context: Context = NO_CONTEXT) -> Delivery:
        """Say where a model was deployed to: shadow, canary, production."""
        return self._model("MODEL_DEPLOYED", model, {"environment": environment}, context)

    def _model(self, event_type: str, model: Model, fields: Mapping[str, Any], context: Context) -> Delivery:
        return self._emit(event_type, {"model": model.name, "model_version": model.version, **fields}, context)

    def _check(self, fields: Mapping[str, Any]) -> None:
        super()._check(fields)
        check_unit_interval("confidence", fields.get("confidence"))
