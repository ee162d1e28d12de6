"""Training on vectors of a real broker: which rows and columns, and what the artefact says of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.kafka.client import Cluster
from actors.packages.store import PackageStore
from actors.producers.category import Context
from actors.producers.measurement import MeasurementPublisher
from actors.producers.publisher import Publisher
from cluster.jobs.kinds.train import run_train
from cluster.jobs.run import Run, State, Trigger
from cluster.jobs.stage import Stage
from cluster.local import Endpoints
from cluster.operations.errors import Invalid
from schemas.registry import Registry
from schemas.topics import VECTORS
from tests.fixtures_stack import prepared

DUE = 1_780_000_000_000
NAMES = ["f1", "f2", "g1"]


class Desk:
    """What a run says, kept here."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def note(self, submission_id: str, notes: Mapping[str, Any]) -> None:
        pass

    def swap(self, submission_id: str, made: Mapping[str, Any], keep: int) -> Run:
        return self.run

    def tell(self, submission_id: str, done: int, of: int, what: str) -> None:
        pass


def test_loadings_are_fitted_to_the_rows_and_columns_that_are_meant(stack: Endpoints, tmp_path: Path) -> None:
    prepared(stack)
    cluster = Cluster(stack.bootstrap_servers, stack.registry_url)
    vector = f"trace-{tmp_path.parent.name}-{tmp_path.name}"
    rows = np.random.default_rng(1).normal(10, 1, (40, 3))
    with Publisher(cluster.bootstrap_servers, Registry(cluster.registry_url)) as publisher:
        publish = MeasurementPublisher(publisher).vector_measured
        for n, row in enumerate(rows):
            at = DUE - (40 - n) * 1000
            publish(
                equipment="E1",
                vector=vector,
                characteristics=NAMES,
                values=row.tolist(),
                context=Context(timestamp_ms=at),
            )
    store = PackageStore(str(tmp_path))

    def trained(**asked: Any) -> Any:
        run = Run(
            "pca", DUE, 1, Trigger.schedule, "train", {"vector": vector, **asked}, "ada", State.running, attempt=1
        )
        outcome = run_train(Stage(cluster, "quality", store.url, run, Desk(run)))
        return store.get_artefact(outcome.result["artefact"]), outcome.result

    model, result = trained(model="pca", columns=["f*", "g1"], rows=30, parameters={"components": 1})
    assert (model.kind, model.facts["names"], model.facts["rows"], result["rows"]) == ("pca", NAMES, 30, 30)
    assert model.facts["source"] == f"{VECTORS}/{vector}"
    assert (model.facts["first_time_ms"], model.facts["last_time_ms"]) == (DUE - 30_000, DUE - 1000)
    assert result["scores"]["explained"] == model.facts["explained"]
    two, _ = trained(model="covariance", columns=["f*"], last_s=20)
    assert (two.facts["names"], two.facts["first_time_ms"]) == (["f1", "f2"], DUE - 20_000)
    with pytest.raises(Invalid, match="nothing of vector"):
        trained(model="pca", columns=["z"])
