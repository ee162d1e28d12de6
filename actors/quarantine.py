"""How an owner hears that a quarantined partition was repaired: its state has grown, which nobody else can do.

An owner that is fenced by a repair opens its slot again by itself, but it hears of the fencing only at its next commit: if all is
quiet there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from actors.pipeline import Pipeline
from actors.surroundings import Surroundings

WATCH_S = 2.0  # between two looks at the state of quarantined partitions


@dataclass
class QuarantineWatch:
    """Says when a quarantined partition has got new state: somebody has repaired it, and the slot opens again."""

    pipeline: Pipeline
    around: Surroundings
    _known: dict[int, int] = field(
        default_factory=dict
    )  # partition → end of its state when it was looked at, or seen first
    _looking: Future[dict[int, int]] | None = None
    _look_at: float = 0.0

    def repaired(self, quarantined: Iterable[int], state_ends: Mapping[int, int]) -> list[int]:
        """Return partitions that were written to since they were looked at, or else since they were first asked for.

        `state_ends`: where the state of a partition ended when it was looked at. Never waits. Raises ReopenError.
        """
        asked = sorted(quarantined)
        if not asked:
            self._known, self._looking = {}, None
            return []
        now = self.around.clock.now()
        if self._looking is None and now >= self._look_at:
            topic = self.pipeline.topics.state
            self._looking = self.around.log.background(lambda: self.around.log.end(topic, asked))
        if self._looking is None or not self._looking.done():
            return []
        ends, self._looking, self._look_at = self._looking.result(), None, now + WATCH_S
        found = [
            p for p, end in ends.items() if p in asked and self._known.setdefault(p, state_ends.get(p, end)) != end
        ]
        self._known = {p: self._known[p] for p in ends if p in asked}
        return found
