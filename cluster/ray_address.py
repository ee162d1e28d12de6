"""Connecting this process to Ray: how a cluster of ours is set, which one is meant, and our signal handlers."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray._private import parameter, services
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray.job_submission import JobSubmissionClient

from actors.errors import ConfigError
from actors.names import NAMESPACE
from cluster.config import Config

CONNECT_TIMEOUT_S = 5.0
ADDRESS_FILE = "ray-address"  # in `local.directory`

RAY_SETTINGS = {  # in the environment of the processes that start a node
    "RAY_worker_niceness": "0",  # Ray's default of 15 starves owners beside a busy broker: seconds of latency instead of ms
    # a dead node is noticed in 2.5 s instead of 15
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "4",
}


@contextmanager
def own_signal_handlers() -> Iterator[None]:
    """Put our handlers back afterwards: `ray.init` sets one for SIGTERM that exits with 15, in the middle of whatever runs."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def agent_on_a_free_port() -> Iterator[None]:
    """Let the agent of a node that `ray.init` starts meanwhile listen on any free port.

    Submitted jobs go through that agent. `ray.init` has it listen on 52365 and has no argument for another port: of two Rays on
    a machine, or one started right after another was killed, the second has an agent that cannot listen, and takes no jobs.
    """
    usual = parameter.RayParams
    parameter.RayParams = partial(usual, dashboard_agent_listen_port=0)  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        parameter.RayParams = usual  # type: ignore[misc]


@contextmanager
def told_in(directory: Path, address: str) -> Iterator[None]:
    """Let commands with the same `local.directory` know the Ray that we have started, as long as it runs."""
    file = directory / ADDRESS_FILE
    directory.mkdir(parents=True, exist_ok=True)
    file.write_text(address)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def ray_of(
    config: Config, address: str | None = None, running: Callable[[], set[str]] = services.find_gcs_addresses
) -> str:
    """Return the address of the Ray that a command means: the one given, else `ray.address`, else the one that runs here.

    Here: the one that was started with the same `local.directory`, else RAY_ADDRESS, else the only one of this machine. Raises
    ConfigError if there is none or more than one: Ray's own "auto" takes any of them.
    """
    given = address or config.ray.address or "auto"
    if given != "auto":
        return given
    file = config.local.directory / ADDRESS_FILE
    if file.exists() and _listens(file.read_text()):
        return file.read_text()
    if os.environ.get("RAY_ADDRESS"):
        return os.environ["RAY_ADDRESS"]
    found = sorted(running())
    if len(found) != 1:
        several = f"more than one runs: {', '.join(found)}" if found else "none runs"
        raise ConfigError(f"no Ray cluster is given (ray.address, --address), and on this machine {several}")
    return found[0]


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def connect(config: Config, address: str | None = None) -> None:
    """Connect this process, if it is not yet, to the Ray that a command means. Raises ConfigError."""
    if not ray.is_initialized():
        connect_ray(ray_of(config, address))


def jobs_of(config: Config, address: str | None = None) -> Any:
    """Return a client of Ray's Jobs API for the Ray that a command means. Raises ConfigError, in one line."""
    where = ray_of(config, address)
    host, _, port = where.removeprefix("ray://").removeprefix("http://").removeprefix("https://").rpartition(":")
    try:
        if host and port.isdigit():
            socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S).close()
        _by_token()
        return JobSubmissionClient(where)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"Ray's Jobs API does not answer at {where}: {' '.join(str(error).split())[:300]}") from error


def _by_token() -> None:
    """Send the token that we have. That it is sent, and that Ray is there, is no news."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def connect_ray(address: str) -> None:
    """Connect this process to the Ray cluster at "host:port" or "ray://…" (see `ray_of`). Raises ConfigError, in one line.

    Ray itself waits for minutes at an address where nobody listens, so host and port are tried first. Ray guards clusters by a
    token unless told otherwise, but a client sends the one it has (`~/.ray/auth_token`) only in token mode.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if host and port.isdigit():
            socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S).close()
        _by_token()
        ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
            ignore_reinit_error=True,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"no Ray cluster at {address} (ray.address): {error}") from error
