"""docs/charts.md: its pictures are drawn, its tables are computed, its commands run, its names are there."""

from __future__ import annotations

import re
import runpy
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/charts.md").read_text()


@pytest.fixture(scope="module")
def draw() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs/draw.py"))


@pytest.mark.slow
@pytest.mark.compiled_only
def test_every_picture_can_be_drawn_and_is_on_the_page(draw: dict[str, Any], tmp_path: Path) -> None:
    files = draw["draw"](tmp_path / "charts")
    assert {f"charts/{file.name}" for file in files} == set(re.findall(r"!\[.*?\]\((.*?)\)", PAGE))
    for file in files:
        fresh, shown = imread(file), imread(ROOT / "docs/charts" / file.name)
        assert fresh.shape == shown.shape
        assert fresh.std() > 0.01  # something is on it


@pytest.mark.slow
@pytest.mark.compiled_only
def test_tables_are_what_the_program_computes(draw: dict[str, Any]) -> None:
    assert set(re.findall(r"<!-- table: (.*?) -->", PAGE)) == set(draw["TABLES"])
    assert draw["filled"](PAGE) == PAGE


@pytest.mark.slow
def test_commands_run() -> None:
    from typer.testing import CliRunner

    from cluster.cli import app

    commands = [shlex.split(line)[1:] for line in re.findall(r"^chipquality .*$", PAGE, flags=re.MULTILINE)]
    assert len(commands) >= 6
    for command in commands:
        assert CliRunner().invoke(app, command).exit_code == 0, command


def test_functions_named_with_their_module_are_there() -> None:
    named = re.findall(r"`(models\.[a-z_]+)\.([A-Za-z_0-9]+)", PAGE)
    assert len(named) >= 20
    for module, name in named:
        assert hasattr(import_module(module), name), (module, name)


def test_classes_named_with_a_detector_are_that_detector() -> None:
    from models.catalogue import BUILTIN

    named = re.findall(r"`([a-z]+\.[a-z0-9_]+)` \(`([A-Z][A-Za-z0-9]+)", PAGE)
    assert len(named) >= 12
    for name, class_name in named:
        entry = BUILTIN.get(name)
        if entry is not None:
            assert (name, class_name) == (name, entry.class_name)
            assert hasattr(import_module(entry.module), class_name)


def test_every_detector_is_on_the_page() -> None:
    from models.catalogue import BUILTIN

    assert [name for name in BUILTIN if f"`{name}`" not in PAGE] == []
