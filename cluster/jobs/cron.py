"""When a schedule is due: cron with a time zone, daylight saving both ways. Pure.

Fields are those of Debian's cron (minute, hour, day of month, month, day of week), parsed and walked by cronsim. So is
daylight saving:

- *Times* (neither the minute nor the hour begins with `*`) are of the wall clock. What the clock skips in spring runs once, right
  after the gap; what it shows twice in autumn runs once, the first time.
- *Intervals* (one of the two begins with `*`: every 15 minutes, every hour) are of real time: they go on as if nothing was,
  and a minute that the clock shows twice is two minutes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from cluster.operations.errors import Invalid, shown

FIELDS = 5
CRON_CHARS_MAX = 200
YEARS_MAX = 5  # for the first time to come: a schedule that never is due is refused
_WINDOW_MS = 60 * 60 * 1000  # the first that is looked at for missed times; it doubles


@dataclass(frozen=True)
class Cron:
    """A schedule.

    >>> two = Cron("30 2 * * *", "Europe/Berlin")
    >>> [datetime.fromtimestamp(at / 1000, UTC).isoformat() for at in (two.after(when("2026-03-28T12:00Z")),)]
    ['2026-03-29T01:00:00+00:00']
    """

    text: str
    zone: str

    @cached_property
    def _zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise Invalid(f"zone {shown(self.zone)!r} is no time zone: as Europe/Berlin, Asia/Taipei, UTC") from error

    def check(self, now_ms: int) -> None:
        """Raise Invalid if it is no schedule, or nothing is due within YEARS_MAX years."""
        fields = self.text.split()
        if len(fields) != FIELDS or len(self.text) > CRON_CHARS_MAX:
            raise Invalid(f"cron {shown(self.text)!r}: five fields: minute hour day month weekday, as in '30 2 * * *'")
        try:
            due = self.after(now_ms)
        except CronSimError as error:
            raise Invalid(f"cron {shown(self.text)!r}: {error}") from error
        if due is None:
            raise Invalid(f"cron {shown(self.text)!r} is not due within {YEARS_MAX} years")

    def after(self, ms: int) -> int | None:
        """Return the first time that is due after another, milliseconds UTC; None: not within YEARS_MAX years."""
        due = next(self.times(ms), None)
        return due if due is not None and due - ms <= YEARS_MAX * 366 * 86_400_000 else None

    def times(self, after_ms: int) -> Iterator[int]:
        """Yield the times that are due after another, ascending, each once."""
        last = after_ms
        for due in CronSim(self.text, datetime.fromtimestamp(after_ms / 1000, UTC).astimezone(self._zone)):
            ms = round(due.timestamp() * 1000)
            if ms > last:  # several that the clock skips are one; of those that it shows twice the first is past
                last = ms
                yield ms

    def newest(self, after_ms: int, until_ms: int, count: int) -> list[int]:
        """Return the newest `count` times that are due after one time and not after another, ascending.

        Looked for backwards in windows that double, so that a schedule of every minute that nobody looked at for a year costs
        no more than one of every month.
        """
        first = self.after(after_ms)
        if first is None or first > until_ms:
            return []
        window = _WINDOW_MS
        while True:
            since = max(after_ms, until_ms - window)
            found: deque[int] = deque(maxlen=count)
            for due in self.times(since):
                if due > until_ms:
                    break
                found.append(due)
            if len(found) == count or since == after_ms:
                return list(found)
            window *= 2


def when(text: str) -> int:
    """Return milliseconds since 1970 of an ISO 8601 time.

    >>> when("1970-01-01T00:00:01Z")
    1000
    """
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def stamp(ms: int) -> str:
    """Return a time as it stands in ids: UTC, to the millisecond where there are any.

    >>> stamp(1780315200000), stamp(1780315200017)
    ('20260601T120000Z', '20260601T120000017Z')
    """
    rest = ms % 1000
    text = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y%m%dT%H%M%S")
    return f"{text}{rest:03d}Z" if rest else f"{text}Z"
