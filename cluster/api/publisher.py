"""Publishing for all replicas of the API, by one process: an event that comes twice is one, whichever replicas it comes to.

`EventRoom` publishes and remembers. In tests it stands in the API's process; deployed, it is the detached Ray actor
"publisher:<pipeline>", which begins with the first event and outlives the API's replicas. What goes between is plain data.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.kafka.client import Cluster
from actors.kafka.delivery import PublishError
from cluster.api.desks import ANSWER_S, Desk
from cluster.api.facts import within
from cluster.api.problems import Unavailable
from schemas.registry import SchemaRefused

if TYPE_CHECKING:  # slow to import, and not wanted by every request; Ray not by the document
    from ray.actor import ActorHandle

    from actors.producers.events import EventDesk, Sent, Wrong

ACKNOWLEDGED_S = 15.0  # for all events of a request to be acknowledged
LOOK_S = (0.001, 0.02)  # between two looks at deliveries: at first, and at most
START_S = 15.0  # for the actor to start
CALLS_MAX = 64  # requests at once; further ones wait
STOP_S = 10.0
PART = "publisher"


class Outcome(NamedTuple):
    """What has become of the events of a request: each with its place or its error; or what is wrong, or missing."""

    items: list[dict[str, Any]] = []  # noqa: RUF012 - a default of a tuple, which nobody changes
    wrong: tuple[Wrong, ...] = ()  # nothing was published
    missing: tuple[str, str] | None = None  # which part does not answer, and what it says


class EventRoom:
    """Publishes events of any category, and recognises those that come again."""

    def __init__(self, cluster: Cluster) -> None:
        def make() -> EventDesk:
            from actors.producers.events import event_desk  # noqa: PLC0415

            return event_desk(cluster)

        self._desk = Desk(PART, make, lambda desk: desk.close())

    async def publish(self, category: str, events: Sequence[Mapping[str, Any]], by: str) -> Outcome:
        """Publish events and wait until Kafka has acknowledged them; none is published if one is wrong."""
        from actors.producers.events import WrongEventsError  # noqa: PLC0415

        try:
            sent = await self._desk.ask(lambda desk: desk.send(category, events, by))
        except WrongEventsError as error:
            return Outcome(wrong=error.wrong)
        except SchemaRefused as error:
            return Outcome(missing=("registry", str(error)))
        except Unavailable as error:
            return Outcome(missing=(PART, error.detail.removeprefix(f"{PART}: ")))
        return Outcome(await _acknowledged(sent))

    async def close(self) -> None:
        """Deliver what is buffered, and leave."""
        await asyncio.to_thread(self._desk.close)


async def _acknowledged(sent: Sequence[Sent]) -> list[dict[str, Any]]:
    """Wait for the outcome of all, looking less and less often; return what is known of each when the time is over."""
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + ACKNOWLEDGED_S, LOOK_S[0]
    while not all(one.delivery.done for one in sent) and loop.time() < deadline:
        await asyncio.sleep(pause)
        pause = min(2 * pause, LOOK_S[1])
    return [_told(one) for one in sent]


def _told(one: Sent) -> dict[str, Any]:
    said = {"event_id": one.event_id, "topic": one.topic, "repeated": one.repeated}
    if not one.delivery.done:
        return said | {"error": "its outcome is not known yet"}
    try:
        partition, offset = one.delivery.result(0)
    except PublishError as error:
        return said | {"error": str(error)}
    return said | {"partition": partition, "offset": offset}


def publisher_name(pipeline: str) -> str:
    """Return the actor's name.

    >>> publisher_name("quality")
    'publisher:quality'
    """
    return f"publisher:{pipeline}"


def connect(cluster: Cluster, pipeline: str) -> ActorHandle[Any]:
    """Return the publisher of a pipeline's API; it is started if it does not run."""
    from actors import detached  # noqa: PLC0415 - it imports Ray

    name = publisher_name(pipeline)
    with contextlib.suppress(ValueError):
        return detached.connected(name)
    return detached.detached(EventRoom, name, cluster, calls_max=CALLS_MAX)


async def publish(
    cluster: Cluster, pipeline: str, category: str, events: Sequence[Mapping[str, Any]], by: str
) -> Outcome:
    """Have the actor publish. Raises Unavailable if it does not answer: the same request again is safe."""
    handle = await asyncio.to_thread(connect, cluster, pipeline)
    answered: Outcome = await within(
        handle.publish.remote(category, events, by), START_S + ANSWER_S + ACKNOWLEDGED_S, PART
    )
    return answered


def stop(pipeline: str) -> None:
    """End the publisher, if it runs, after what it has taken is delivered."""
    from actors.detached import end  # noqa: PLC0415 - it imports Ray

    end(publisher_name(pipeline), STOP_S, "close")
