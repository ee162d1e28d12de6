"""Asking the view actor, for commands that tell what the page shows. It runs in Ray, beside the API.

Exit codes of such commands: 0 done; 1 Ray, Kafka or the view does not answer; 2 refused, or there is no such thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from actors.errors import ReopenError
from actors.kafka.client import Cluster
from cluster.commands.carrying_out import connected, in_one_line
from cluster.config import Config

ANSWER_S = 20.0


class Seen:
    """What a command asks."""

    def __init__(self, config: Config, cluster: Cluster) -> None:
        self.config, self.cluster = config, cluster

    def view(self, method: str, *arguments: Any) -> Any:
        """Ask the view. Raises ReopenError if it does not run, RayError."""
        import ray

        from actors.calls import answer
        from actors.names import NAMESPACE

        name = f"view:{self.config.pipeline.name}"
        try:
            handle = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError as error:
            raise ReopenError(f"no actor {name} runs: `chipquality run` starts it") from error
        return answer(getattr(handle, method).remote(*arguments), ANSWER_S)

    def owners(self) -> dict[str, Any] | None:
        """Return what the pipeline's supervisor says; None if it does not run or does not answer."""
        import ray

        from actors import supervisor

        try:
            said: dict[str, Any] = supervisor.status(self.config.pipeline.name)
        except (ValueError, ray.exceptions.RayError):
            return None
        return said


@contextmanager
def seeing(address: str | None) -> Iterator[Seen]:
    """Connect to Ray. What goes wrong is one line and an exit code."""
    with in_one_line():
        yield Seen(*connected(address))
