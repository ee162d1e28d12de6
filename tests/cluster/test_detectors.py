"""Detectors from the configuration, and the command that lists them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.engine.judge import Assignment
from actors.errors import ConfigError
from cluster.cli import app
from cluster.config import DetectorConfig, load
from cluster.detectors import families_of
from models.builtin import FAMILIES
from models.catalogue import BUILTIN
from models.cusum import Cusum
from models.ewma import Ewma


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
        ([{"detector": "spc.ewma"}, {"detector": "spc.ewma"}], "pipeline.detectors: detector spc.ewma@.* stands twice"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(wanted: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        families(*wanted)


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
    assert "  weight = 0.2" in text
    said = json.loads(run("show", "spc.individuals", "-o", "json"))
    assert {"name": "nelson", "default": [1, 2, 3, 4, 5, 6, 7, 8], "required": False} in said["parameters"]
    result = CliRunner().invoke(app, ["detectors", "show", "spc.nothing"])
    assert isinstance(result.exception, ConfigError)
