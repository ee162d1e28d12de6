"""Where the API's answers come from: the view actor, the supervisor actor, Kafka and the registry. Each call has a timeout.

The API is never in the data path: what does not answer becomes a 503 that names the part, and nothing else stops.
Ray is imported where it is asked: whoever only wants the API's document has no use for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from actors.kafka.client import Cluster
from actors.names import NAMESPACE
from cluster.api.pools import Pool
from cluster.api.problems import Unavailable

CALL_TIMEOUT_S = 5.0
KAFKA_TIMEOUT_S = 15.0  # of a question to Kafka's admin API; each of its requests has a shorter one
REGISTRY_CALL_S = 2.0  # of one request to the registry, which is made once more
REGISTRY_MAX = 4  # questions to the registry at once
REGISTRY_TIMEOUT_S = 30.0  # of a question to the registry that takes many requests
SETTINGS_KEEP_S = 10.0  # settings of topics change seldom
PIPELINES_MAX = 50  # beside ours, that are asked
ACTORS_MAX = 100  # that are known
SUPERVISOR = "supervisor:"
KEEP_S = 1.0  # an answer of Kafka or the registry serves everyone who asks within this time

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from cluster.lag_sampler import Lags, Sampler
    from cluster.owner_times import OwnerTimes
    from cluster.topics_told import Settings
    from schemas.registry import Registry

_LOG = logging.getLogger("chipquality.api")
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

    async def other_pipelines(self) -> dict[str, dict[str, Any] | None]:
        """Return the same of every other pipeline that runs; None for one whose supervisor is silent. Raises Unavailable."""
        ...

    async def topics(self) -> list[dict[str, Any]]:
        """Return all topics of Kafka, its own too, as `Admin.topics` does. Raises Unavailable."""
        ...

    async def settings(self) -> dict[str, Settings]:
        """Return the settings of all topics; see Survey.settings. Raises Unavailable."""
        ...

    async def groups(self) -> list[dict[str, Any]]:
        """Return Kafka's consumer groups with their lag. Raises Unavailable."""
        ...

    async def registry(self) -> int:
        """Return the number of subjects in the registry. Raises Unavailable."""
        ...

    async def subjects(self) -> list[str]:
        """Return all subjects of the registry. Raises Unavailable."""
        ...

    async def ask_registry(self, ask: Callable[[Registry], T]) -> T:
        """Ask the registry something. Raises Unavailable; what the registry refuses passes through."""
        ...

    @property
    def lags(self) -> Lags:
        """What was sampled of consumer groups."""
        ...

    @property
    def times(self) -> OwnerTimes:
        """What was sampled of the owners' times."""
        ...


@dataclass
class Kept:
    """The newest answer to a question that costs something, kept for `keep_s`; who asks in the meantime waits for the same one.

    One question is under way at a time, however many wait for it and have given up: threads do not pile up behind a dead broker.
    """

    ask: Callable[[], Any]
    part: str
    keep_s: float = KEEP_S
    answer: Any = None
    at_s: float = -1e9
    under_way: asyncio.Task[Any] | None = None

    async def get(self) -> Any:
        """Return the answer, in a thread because the clients block. Raises Unavailable."""
        if time.monotonic() - self.at_s <= self.keep_s:
            return self.answer
        if self.under_way is None or self.under_way.done():
            self.under_way = asyncio.create_task(self._fetch())
            self.under_way.add_done_callback(_noted)
        return await within(asyncio.shield(self.under_way), KAFKA_TIMEOUT_S, self.part)

    async def _fetch(self) -> Any:
        self.answer = await asyncio.to_thread(self.ask)
        self.at_s = time.monotonic()
        return self.answer


def _noted(task: asyncio.Task[Any]) -> None:
    """Take note of an error that nobody waited for: who did has it already."""
    if not task.cancelled():
        task.exception()


async def within(awaited: Awaitable[T], timeout_s: float, part: str) -> T:
    """Wait for an answer. Raises Unavailable for errors of transport and for none in time."""
    import ray  # noqa: PLC0415

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
        self.actors = Actors()

    async def view(self, method: str, *arguments: Any) -> Any:
        """Ask the view actor. Raises Unavailable."""
        return await self.actors.ask(f"view:{self.pipeline}", "view", method, *arguments)


class ClusterFacts(ViewFacts):
    """What every other route asks too: the supervisor, Kafka, the registry."""

    def __init__(self, cluster: Cluster, pipeline: str) -> None:
        from actors.kafka.admin import Admin  # noqa: PLC0415  (the streaming deployment does not need it)
        from actors.kafka.survey import Survey  # noqa: PLC0415
        from cluster.lag_sampler import Lags  # noqa: PLC0415
        from cluster.owner_times import OwnerTimes  # noqa: PLC0415
        from schemas.registry import Registry  # noqa: PLC0415

        super().__init__(pipeline)
        self.cluster = cluster
        admin = Admin(cluster.bootstrap_servers, cluster.client)
        self._registry = Registry(cluster.registry_url, cluster.registry_client, timeout_s=REGISTRY_CALL_S)
        self._asking = Pool("registry", REGISTRY_MAX)
        self._topics = Kept(lambda: admin.topics(internal=True), "kafka")
        self._settings = Kept(lambda: Survey(admin).settings(), "kafka", SETTINGS_KEEP_S)
        self._groups = Kept(admin.groups, "kafka")
        self._subjects = Kept(self._registry.subjects, "registry")
        self.lags, self.times = Lags(admin, cluster), OwnerTimes()

    def sample(self) -> Sampler:
        """Begin to sample lags and the owners' times, for as long as this process lives."""
        from cluster.lag_sampler import Sampler  # noqa: PLC0415

        sampler = Sampler(self._sample)
        sampler.start()
        return sampler

    def _sample(self, at_ms: int) -> None:
        """Take a sample. Raises ReopenError if Kafka does not answer; owners that do not are left out."""
        import ray  # noqa: PLC0415

        from actors.supervisor import list_pipelines  # noqa: PLC0415

        try:
            for status in list_pipelines():
                self.times.add(status["owners"], at_ms)
        except (ray.exceptions.RayError, RuntimeError, OSError) as error:  # Ray's head is away
            _LOG.warning("no times of owners: %s", error)
        self.lags.take(at_ms)

    async def owners(self) -> dict[str, Any]:
        """Return the deal of the pipeline and the status of each owner, from its supervisor. Raises Unavailable."""
        status: dict[str, Any] = await self.actors.ask(f"supervisor:{self.pipeline}", "owners", "status")
        return status

    async def other_pipelines(self) -> dict[str, dict[str, Any] | None]:
        """Return the same of every other pipeline, at most PIPELINES_MAX. Raises Unavailable."""
        from actors.supervision.places import named  # noqa: PLC0415

        actors = await within(asyncio.to_thread(named, SUPERVISOR), CALL_TIMEOUT_S, "owners")
        others = [name for name in actors if name != f"{SUPERVISOR}{self.pipeline}"][:PIPELINES_MAX]
        said = await asyncio.gather(
            *(self.actors.ask(name, "owners", "status") for name in others), return_exceptions=True
        )
        found: dict[str, dict[str, Any] | None] = {}
        for name, status in zip(others, said, strict=True):
            if isinstance(status, BaseException) and not isinstance(status, Unavailable):
                raise status
            found[name.removeprefix(SUPERVISOR)] = None if isinstance(status, BaseException) else status
        return found

    async def topics(self) -> list[dict[str, Any]]:
        """Return all topics of Kafka, its own too, as `Admin.topics` does. Raises Unavailable."""
        found: list[dict[str, Any]] = await self._topics.get()
        return found

    async def settings(self) -> dict[str, Settings]:
        """Return the settings of all topics; see Survey.settings. Raises Unavailable."""
        found: dict[str, Settings] = await self._settings.get()
        return found

    async def groups(self) -> list[dict[str, Any]]:
        """Return Kafka's consumer groups with their lag. Raises Unavailable."""
        found: list[dict[str, Any]] = await self._groups.get()
        return found

    async def registry(self) -> int:
        """Return the number of subjects in the registry. Raises Unavailable."""
        return len(await self.subjects())

    async def subjects(self) -> list[str]:
        """Return all subjects of the registry. Raises Unavailable."""
        found: list[str] = await self._subjects.get()
        return found

    async def ask_registry(self, ask: Callable[[Registry], T]) -> T:
        """Ask the registry something. Raises Unavailable; what the registry refuses passes through."""
        return await within(self._asking.ask(lambda: ask(self._registry)), REGISTRY_TIMEOUT_S, "registry")


class Actors:
    """Named actors, looked up once: a name is a question to Ray's head, for which the whole process waits."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, ActorHandle[Any]] = OrderedDict()

    async def ask(self, name: str, part: str, method: str, *arguments: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """Call an actor. Raises Unavailable if it is not there or does not answer; ValueError passes through."""
        import ray  # noqa: PLC0415

        known = self._known.get(name)
        if known is not None:
            try:
                return await _answer(known, part, method, arguments, timeout_s)
            except Unavailable as error:
                if not isinstance(error.__cause__, ray.exceptions.RayActorError):
                    raise
                self._known.pop(name, None)
                if (await _found(name, part))._actor_id == known._actor_id:
                    raise  # Ray starts the same one again
        handle = self._known[name] = await _found(name, part)
        while len(self._known) > ACTORS_MAX:
            self._known.popitem(last=False)
        return await _answer(handle, part, method, arguments, timeout_s)


async def _found(name: str, part: str) -> ActorHandle[Any]:
    import ray  # noqa: PLC0415

    try:
        return await asyncio.to_thread(ray.get_actor, name, namespace=NAMESPACE)
    except ValueError as error:
        raise Unavailable(part, f"no actor {name} runs") from error


async def _answer(
    handle: ActorHandle[Any], part: str, method: str, arguments: tuple[Any, ...], timeout_s: float
) -> Any:
    import ray  # noqa: PLC0415

    try:
        return await within(getattr(handle, method).remote(*arguments), timeout_s, part)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ValueError):
            raise error.cause from error
        raise
