"""Detectors from the configuration, and the command that lists them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from actors.engine.judge import Assignment
from actors.errors import ConfigError
from actors.pipeline import Vector
from cluster.cli import app
from cluster.config import DetectorConfig, load
from cluster.detectors import families_of, judging_of
from models.builtin import FAMILIES
from models.catalogue import BUILTIN
from models.cusum import Cusum
from models.ewma import Ewma
from models.mmd import mmd_reference
from models.pca import PcaChart
from models.pca_fit import fit_pca


def families(*wanted: dict[str, Any]) -> dict[str, tuple[Assignment, ...]]:
    return dict(families_of("pipeline.detectors", [DetectorConfig(**each) for each in wanted], 50))


def test_nothing_configured_is_the_built_in_set() -> None:
    found = families_of("pipeline.detectors", None, 50)
    assert {family: [each.detector for each in each_of] for family, each_of in found.items()} == {
        family: list(make(50)) for family, make in FAMILIES.items()
    }
    assert load().pipeline.detectors is None


def test_detectors_are_configured_by_name_with_parameters_and_series() -> None:
    found = families(
        {"detector": "spc.ewma", "parameters": {"weight": 0.1}, "series": "*|CD"},
        {"detector": "spc.cusum", "series": ["*|CD", "ETCH*"]},
        {"detector": "spc.cusum", "parameters": {"k": 0.25}, "label": "slow"},
        {"detector": "anomaly.robust_z"},
    )
    assert found["spc"] == (
        Assignment(Ewma(weight=0.1), ("*|CD",)),
        Assignment(Cusum(), ("*|CD", "ETCH*")),
        Assignment(Cusum(k=0.25), ("*",), "slow"),
    )
    assert list(found) == ["spc", "anomaly"]


def test_the_environment_and_a_file_can_say_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHIPQUALITY_PIPELINE__DETECTORS", '[{"detector": "spc.ewma", "parameters": {"weight": 0.3}}]')
    assert load().pipeline.detectors == [DetectorConfig(detector="spc.ewma", parameters={"weight": 0.3})]
    monkeypatch.delenv("CHIPQUALITY_PIPELINE__DETECTORS")
    file = tmp_path / "settings.yaml"
    file.write_text("pipeline:\n  detectors:\n    - {detector: spc.cusum, series: 'A*', parameters: {k: 0.25}}\n")
    monkeypatch.setenv("CHIPQUALITY_CONFIG", str(file))
    assert load().pipeline.detectors == [DetectorConfig(detector="spc.cusum", series="A*", parameters={"k": 0.25})]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ([{"detector": "spc.nothing"}], r"pipeline.detectors\[0\]: no detector 'spc.nothing'"),
        (
            [{"detector": "spc.ewma"}, {"detector": "spc.ewma", "parameters": {"weight": 0}}],
            r"\[1\]: spc.ewma: weight = 0",
        ),
        (
            [{"detector": "spc.ewma", "parameters": {"weight": "abc"}}],
            r"\[0\]: spc.ewma: weight = 'abc': a number is wanted",
        ),
        ([{"detector": "spc.ewma"}, {"detector": "spc.ewma"}], "pipeline.detectors: detector spc.ewma@.* stands twice"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(wanted: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        families(*wanted)


MODEL = fit_pca(np.random.default_rng(3).normal(size=(60, 3)), components=1, names=["a", "b", "c"])


def test_vectors_are_judged_by_the_characteristics_of_their_model(tmp_path: Path) -> None:
    path = str(MODEL.save(tmp_path / "model.npz"))
    wanted = {"detector": "multivariate.pca", "parameters": {"model": path}}
    found = judging_of(load(vectors={"vector": "trace", "detectors": [wanted]}))
    assert found.vector == Vector("trace", ("a", "b", "c"))
    assert found.vectors == {"multivariate": (Assignment(PcaChart(MODEL)),)}
    assert judging_of(load()).vector is None


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ([], "got 0 kinds"),
        ([{"detector": "spc.ewma"}], "spc.ewma does not judge vectors"),
        ([{"detector": "multivariate.pca"}], "multivariate.pca needs model"),
        ([{"detector": "multivariate.pca", "parameters": {"model": "/no/such.npz"}}], "model = '/no/such.npz'"),
    ],
)
def test_a_pipeline_of_vectors_needs_models(wanted: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        judging_of(load(vectors={"vector": "trace", "detectors": wanted}))


def test_models_of_a_pipeline_have_the_same_characteristics(tmp_path: Path) -> None:
    other = fit_pca(np.random.default_rng(3).normal(size=(60, 3)), components=1, names=["a", "c", "b"])
    paths = [str(model.save(tmp_path / f"{i}.npz")) for i, model in enumerate((MODEL, other))]
    wanted = [{"detector": "multivariate.pca", "parameters": {"model": path}, "label": path} for path in paths]
    with pytest.raises(ConfigError, match="got 2 kinds"):
        judging_of(load(vectors={"vector": "trace", "detectors": wanted}))


def reference(tmp_path: Path, characteristics: int) -> str:
    """Save a reference of `drift.mmd`, and return where."""
    rows = np.random.default_rng(3).normal(size=(20, characteristics))
    return str(mmd_reference(rows).save(tmp_path / f"{characteristics}.npz"))


def test_state_of_a_series_that_does_not_fit_a_page_is_refused(tmp_path: Path) -> None:
    def mmd(characteristics: int, window: int) -> dict[str, tuple[Assignment, ...]]:
        parameters = {"reference": reference(tmp_path, characteristics), "window": window}
        return families({"detector": "drift.mmd", "parameters": parameters})

    says = (
        r"^pipeline.detectors: drift.mmd@1-\w+: a series takes 262,416 bytes of state, 262,400 of them in column window "
        r"\(100, 328\); the limit is 262,144 \(SERIES_BYTES_MAX\): choose .* a shorter window, or fewer characteristics"
    )
    with pytest.raises(ConfigError, match=says):
        mmd(328, window=100)
    assert list(mmd(328, window=99)) == list(mmd(327, window=100)) == ["drift"]


def test_config_refuses_detectors_of_vectors_where_single_values_are_judged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = [{"detector": "drift.mmd", "parameters": {"reference": reference(tmp_path, 3)}}]
    monkeypatch.setenv("CHIPQUALITY_PIPELINE__DETECTORS", json.dumps(wanted))
    result = CliRunner().invoke(app, ["config"])
    assert isinstance(result.exception, ConfigError)
    assert "drift.mmd" in str(result.exception)
    assert "judges vectors: it belongs to vectors.detectors" in str(result.exception)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["detectors", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_lists_every_detector() -> None:
    assert [line.split()[0] for line in run("list").splitlines()] == list(BUILTIN)
    listed = json.loads(run("list", "--output", "json"))
    assert listed[0]["family"] == "spc"
    assert all(detector["doc"] for detector in listed)


def test_the_command_shows_one_with_its_parameters() -> None:
    text = run("show", "spc.ewma")
    assert text.startswith("spc.ewma: models.ewma.Ewma\n")
    assert "  weight = 0.2" in text
    assert text.rstrip().endswith('- {detector: spc.ewma, series: "*", parameters: {weight: 0.2}}')
    assert "  vectors:" in run("show", "multivariate.pca")
    said = json.loads(run("show", "spc.individuals", "-o", "json"))
    assert {"name": "nelson", "default": [1, 2, 3, 4, 5, 6, 7, 8], "required": False} in said["parameters"]
    result = CliRunner().invoke(app, ["detectors", "show", "spc.nothing"])
    assert isinstance(result.exception, ConfigError)


def test_config_refuses_detectors_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPQUALITY_PIPELINE__DETECTORS", '[{"detector": "spc.ewma", "parameters": {"weight": 2}}]')
    result = CliRunner().invoke(app, ["config"])
    assert isinstance(result.exception, ConfigError)
    assert "weight = 2" in str(result.exception)


@pytest.mark.parametrize("setting", ["pipeline.detectors", "vectors.detectors"])
def test_config_refuses_detectors_that_keep_too_much(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str
) -> None:
    wanted = [{"detector": "drift.mmd", "parameters": {"reference": reference(tmp_path, 328)}}]
    section, _, name = setting.upper().partition(".")
    monkeypatch.setenv(f"CHIPQUALITY_{section}__{name}", json.dumps(wanted))
    monkeypatch.setenv("CHIPQUALITY_VECTORS__VECTOR", "trace")
    result = CliRunner().invoke(app, ["config"])
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith(f"{setting}: drift.mmd@")
    assert "the limit is 262,144" in str(result.exception)
