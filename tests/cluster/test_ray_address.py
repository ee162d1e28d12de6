"""Which Ray a command means: never any that happens to run on the machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.errors import ConfigError
from cluster.config import Config
from cluster.ray_address import ADDRESS_FILE, ray_of, told_in

pytestmark = pytest.mark.processes  # it asks who listens on a port


@pytest.fixture
def listener() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    usual = Config()
    return usual.model_copy(update={"local": usual.local.model_copy(update={"directory": tmp_path / "new"})})


def running(*addresses: str) -> set[str]:
    return set(addresses)


def test_what_is_given_is_meant(config: Config) -> None:
    assert ray_of(config, "ray://head:10001", running) == "ray://head:10001"
    own = config.model_copy(update={"ray": config.ray.model_copy(update={"address": "head:6379"})})
    assert ray_of(own, None, running) == "head:6379"
    assert ray_of(own, "other:6379", running) == "other:6379"


def test_the_one_started_with_the_same_folder_comes_before_others(config: Config, listener: str) -> None:
    with told_in(config.local.directory, listener):
        assert ray_of(config, None, lambda: running("127.0.0.1:1", "127.0.0.1:2")) == listener
        assert ray_of(config, "auto", lambda: running("127.0.0.1:1", "127.0.0.1:2")) == listener
    assert not (config.local.directory / ADDRESS_FILE).exists()


def test_one_that_was_killed_and_could_not_say_so_is_passed_over(config: Config) -> None:
    config.local.directory.mkdir()
    (config.local.directory / ADDRESS_FILE).write_text("127.0.0.1:1")
    assert ray_of(config, None, lambda: running("127.0.0.1:2")) == "127.0.0.1:2"


def test_ray_s_own_variable_is_obeyed(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert ray_of(config, None, lambda: running("127.0.0.1:2")) == "head:6379"


@pytest.mark.parametrize(
    ("addresses", "said"),
    [((), "none runs"), (("127.0.0.1:2", "127.0.0.1:1"), "more than one runs: 127.0.0.1:1, 127.0.0.1:2")],
)
def test_any_other_number_than_one_is_one_clear_line(config: Config, addresses: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=f"no Ray cluster is given .*{said}"):
        ray_of(config, None, lambda: running(*addresses))
