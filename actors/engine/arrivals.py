"""What a pipeline sets aside instead of judging it: settings. What they mean is said, and done, in actors/engine/gate.py."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from actors.errors import ConfigError

DEDUPE_WINDOW_MAX = 1_000_000  # ids per partition: 16 MB of memory, 8 MB of pages
SPAN_MAX_MS = 366 * 24 * 60 * 60 * 1000  # of lateness and of what is ahead


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What is set aside, of one pipeline. None: nothing is, for that reason.

    >>> Arrivals(dedupe_window=10_000, allowed_lateness_ms=60_000).on, Arrivals().on
    (True, False)
    >>> Arrivals(allowed_lateness_ms=-1)
    Traceback (most recent call last):
    actors.errors.ConfigError: allowed_lateness_ms = -1: 0 to 31622400000
    """

    dedupe_window: int | None = None  # event ids that are remembered per partition
    allowed_lateness_ms: int | None = None  # behind the partition's watermark
    max_ahead_ms: int | None = None  # of the record's Kafka timestamp

    def __post_init__(self) -> None:
        """Raise ConfigError for a setting out of its bounds."""
        bounds = (
            ("dedupe_window", 1, DEDUPE_WINDOW_MAX),
            ("allowed_lateness_ms", 0, SPAN_MAX_MS),
            ("max_ahead_ms", 0, SPAN_MAX_MS),
        )
        for name, low, high in bounds:
            said = getattr(self, name)
            if said is not None and not low <= said <= high:
                raise ConfigError(f"{name} = {said}: {low} to {high}")

    @property
    def on(self) -> bool:
        """Say whether anything can be set aside."""
        return astuple(self) != (None, None, None)
