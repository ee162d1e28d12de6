"""Where the API's answers come from: the view actor, the supervisor actor, Kafka and the registry. Each call has a timeout.

The API is never in the data path: what does not answer becomes a 503 that names the part, and nothing else stops.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import ray

from actors.kafka.client import Cluster
from actors.names import NAMESPACE
from cluster.api.problems import Unavailable

CALL_TIMEOUT_S = 5.0
KAFKA_TIMEOUT_S = 15.0  # of a question to Kafka's admin API; each of its requests has a shorter one
KEEP_S = 1.0  # an answer of Kafka or the registry serves everyone who asks within this time

T = TypeVar("T")


class Views(Protocol):
    """What the stream asks."""

    pipeline: str

    async def view(self, method: str, *arguments: Any) -> Any:
        """Ask the view actor. Raises Unavailable."""
        ...


class Facts(Views, Protocol):
    """What the other routes ask."""

    cluster: Cluster  # where Kafka and the registry are

    async def owners(self) -> dict[str, Any]:
        """Return the deal of the pipeline and the status of each owner, from its supervisor. Raises Unavailable."""
        ...

    async def topics(self) -> list[dict[str, Any]]:
        """Return those of our topics that Kafka has. Raises Unavailable."""
        ...

    async def groups(self) -> list[dict[str, Any]]:
        """Return Kafka's consumer groups with their lag. Raises Unavailable."""
        ...

    async def registry(self) -> int:
        """Return the number of subjects in the registry. Raises Unavailable."""
        ...


@dataclass
class Kept:
    """The newest answer to a question that costs something, kept for KEEP_S; askers in the meantime wait for the same one."""

    ask: Callable[[], Any]
    part: str
    answer: Any = None
    at_s: float = -1e9
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self) -> Any:
        """Return the answer, in a thread because the clients block. Raises Unavailable."""
        async with self.lock:
            if time.monotonic() - self.at_s > KEEP_S:
                self.answer = await within(asyncio.to_thread(self.ask), KAFKA_TIMEOUT_S, self.part)
                self.at_s = time.monotonic()
            return self.answer


async def within(awaited: Awaitable[T], timeout_s: float, part: str) -> T:
    """Wait for an answer. Raises Unavailable for errors of transport and for none in time."""
    try:
        return await asyncio.wait_for(asyncio.ensure_future(awaited), timeout_s)
    except TimeoutError as error:
        raise Unavailable(part, f"no answer within {timeout_s:g} s") from error
    except ray.exceptions.RayActorError as error:
        raise Unavailable(part, "the actor is gone or starting again") from error
    except (RuntimeError, OSError) as error:  # ReopenError, RegistryUnavailable, ConnectionError
        raise Unavailable(part, str(error)) from error


class ViewFacts:
    """What the stream asks: the view actor, and nothing else."""

    def __init__(self, pipeline: str) -> None:
        self.pipeline = pipeline

    async def view(self, method: str, *arguments: Any) -> Any:
        """Ask the view actor. Raises Unavailable."""
        return await ask_actor(f"view:{self.pipeline}", "view", method, *arguments)


class ClusterFacts(ViewFacts):
    """What every other route asks too: the supervisor, Kafka, the registry."""

    def __init__(self, cluster: Cluster, pipeline: str) -> None:
        from actors.kafka.admin import Admin  # noqa: PLC0415  (the streaming deployment does not need it)
        from schemas.registry import Registry  # noqa: PLC0415
        from schemas.topics import TOPICS  # noqa: PLC0415

        super().__init__(pipeline)
        self.cluster = cluster
        admin = Admin(cluster.bootstrap_servers, cluster.client)
        registry = Registry(cluster.registry_url, cluster.registry_client, timeout_s=CALL_TIMEOUT_S)
        self._topics = Kept(lambda: admin.topics(TOPICS), "kafka")
        self._groups = Kept(admin.groups, "kafka")
        self._subjects = Kept(registry.subjects, "registry")

    async def owners(self) -> dict[str, Any]:
        """Return the deal of the pipeline and the status of each owner, from its supervisor. Raises Unavailable."""
        status: dict[str, Any] = await ask_actor(f"supervisor:{self.pipeline}", "owners", "status")
        return status

    async def topics(self) -> list[dict[str, Any]]:
        """Return those of our topics that Kafka has. Raises Unavailable."""
        found: list[dict[str, Any]] = await self._topics.get()
        return found

    async def groups(self) -> list[dict[str, Any]]:
        """Return Kafka's consumer groups with their lag. Raises Unavailable."""
        found: list[dict[str, Any]] = await self._groups.get()
        return found

    async def registry(self) -> int:
        """Return the number of subjects in the registry. Raises Unavailable."""
        return len(await self._subjects.get())


async def ask_actor(name: str, part: str, method: str, *arguments: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
    """Call a named actor. Raises Unavailable if it is not there or does not answer; ValueError passes through."""
    try:
        handle = ray.get_actor(name, namespace=NAMESPACE)
    except ValueError as error:
        raise Unavailable(part, f"no actor {name} runs") from error
    try:
        return await within(getattr(handle, method).remote(*arguments), timeout_s, part)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ValueError):
            raise error.cause from error
        raise
