"""Where a stretch begins or ends, and where a group is set to: as people say it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from cluster.operations.errors import Invalid, shown

OFFSET_MAX = 2**63 - 1
TIME_MAX_MS = 253_402_300_799_999  # the end of the year 9999


@dataclass(frozen=True)
class Bound:
    """An end of the topic, an offset (one for all partitions, or by partition), a time of publishing, or an event time."""

    edge: Literal["earliest", "latest"] | None = None
    offset: int | None = None
    offsets: Mapping[int, int] | None = None
    time_ms: int | None = None  # Kafka's timestamp: the producer's clock
    event_time_ms: int | None = None

    def at(self, partition: int) -> int | None:
        """Return the offset that it names for a partition; None: it names none."""
        return self.offset if self.offsets is None else self.offsets.get(partition)


EARLIEST, LATEST = Bound(edge="earliest"), Bound(edge="latest")


def when_ms(said: int | str) -> int:
    """Return milliseconds since 1970 UTC of a time as people or programs write it. Raises Invalid.

    >>> when_ms("2026-06-01T12:00:00Z"), when_ms("2026-06-01T12:00"), when_ms(1780315200000)
    (1780315200000, 1780315200000, 1780315200000)
    """
    if isinstance(said, int):
        ms = said
    else:
        try:
            when = datetime.fromisoformat(said)
            ms = round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
        except (ValueError, OverflowError):
            raise Invalid(
                f"{shown(said)!r} is no time: as ISO 8601 has it, e.g. 2026-06-01T12:00Z, or in milliseconds"
            ) from None
    if not 0 <= ms <= TIME_MAX_MS:
        raise Invalid(f"{ms} is no time in milliseconds since 1970")
    return ms


def bound_of(text: str, *, event_time: bool = False) -> Bound:
    """Return the bound that a person types: earliest, latest, an offset, or a time. Raises Invalid.

    >>> bound_of("earliest") == EARLIEST, bound_of("17").offset, bound_of("2026-06-01", event_time=True).event_time_ms
    (True, 17, 1780272000000)
    """
    if text in {"earliest", "latest"}:
        return EARLIEST if text == "earliest" else LATEST
    if re.fullmatch(r"\d{1,19}", text) and int(text) <= OFFSET_MAX:
        return Bound(offset=int(text))
    ms = when_ms(text)
    return Bound(event_time_ms=ms) if event_time else Bound(time_ms=ms)
