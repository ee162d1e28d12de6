"""`chipquality fit`: artefacts from a file and from a topic, and clear errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from actors.errors import ConfigError
from actors.kafka.client import Cluster
from actors.kafka.vector_history import read_vectors
from actors.pipeline import Vector
from actors.producers import Publisher
from actors.producers.measurement import MeasurementPublisher
from cluster.cli import app
from cluster.config import load
from cluster.detectors import judging_of
from cluster.local.stack import Endpoints
from models.artefact import Artefact
from models.catalogue import make
from models.covariance import fit_covariance
from models.detector import dimension
from models.pca_fit import fit_pca
from schemas.registry import Registry
from schemas.topics import VECTORS
from tests.fixtures_stack import prepared

VALUES = np.random.default_rng(7).normal(size=(80, 4)) @ np.random.default_rng(8).normal(size=(4, 4))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    frame = pd.DataFrame(VALUES, columns=["f1", "f2", "f3", "g1"]).assign(lot="L1")
    path = tmp_path / "history.parquet"
    frame.to_parquet(path)
    frame.to_csv(path.with_suffix(".csv"), index=False)
    return path


def run(*arguments: Any) -> str:
    result = CliRunner().invoke(app, ["fit", *map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_pca_from_a_file(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.npz"
    said = json.loads(
        run("pca", out, "--from", file, "--columns", "f*", "--rows", "10:60", "--components", 1, "-o", "json")
    )
    model = Artefact.load(out)
    expected = fit_pca(VALUES[10:60, :3], components=1, names=["f1", "f2", "f3"])
    np.testing.assert_array_equal(model.arrays["loadings"], expected.arrays["loadings"])
    assert (said["digest"], said["kind"], said["path"]) == (model.digest, "pca", str(out))
    facts = model.facts
    assert (facts["names"], facts["source"], facts["first_row"], facts["end_row"]) == (
        ["f1", "f2", "f3"],
        "history.parquet",
        10,
        60,
    )


def test_covariance_from_csv_as_text(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.npz"
    said = run("covariance", out, "--from", file.with_suffix(".csv"), "--columns", "f1,g1", "--estimator", "successive")
    model = Artefact.load(out)
    expected = fit_covariance(VALUES[:, [0, 3]], estimator="successive")
    np.testing.assert_allclose(model.arrays["covariance"], expected.arrays["covariance"], rtol=1e-12)
    assert said.splitlines()[0] == f"{out}: covariance {model.digest}"
    assert '  names: ["f1", "g1"]' in said


@pytest.mark.slow
def test_trees_and_references_for_single_values_and_vectors(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.npz"
    run("isolation-forest", out, "--from", file, "--columns", "f1", "--seed", 3)
    made = make("anomaly.isolation_forest", {"model": str(out)})
    assert (dimension(made), Artefact.load(out).facts["names"]) == (None, ["f1"])
    run("isolation-forest", out, "--from", file, "--columns", "f*")
    assert dimension(make("anomaly.isolation_forest", {"model": str(out)})) == 3
    run("reference", out, "--from", file, "--columns", "g1", "--kind", "sample")
    np.testing.assert_array_equal(Artefact.load(out).arrays["values"], np.sort(VALUES[:, 3]))
    assert make("drift.ks", {"reference": str(out)}).name == "drift.ks"
    run("reference", out, "--from", file, "--columns", "f1,f2", "--kind", "mmd")
    wanted = {"detector": "drift.mmd", "parameters": {"reference": str(out)}}
    assert judging_of(load(vectors={"vector": "v", "detectors": [wanted]})).vector == Vector("v", ("f1", "f2"))
    with pytest.raises(ConfigError, match="from 2 to"):
        run("reference", out, "--from", file, "--columns", "f1,f2", "--kind", "sample")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "one of them"),
        (["--from", "x.parquet", "--vector", "v"], "one of them"),
        (["--from", "/no/such.parquet"], "/no/such.parquet: no such file"),
        (["--from", "FILE", "--columns", "z*"], "--columns z"),
        (["--from", "FILE", "--rows", "70:10"], "FIRST:END within the 80 rows"),
        (["--from", "FILE", "--rows", "all"], "FIRST:END"),
        (["--from", "FILE", "--components", "9"], "components"),
        (["--from", "FILE", "--limits", "guess"], "guess"),
    ],
)
def test_what_does_not_fit_is_said(options: list[str], says: str, file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        run("pca", tmp_path / "m.npz", *(str(file) if option == "FILE" else option for option in options))


def test_a_folder_that_is_not_there_is_said_before_anything_is_fitted(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no folder .*/nowhere"):
        run("pca", tmp_path / "nowhere" / "m.npz", "--from", file)


def test_from_the_lines_own_history(stack: Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(stack.bootstrap_servers, stack.registry_url)
    registry = Registry(stack.registry_url)
    prepared(stack)
    names = ["a", "b", "c"]
    vector = f"trace-{tmp_path.name}"
    with Publisher(stack.bootstrap_servers, registry) as publisher:
        publish = MeasurementPublisher(publisher).vector_measured
        sent = [
            publish(equipment="E1", vector=vector, characteristics=names, values=row.tolist())
            for row in VALUES[:30, :3]
        ]
        sent.append(publish(equipment="E1", vector=vector + "2", characteristics=["z"], values=[1.0]))
        sent.append(publish(equipment="E1", vector=vector, characteristics=names, values=[None, 1.0, 2.0]))
        sent.insert(0, publisher.send_raw(VECTORS, b"garbage", b"k"))
        for delivery in sent:
            delivery.result(20)
    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", stack.bootstrap_servers)
    monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", stack.registry_url)
    out = tmp_path / "model.npz"
    run("pca", out, "--vector", vector, "--components", 1)
    facts = Artefact.load(out).facts
    assert (facts["rows"], facts["names"], facts["source"], facts["left_out"]) == (31, names, f"{VECTORS}/{vector}", 0)
    with pytest.raises(ConfigError, match=f"no record of vector 'none'.* there are .*{vector}"):
        read_vectors(cluster, "fit-test", VECTORS, "none", registry.schema)
    with pytest.raises(ConfigError, match="there is no topic nowhere"):
        read_vectors(cluster, "fit-test", "nowhere", vector, registry.schema)
