"""The notifier running: in this process until it is told to stop, or as a detached Ray actor."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ray.actor import ActorHandle

from actors.detached import detached, end
from actors.kafka.client import Cluster
from actors.names import LOG_FORMAT
from actors.sinks.journey import Plan
from actors.sinks.notifier import STALE_S, Notifier, NotSentError
from actors.sinks.retrying import Handles, RetryingConsumer, run
from actors.sinks.routes import Message, Route
from actors.sinks.sending import AppriseSender
from schemas.topics import ALERTS, NOTIFY

NAME = "notifier"  # of the Ray actor
STOP_S = 60.0  # until it has told what it holds back, and has left the group
CPUS, CALLS_MAX = 0.05, 4  # calls at once; further ones wait
PLAN = Plan(ALERTS, NOTIFY)


@dataclass(frozen=True)
class NotifyTask:
    """All that a notifier needs; it travels to Ray as it is."""

    cluster: Cluster
    routes: tuple[Route, ...]
    stale_s: float = STALE_S
    plan: Plan = PLAN


class NotifierLoop:
    """A notifier on a thread of its own. Raises ConfigError for routes that cannot be."""

    def __init__(self, task: NotifyTask, wrap: Callable[[Notifier], Handles] = lambda notifier: notifier) -> None:
        self.task = task
        self.notifier = Notifier(task.routes, AppriseSender(task.routes), stale_s=task.stale_s)
        self.handler = wrap(self.notifier)  # what it is told from, if not from alert records
        self.consumer: RetryingConsumer | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=run, args=(self._make, self._stop), name="notifier", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end; return whether it has come."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stop(self, timeout_s: float = STOP_S) -> bool:
        """Tell what is held back, leave the group; return whether it ended in time."""
        self._stop.set()
        return self.wait(timeout_s)

    def status(self) -> dict[str, Any]:
        """Return what it has done since it joined the group, and what stands in its way."""
        consumer = self.consumer
        return {
            "routes": [route.name for route in self.task.routes],
            "partitions": sorted(consumer.partitions) if consumer else [],
            "waiting": consumer.waiting if consumer else 0,
            "trouble": consumer.trouble if consumer else None,
            "records": dict(consumer.counts) if consumer else {},
            "messages": dict(self.notifier.counts),
        }

    def _make(self) -> RetryingConsumer:
        self.consumer = RetryingConsumer(self.task.cluster, self.task.plan, self.handler)
        return self.consumer


class NotifierActor:
    """The notifier as a Ray actor; Ray starts it again if it dies, and the group's offsets say where it goes on."""

    def __init__(self, task: NotifyTask) -> None:
        logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
        self._loop = NotifierLoop(task)
        self._loop.start()

    def status(self) -> dict[str, Any]:
        """Return `NotifierLoop.status`."""
        return self._loop.status()

    def stop(self) -> bool:
        """End; return whether it ended in time."""
        return self._loop.stop()


def start_notifier(task: NotifyTask, name: str = NAME) -> ActorHandle[Any]:
    """Start the notifier, or return the one that runs. Raises ConfigError, here and not in the actor, for bad routes."""
    NotifierLoop(task)
    return detached(NotifierActor, name, task, calls_max=CALLS_MAX, cpus=CPUS)


def stop_notifier(name: str = NAME) -> None:
    """End the notifier, if there is one."""
    end(name, STOP_S)


def try_routes(routes: Sequence[Route]) -> dict[str, str | None]:
    """Send one message to every destination; return what went wrong by destination, None where nothing did."""
    send = AppriseSender(routes)
    told: dict[str, str | None] = {}
    for route in routes:
        for to, url in zip(route.destinations(), route.urls, strict=True):
            try:
                send(url, Message("chipquality: test", f"A test of route {route.name}; no alert.", "summary"))
            except NotSentError as error:
                told[str(to)] = str(error)
            else:
                told[str(to)] = None
    return told
