"""Pure tests may not touch the network or start Ray; the others say by a fixture or a mark what they need."""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import ray
from hypothesis import settings

# How long an example takes says nothing here: pure tests get what processor time the others leave, and run interpreted too.
settings.register_profile("chipquality", deadline=None)
settings.load_profile("chipquality")

# A shell that runs the tests in the background has them ignore Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# for the start of Python, and for an environment of their own: not for doctest
collect_ignore = ["site", "bench/peers"]
pytest_plugins = ["tests.fixtures_stack", "tests.fixtures_ray"]

_MARK_OF_FIXTURE = {"stack": "kafka", "ray_cluster": "ray", "page": "browser"}
WITH_KERNELS = ("schemas", "models", "actors/engine", "tests/schemas", "tests/models", "tests/actors/engine")
_EFFECTS = frozenset({"kafka", "ray", "browser", "processes"})


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without the garbage collector: thousands of items are made and stay, and it would look at each again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark every test by the fixtures it uses, and those that tests/run.sh runs twice."""
    for item in items:
        for fixture, mark in _MARK_OF_FIXTURE.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(mark)
        where = item.path.relative_to(config.rootpath)
        marks = {mark.name for mark in item.iter_markers()}
        if any(where.is_relative_to(folder) for folder in WITH_KERNELS) and not marks & {*_EFFECTS, "compiled_only"}:
            item.add_marker("twice")


def _refuse(*_: object, **__: object) -> None:
    raise RuntimeError("a pure test touched the network or Ray: it must say so by a fixture or a mark")


@pytest.fixture(autouse=True)
def _pure(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not any(request.node.get_closest_marker(mark) for mark in _EFFECTS):
        monkeypatch.setattr(ray, "init", _refuse)
        monkeypatch.setattr(socket.socket, "connect", _refuse)


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Settings of whoever runs the tests must not change them."""
    import os

    for name in list(os.environ):
        if name.startswith("CHIPQUALITY_") and not name.startswith("CHIPQUALITY_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CHIPQUALITY_LOCAL__DIRECTORY", str(tmp_path / "chipquality"))
    return
