"""Which alerts go where, how many a minute, and what the message says. Pure: time is an argument.

A route is a list of destinations, and which alerts they get. What is more than `per_minute` is held back and told in one
summary a minute later, by numbers and by the series that have most; so is what was already old when it came.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

MINUTE_MS = 60_000
SERIES_HELD_MAX = 100  # series told apart in a summary; what is more is counted together
SERIES_TOLD = 5
TEXT_CHARS = 1_500  # of a detail in a message

_NUMBERS = {"value": "value", "statistic": "judged", "centre": "centre line", "lcl": "LCL", "ucl": "UCL"}

Urgency = Literal["critical", "warning", "closed", "summary"]


@dataclass(frozen=True)
class Route:
    """Destinations, and the alerts that they get. The addresses may hold passwords: they are never shown."""

    name: str
    urls: tuple[str, ...] = field(repr=False)  # as apprise has them, e.g. mailto://…, slack://…, json://…
    severities: tuple[str, ...] = ("warning", "critical")
    states: tuple[str, ...] = ("open", "closed")
    series: tuple[str, ...] = ("*",)  # patterns of series keys, * and ? for any text
    per_minute: int = 20
    allow_private: bool = False  # destinations on this machine and in private networks

    def wants(self, alert: Mapping[str, Any]) -> bool:
        """Tell whether an alert record is for this route. A severity or a state newer than this program is for everyone.

        >>> route = Route("line", ("json://host",), severities=("critical",), series=("ETCH*",))
        >>> route.wants({"severity": "CRITICAL", "state": "OPEN", "series": "ETCH-07|B|R|10|CD"})
        True
        >>> route.wants({"severity": "WARNING", "state": "OPEN", "series": "ETCH-07|B|R|10|CD"})
        False
        """
        severity, state = str(alert["severity"]).lower(), str(alert["state"]).lower()
        return (
            severity in (*self.severities, "unknown")
            and state in (*self.states, "unknown")
            and any(fnmatchcase(str(alert["series"]), pattern) for pattern in self.series)
        )

    def destinations(self) -> tuple[Destination, ...]:
        """Return the route's destinations."""
        return tuple(Destination(self.name, mark(url)) for url in self.urls)


class Destination(NamedTuple):
    """One address of a route, by a mark that does not tell it."""

    route: str
    mark: str

    def __str__(self) -> str:
        """Return `route/mark`."""
        return f"{self.route}/{self.mark}"


def mark(url: str) -> str:
    """Return eight digits by which an address is known without being told: it may hold a password.

    >>> mark("json://host/path")
    '1f4a086f'
    """
    return hashlib.blake2b(url.encode(), digest_size=4).hexdigest()


class Message(NamedTuple):
    """What is sent."""

    title: str
    body: str
    urgency: Urgency


class PerMinute:
    """A sliding minute that lets `limit` messages through.

    >>> gate = PerMinute(2)
    >>> [gate.passes(at_ms) for at_ms in (0, 10, 20, 60_000, 60_005)]
    [True, True, False, True, False]
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._sent: deque[int] = deque(maxlen=limit)  # when, newest last

    def passes(self, now_ms: int) -> bool:
        """Tell whether one more may be sent now, and count it if so."""
        if len(self._sent) == self.limit and now_ms - self._sent[0] < MINUTE_MS:
            return False
        self._sent.append(now_ms)
        return True


class Recent:
    """The newest `limit` names seen; older ones are forgotten."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._seen: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        """Tell whether a name is among the newest."""
        return name in self._seen

    def add(self, name: str) -> None:
        """Take a name in."""
        self._seen[name] = None
        self._seen.move_to_end(name)
        while len(self._seen) > self.limit:
            self._seen.popitem(last=False)


@dataclass
class HeldBack:
    """What a route was not told one by one: counts, in bounded memory."""

    since_ms: int
    alerts: int = 0
    old: int = 0  # of them for being old, not for being many
    kinds: Counter[str] = field(default_factory=Counter)  # e.g. "critical open"
    series: Counter[str] = field(default_factory=Counter)

    def add(self, alert: Mapping[str, Any], *, old: bool) -> None:
        """Count one alert record."""
        self.alerts += 1
        self.old += old
        self.kinds[f"{alert['severity']} {alert['state']}".lower()] += 1
        series = str(alert["series"]) or "a whole partition"
        known = series in self.series or len(self.series) < SERIES_HELD_MAX
        self.series[series if known else "other series"] += 1

    def message(self, route: Route) -> Message:
        """Return the summary."""
        lines = [f"{count} {kind}" for kind, count in sorted(self.kinds.items())]
        most = ", ".join(f"{series} ({count})" for series, count in self.series.most_common(SERIES_TOLD))
        lines.append(f"Most of them: {most}.")
        if self.alerts > self.old:
            lines.append(f"Route {route.name} sends at most {route.per_minute} alerts a minute one by one.")
        if self.old:
            lines.append(f"{self.old} were old already when they came.")
        return Message(f"{self.alerts} alerts held back", "\n".join(lines), "summary")


def message_of(alert: Mapping[str, Any]) -> Message:
    """Return what is said of one alert record."""
    closed, escalated = alert["state"] == "CLOSED", alert["state"] == "ESCALATED"
    severity = str(alert["severity"]).lower()
    where = alert["series"] or f"{alert['topic']}:{alert['partition']}"
    said = "closed" if closed else f"{severity.upper()}, not acknowledged" if escalated else severity.upper()
    title = f"{said}: {alert['rule']} on {where}"
    lines = [str(alert["rule_doc"])] if alert["rule_doc"] else []
    lines += [f"{label}: {alert[name]:.6g}" for name, label in _NUMBERS.items() if alert[name] is not None]
    lines += [f"{name}: {alert[name]}" for name in ("lot", "wafer") if alert[name]]
    if alert["opened_time"]:
        lines.append(f"since: {datetime.fromtimestamp(alert['opened_time'] / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC")
    if alert["rows"]:
        lines.append(f"rows with the signal: {alert['rows']}")
    lines.append(f"detector: {alert['detector']}")
    lines.append(f"alert: {alert['alert_id']}, {alert['topic']}:{alert['partition']}:{alert['opened_offset']}")
    if alert["detail"]:
        lines.append(str(alert["detail"])[-TEXT_CHARS:])
    return Message(title, "\n".join(lines), "closed" if closed else "warning" if severity == "warning" else "critical")


def rest_of(destinations: Sequence[Destination]) -> str:
    """Return destinations as a retry carries them; `parse_rest` is its inverse.

    >>> parse_rest(rest_of([Destination("line", "1f4a086f")]))
    (Destination(route='line', mark='1f4a086f'),)
    """
    return ",".join(map(str, destinations))


def parse_rest(text: str) -> tuple[Destination, ...]:
    """Return the destinations that a retry is still for."""
    return tuple(Destination(*part.rsplit("/", 1)) for part in text.split(",") if "/" in part)
