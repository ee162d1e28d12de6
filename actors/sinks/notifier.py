"""The alert notifier: a plain consumer that tells people, by mail, chat or webhook (apprise).

Theory of operation
-------------------
Each alert record goes to the destinations of every route that wants it (actors/sinks/routes.py). A destination that fails is
tried again with the record's next attempt, alone: those that have got it do not get it twice. De-duplication is by alert,
state and redrive within the newest RECENT_MAX; an alert that comes again after a crash may be told twice, but never not at all.

What a route's rate holds back is counted and told in a summary. Until it is told nothing is committed: after a crash the
alerts come again. A summary that fails SUMMARY_ATTEMPTS_MAX times is given up, counted and logged.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from actors.errors import ConfigError
from actors.sinks.journey import Journey
from actors.sinks.retrying import RetryLater, wall_ms
from actors.sinks.routes import (
    MINUTE_MS,
    Destination,
    HeldBack,
    Message,
    PerMinute,
    Recent,
    Route,
    message_of,
    parse_rest,
    rest_of,
)

_LOG = logging.getLogger("chipquality.notify")

RECENT_MAX = 10_000  # alerts and states known to have been told
DESTINATIONS_MAX = (
    16  # of all routes together: at SEND_TIMEOUT_S each, one alert takes less than the group's poll interval
)
SEND_TIMEOUT_S = 15.0  # of one message
SUMMARY_ATTEMPTS_MAX = 5  # a minute apart
STALE_S = 6 * 3600  # an alert that has been there for longer is only counted

Send = Callable[[str, Message], None]  # address, message; raises NotSentError


class NotSentError(RuntimeError):
    """A message was not accepted; what is known of why, without the address."""


@dataclass
class _Summary:
    """A summary under way."""

    message: Message
    to: list[Destination]
    attempts: int = 0
    due_ms: int = 0


class Notifier:
    """Handles alert records (actors/sinks/retrying.py). Raises ConfigError for routes that cannot be."""

    def __init__(
        self, routes: Sequence[Route], send: Send, *, now_ms: Callable[[], int] = wall_ms, stale_s: float = STALE_S
    ) -> None:
        self.routes = {route.name: route for route in routes}
        self.counts: Counter[str] = (
            Counter()
        )  # sent, failed, duplicates, unwanted, held_back, summaries, summaries_lost
        self._send = send
        self._now_ms = now_ms
        self._stale_ms = stale_s * 1000
        self._urls = {to: url for route in routes for to, url in zip(route.destinations(), route.urls, strict=True)}
        if len(self.routes) != len(routes):
            raise ConfigError("notify.routes: two routes have the same name")
        if len(self._urls) > DESTINATIONS_MAX:
            raise ConfigError(f"notify.routes: {len(self._urls)} urls; at most {DESTINATIONS_MAX} over all routes")
        self._gates = {route.name: PerMinute(route.per_minute) for route in routes}
        self._recent = Recent(RECENT_MAX)
        self._held: dict[str, HeldBack] = {}
        self._summaries: dict[str, _Summary] = {}

    @property
    def holds(self) -> bool:
        """Tell whether alerts are held back that no summary has told yet."""
        return bool(self._held or self._summaries)

    def handle(self, event: dict[str, Any], journey: Journey) -> None:
        """Tell one alert to all that want it. Raises RetryLater with the destinations that are left."""
        first = journey.attempts == 0
        name = f"{event['alert_id']}/{event['state']}/{journey.redriven}"
        if first and name in self._recent:
            self.counts["duplicates"] += 1
            return
        self._recent.add(name)
        todo = self._destinations(event) if not journey.rest else parse_rest(journey.rest)
        if not todo:
            self.counts["unwanted"] += 1
            return
        old = first and not journey.redriven and self._now_ms() - journey.timestamp_ms > self._stale_ms
        left: list[Destination] = []
        why = ""
        for route in dict.fromkeys(to.route for to in todo):
            if route not in self.routes:  # it is gone since the last attempt: nobody waits for this
                continue
            if old or not self._gates[route].passes(self._now_ms()):
                self._hold(route, event, old=old)
                continue
            for to in (to for to in todo if to.route == route and to in self._urls):
                error = self._tell(to, message_of(event))
                if error:
                    left.append(to)
                    why = why or f"{to}: {error}"
        if left:
            more = f", and {len(left) - 1} more" if len(left) > 1 else ""
            raise RetryLater(f"{why}{more}", rest_of(left))

    def tick(self) -> None:
        """Send at most one summary message that is due."""
        now_ms = self._now_ms()
        for route, held in list(self._held.items()):
            if route not in self._summaries and now_ms - held.since_ms >= MINUTE_MS:
                self._begin_summary(route)
        for route, summary in list(self._summaries.items()):
            if summary.due_ms <= now_ms:
                self._tell_summary(route, summary, now_ms)
                return

    def finish(self) -> None:
        """Tell now what is held back: the program ends. What fails is told after the next start, from the log."""
        for route in [*self._held]:
            if route not in self._summaries:
                self._begin_summary(route)
        for route, summary in list(self._summaries.items()):
            while summary.to and self._tell_summary(route, summary, self._now_ms()):
                continue

    def _destinations(self, event: dict[str, Any]) -> tuple[Destination, ...]:
        return tuple(to for route in self.routes.values() if route.wants(event) for to in route.destinations())

    def _hold(self, route: str, event: dict[str, Any], *, old: bool) -> None:
        self.counts["held_back"] += 1
        self._held.setdefault(route, HeldBack(self._now_ms())).add(event, old=old)

    def _begin_summary(self, route: str) -> None:
        held = self._held.pop(route)
        self._summaries[route] = _Summary(held.message(self.routes[route]), list(self.routes[route].destinations()))

    def _tell_summary(self, route: str, summary: _Summary, now_ms: int) -> bool:
        """Send a summary to its next destination; return whether that went well."""
        error = self._tell(summary.to[0], summary.message)
        if error is None:
            summary.to.pop(0)
            summary.attempts = 0
        else:
            summary.attempts += 1
            summary.due_ms = now_ms + MINUTE_MS
            if summary.attempts >= SUMMARY_ATTEMPTS_MAX:
                _LOG.error("%s: not told: %s: %s", summary.to[0], summary.message.title, error)
                self.counts["summaries_lost"] += 1
                summary.to.pop(0)
                summary.attempts = summary.due_ms = 0
        if not summary.to:
            del self._summaries[route]
            self.counts["summaries"] += 1
        return error is None

    def _tell(self, to: Destination, message: Message) -> str | None:
        """Send a message; return what went wrong, None if nothing did."""
        try:
            self._send(self._urls[to], message)
        except NotSentError as error:
            self.counts["failed"] += 1
            _LOG.warning("%s: %s", to, error)
            return str(error)
        self.counts["sent"] += 1
        return None
