"""`chipquality detector`: what `new` writes passes its own tests and the examination; what `check` says, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.errors import ConfigError
from actors.packages import read_package
from actors.packages.examined import Check, Examined, Failure
from cluster import cli
from cluster.commands.detector_text import examined_lines
from cluster.config import load
from cluster.local.stack import Endpoints
from cluster.operations.bounds import EARLIEST, LATEST, Bound
from cluster.packages import read_stretch, spans_of, store_of
from cluster.project import module_of, new_project
from tests.actors.packages import made
from tests.integration.line import TestLine

ROOT = Path(__file__).parents[2]
runner = CliRunner()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.processes
def test_a_new_project_passes_its_own_tests_and_the_examination(tmp_path: Path) -> None:
    said = runner.invoke(cli.app, ["detector", "new", "edge-roughness", "--dir", str(tmp_path)])
    assert said.exit_code == 0, said.output
    project = tmp_path / "edge-roughness"
    assert f"next: cd {project}; python -m pytest; chipquality detector check ." in said.output
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project, env=env, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert tests.returncode == 0, tests.stdout
    assert "14 passed" in tests.stdout
    again = runner.invoke(cli.app, ["detector", "new", "edge-roughness", "--dir", str(tmp_path)])
    assert isinstance(again.exception, ConfigError)
    assert "is there already: take another name, or --dir" in str(again.exception)

    rows = ["--rows", str(project / "data" / "sample.csv"), "--parameters", '{"limit": 3.5}']
    checked = runner.invoke(cli.app, ["detector", "check", str(project), *rows, "--load-s", "60"])
    assert checked.exit_code == 0, checked.output
    assert checked.output.splitlines()[-1] == "it can be deployed"
    for line in (
        "identity   mine.edge_roughness@1-",
        "ok   batch cuts",
        "batch cuts exact: how a log is cut into batches changes nothing",
        "recorded   240 rows of 2 series: 236 judged, 32 with a signal",
        "e.g. wide: ETCH-02|A|POLY|4200|CD_WIDTH at 0:163",
    ):
        assert line in checked.output


@pytest.mark.processes
def test_what_cannot_be_deployed_is_told_and_exit_code_1(tmp_path: Path) -> None:
    project = made.project(tmp_path / "p", made.RAISES_IN_CONSTRUCTOR)
    said = runner.invoke(cli.app, ["detector", "check", str(project)])
    assert said.exit_code == 1
    assert "__post_init__" in said.output
    assert said.output.splitlines()[-1] == (
        "it cannot be deployed: load: above_all:Above cannot be made: RuntimeError: no data file"
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--parameters", "no"], "--parameters 'no': no JSON"),
        (["--parameters", "[]"], "names with values are wanted"),
        (["--rows", "a", "--topic", "b"], "--rows and --topic: one of them"),
        (["--rows", "/nowhere"], "--rows /nowhere: No such file"),
        (["--topic", "t", "--from", "yesterday"], "'yesterday' is no time"),
        ([], "no pyproject.toml, so it is no project"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], why: str) -> None:
    said = runner.invoke(cli.app, ["detector", "check", str(tmp_path), *arguments])
    assert isinstance(said.exception, ConfigError)
    assert why in str(said.exception)


@pytest.mark.parametrize("name", ["models", "json", "tests", "Capitals", "a__b", "../x", "a" * 50, "9lives"])
def test_names_that_a_project_cannot_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        new_project(name, tmp_path)
    assert module_of("a-b_c1") == "a_b_c1"


def test_a_new_project_is_a_package(tmp_path: Path) -> None:
    new_project("edge", tmp_path)
    package = read_package(tmp_path / "edge")
    assert (package.target, sorted(package.files)) == ("edge.detector:Edge", ["edge/__init__.py", "edge/detector.py"])


def test_the_store_is_where_the_configuration_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_of(load()).url == (tmp_path / "chipquality" / "detectors").as_uri()
    monkeypatch.setenv("CHIPQUALITY_DETECTORS__STORE", "memory://quality")
    assert store_of(load()).url == "memory://quality"


def test_lines_of_what_failed_early() -> None:
    found = Examined(
        "d", "x:Y", Failure("check identity", "why", "trace\nback"), (Check("identity", passed=False, what="why"),)
    )
    assert examined_lines(found) == [
        "package    d",
        "detector   x:Y",
        "NO   identity: why",
        "trace",
        "back",
        "it cannot be deployed: check identity: why",
    ]


def test_a_stretch_of_a_topic_is_tried(stack: Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = TestLine(stack)
    line.write_noise(50)
    spans = spans_of(line.cluster, line.input, EARLIEST, LATEST)
    assert {p: end - first for p, (first, end) in spans.items()} == {p: len(of) for p, of in line.written.items()}
    assert spans_of(line.cluster, line.input, Bound(offset=3), Bound(offset=5)) == {0: (3, 5), 1: (3, 5)}
    assert spans_of(line.cluster, line.input, Bound(time_ms=0), LATEST) == spans
    assert all(first == end for first, end in spans_of(line.cluster, line.input, Bound(time_ms=2**41), LATEST).values())
    for bad, why in (
        ({0: (3, 3)}, "nothing of .* is in that stretch"),
        (spans, "more than 10 rows are in that stretch"),
    ):
        with pytest.raises(ConfigError, match=why):
            read_stretch(line.cluster, line.input, bad, rows_max=10)
    with pytest.raises(ConfigError, match="there is no topic nowhere"):
        spans_of(line.cluster, "nowhere", EARLIEST, LATEST)

    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", stack.bootstrap_servers)
    monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", stack.registry_url)
    project = made.project(tmp_path / "p")
    arguments = ["check", str(project), "--topic", line.input, "--to", "40", "--output", "json", "--load-s", "60"]
    said = runner.invoke(cli.app, ["detector", *arguments])
    assert said.exit_code == 0, said.output
    stretch = json.loads(said.output)["stretch"]
    assert stretch["rows"] == sum(min(40, len(of)) for of in line.written.values())
    assert stretch["judged"] > 0
