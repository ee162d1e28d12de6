"""Dependencies point one way, and only the modules that may do a thing do it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = {"schemas": 0, "models": 1, "actors": 2, "cluster": 3}
MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


@cache
def imported(path: Path) -> set[str]:
    """Return the dotted names that a module imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    layer = LAYERS[path.relative_to(ROOT).parts[0]]
    upward = [name for name in imported(path) if LAYERS.get(name.split(".")[0], -1) > layer]
    assert upward == []


def importers(package: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in MODULES if any(within(name, package) for name in imported(path))}


def test_only_actors_kafka_and_the_registry_import_confluent_kafka() -> None:
    assert {p for p in importers("confluent_kafka") if not p.startswith("actors/kafka/")} == {"schemas/registry.py"}


@pytest.mark.parametrize("package", ["ray", "confluent_kafka", "time", "random", "socket", "datetime", "actors.kafka"])
def test_the_engine_is_deterministic(package: str) -> None:
    assert [path for path in importers(package) if path.startswith("actors/engine/")] == []


@pytest.mark.parametrize("package", ["ray", "confluent_kafka", "time", "socket"])
def test_models_are_pure(package: str) -> None:
    assert [path for path in importers(package) if path.startswith("models/")] == []


def test_the_packages_are_ours() -> None:
    import actors
    import models
    import schemas

    assert [Path(next(iter(p.__path__))) for p in (schemas, models, actors)] == [
        ROOT / p for p in ("schemas", "models", "actors")
    ]
