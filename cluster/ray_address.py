"""Connecting this process to Ray: how a cluster of ours is set, one that is there already, and our signal handlers."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

from actors.errors import ConfigError
from actors.names import NAMESPACE

CONNECT_TIMEOUT_S = 5.0

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


def connect_ray(address: str) -> None:
    """Connect this process to the Ray cluster at "auto", "host:port" or "ray://…". Raises ConfigError, in one line.

    Ray itself waits for minutes at an address where nobody listens, so host and port are tried first. Ray guards clusters by a
    token unless told otherwise, but a client sends the one it has (`~/.ray/auth_token`) only in token mode.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if host and port.isdigit():
            socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S).close()
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, ignore_reinit_error=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"no Ray cluster at {address} (ray.address): {error}") from error
