"""The escalation running: it follows alerts and their lives, and writes "escalated" into those that wait too long.

Outside the fold: the wall clock decides (actors/sinks/escalation.py says what, this file when). It commits nothing and keeps
nothing: after a restart it reads both topics again, and what it did before stands in the lives. Whom it tells, the notifier's
routes say that have the state "escalated"; they are told from the lives (`EscalationNotices`), so that no message is lost with
this process.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ray.actor import ActorHandle

from actors.alert_desk import LIVES_PER_WRITE_MAX, AlertDesk, Wanted, alert_desk
from actors.detached import detached, end
from actors.errors import FencedError, ReopenError
from actors.kafka.client import Cluster
from actors.kafka.view_consumer import Place, ViewConsumer, ViewRecord
from actors.names import LOG_FORMAT
from actors.sinks.escalation import STALE_S, Escalations, notice_of
from actors.sinks.journey import Journey, Plan
from actors.sinks.notifier import Notifier
from actors.sinks.notify import NotifierLoop, NotifyTask
from actors.sinks.retrying import wall_ms
from actors.sinks.routes import Route
from models.alert_life import Action, Kind, from_record
from schemas.decode import decode_event
from schemas.registry import Registry, RegistryUnavailable
from schemas.topics import ALERT_ACTIONS, ALERTS, ESCALATION

_LOG = logging.getLogger("chipquality.escalation")

NAME = "escalator"  # of the Ray actor
BY = "chipquality"  # who escalates
STOP_S = 60.0
CPUS, CALLS_MAX = 0.05, 4  # calls at once; further ones wait
RECORDS_BACK = 200_000  # offsets per partition that a new one reads back
POLL_RECORDS_MAX = 500
POLL_WAIT_S = 0.5  # also how late an escalation may be
RETRY_S, RETRY_MAX_S = 0.5, 30.0  # after the broker or the registry did not answer; doubled from failure to failure
PLAN = Plan(ALERT_ACTIONS, ESCALATION)  # of what tells escalated alerts


@dataclass(frozen=True)
class EscalationTask:
    """All that the escalation needs; it travels to Ray as it is."""

    cluster: Cluster
    after_s: Mapping[str, float | None]
    stale_s: float = STALE_S
    routes: tuple[Route, ...] = ()
    notify_stale_s: float = STALE_S
    alerts: str = ALERTS
    plan: Plan = PLAN

    @property
    def told(self) -> tuple[Route, ...]:
        """Return the routes that want to be told."""
        return tuple(route for route in self.routes if "escalated" in route.states)


class EscalationNotices:
    """Handles lives (actors/sinks/retrying.py): what was escalated is told by the notifier's routes."""

    def __init__(self, notifier: Notifier) -> None:
        self.notifier = notifier

    def handle(self, event: dict[str, Any], journey: Journey) -> None:
        """Tell an escalation, once. Raises RetryLater."""
        notice = notice_of(from_record(event))
        if notice is not None:
            self.notifier.handle(notice, journey)

    def tick(self) -> None:
        """Send at most one summary that is due."""
        self.notifier.tick()

    def finish(self) -> None:
        """Tell now what is held back."""
        self.notifier.finish()

    @property
    def holds(self) -> bool:
        """Tell whether something is held back that no summary has told yet."""
        return self.notifier.holds


class Escalator:
    """Follows the topics and escalates. Call `step` again and again, then `close`; after an error close it and make a new one."""

    def __init__(self, task: EscalationTask, *, now_ms: Callable[[], int] = wall_ms) -> None:
        self.waiting = Escalations(task.after_s, task.stale_s)
        self.counts: Counter[str] = Counter()  # escalated, overtaken, unreadable
        self.caught_up = False
        self._task, self._now_ms = task, now_ms
        self._registry = Registry(task.cluster.registry_url, task.cluster.registry_client)
        self._desk: AlertDesk | None = None  # made when the first one is due: it fences who else writes
        self._consumer = ViewConsumer(task.cluster, f"{task.plan.topic}-escalator")
        try:
            back = dict.fromkeys((task.alerts, task.plan.topic), RECORDS_BACK)
            self._behind: dict[Place, int] = {p: end for p, end in self._consumer.begin(back, {}).items() if end > 0}
        except BaseException:
            self._consumer.close()
            raise

    def step(self, wait_s: float = POLL_WAIT_S) -> None:
        """Read what has come, then escalate what is due. Raises ReopenError, FencedError, RegistryUnavailable.

        Nothing is escalated before all that was there at the start is read: a life may come after its alert.
        """
        polled = self._consumer.poll(POLL_RECORDS_MAX, wait_s)
        for record in polled.records:
            self._take(record)
        reached = {(record.topic, record.partition): record.offset + 1 for record in polled.records} | polled.positions
        for place, position in reached.items():
            if position >= self._behind.get(place, position + 1):
                del self._behind[place]
        self.caught_up = not self._behind
        if self.caught_up:
            self._escalate()

    def close(self) -> None:
        """Leave."""
        self._consumer.close()
        if self._desk is not None:
            self._desk.close()

    def _take(self, record: ViewRecord) -> None:
        try:
            event = decode_event(record.value, self._registry.schema)
            if record.topic == self._task.alerts:
                self.waiting.alert(event, record.timestamp_ms, self._now_ms())
            else:
                self.waiting.life(from_record(event), self._now_ms())
        except (ValueError, KeyError, TypeError) as error:  # UnreadableRecord too
            self.counts["unreadable"] += 1
            _LOG.warning("%s[%d]@%d cannot be read: %s", *record[:3], error)

    def _escalate(self) -> None:
        now_ms = self._now_ms()
        due = self.waiting.due(now_ms, LIVES_PER_WRITE_MAX)
        if not due:
            return
        if self._desk is None:
            self._desk = alert_desk(self._task.cluster, self._task.plan.topic)
        wanted = [
            Wanted(one.alert_id, one.about, Action(Kind.ESCALATED, BY, now_ms, f"escalated-{one.alert_id}"))
            for one in due
        ]
        changed = self._desk.act_on_all(wanted)
        for one in due:
            self.waiting.settle(one.alert_id)  # written, or overtaken: either way its life comes along
        self.counts["escalated"] += len(changed)
        self.counts["overtaken"] += len(due) - len(changed)
        _LOG.info("%d alerts escalated, %d were overtaken", len(changed), len(due) - len(changed))


class EscalatorLoop:
    """An escalator on a thread of its own, and what tells the routes on another. Raises ConfigError for bad routes."""

    def __init__(self, task: EscalationTask, *, now_ms: Callable[[], int] = wall_ms) -> None:
        self.task = task
        self.trouble: str | None = "starting"
        self.escalator: Escalator | None = None
        self._now_ms = now_ms
        self._totals: Counter[str] = Counter()  # of escalators that ended
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="escalator", daemon=True)
        self.notices: NotifierLoop | None = None
        if task.told:
            telling = NotifyTask(task.cluster, task.told, task.notify_stale_s, task.plan)
            self.notices = NotifierLoop(telling, EscalationNotices)

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        if self.notices is not None:
            self.notices.start()

    def stop(self, timeout_s: float = STOP_S) -> bool:
        """End; return whether it ended in time."""
        self._stop.set()
        told = self.notices is None or self.notices.stop(timeout_s)
        self._thread.join(timeout_s)
        return told and not self._thread.is_alive()

    def status(self) -> dict[str, Any]:
        """Return what waits, what was done, and what stands in its way."""
        running = self.escalator
        counts = self._totals + (running.counts if running else Counter())
        return {
            "waiting": len(running.waiting) if running else 0,
            "left_out": running.waiting.left_out if running else 0,
            "stale": running.waiting.stale if running else 0,
            "counts": dict(counts),
            "trouble": self.trouble,
            "notices": self.notices.status() if self.notices else None,
        }

    def _run(self) -> None:
        wait_s = RETRY_S
        while not self._stop.is_set():
            try:
                self.escalator = Escalator(self.task, now_ms=self._now_ms)
                while not self._stop.is_set():
                    self.escalator.step()
                    self.trouble = None if self.escalator.caught_up else "still reading what was there before"
                    wait_s = RETRY_S
            except (ReopenError, FencedError, RegistryUnavailable) as error:
                self.trouble = str(error)
                _LOG.warning("the escalation begins again in %.1f s: %s", wait_s, error)
                self._stop.wait(wait_s)
                wait_s = min(2 * wait_s, RETRY_MAX_S)
            finally:
                if self.escalator is not None:
                    self._totals += self.escalator.counts
                    ended, self.escalator = self.escalator, None
                    ended.close()


class EscalatorActor:
    """The escalation as a Ray actor; Ray starts it again if it dies, and the topics say where it goes on."""

    def __init__(self, task: EscalationTask) -> None:
        logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
        self._loop = EscalatorLoop(task)
        self._loop.start()

    def status(self) -> dict[str, Any]:
        """Return `EscalatorLoop.status`."""
        return self._loop.status()

    def stop(self) -> bool:
        """End; return whether it ended in time."""
        return self._loop.stop()


def start_escalator(task: EscalationTask, name: str = NAME) -> ActorHandle[Any]:
    """Start the escalation, or return the one that runs."""
    return detached(EscalatorActor, name, task, calls_max=CALLS_MAX, cpus=CPUS)


def stop_escalator(name: str = NAME) -> None:
    """End the escalation, if there is one."""
    end(name, STOP_S)
