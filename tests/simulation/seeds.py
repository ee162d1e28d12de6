"""Seeds run one after the other, and what is told of those that fail."""

from __future__ import annotations

import logging
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.world import World

SHOWN_MAX = 20  # differences of one seed
WIDTH, NO_BREAK = 120, "\N{NO-BREAK SPACE}"


@dataclass
class Outcome:
    """What came of some seeds."""

    seeds: int = 0
    switches: int = 0
    torn: int = 0
    met: Counter[str] = field(default_factory=Counter)
    failed: dict[int, list[str]] = field(default_factory=dict)

    def __iadd__(self, other: Outcome) -> Outcome:
        self.seeds += other.seeds
        self.switches += other.switches
        self.torn += other.torn
        self.met += other.met
        self.failed |= other.failed
        return self

    def happened(self) -> Counter[str]:
        """Return how often each kind of thing happened, wherever and however it did.

        >>> Outcome(met=Counter({"crash at init": 2, "crash at flush": 1, "late end: dropped": 4, "twin": 0})).happened()
        Counter({'late end': 4, 'crash': 3})
        """
        kinds = Counter[str]()
        for what, times in self.met.items():
            kinds[what.partition(" at ")[0].partition(":")[0]] += times
        return +kinds

    def text(self, first_seed: int, seconds: float) -> str:
        """Return the outcome for a person to read."""
        head = (
            f"{self.seeds} seeds from {first_seed}: {len(self.failed)} failed; {self.switches} switches, "
            f"{self.torn} torn transactions; {seconds:.0f} s"
        )
        kinds = [f"{times} × {what.replace('_', ' ')}" for what, times in self.happened().most_common()]
        whole = ", ".join(kind.replace(" ", NO_BREAK) for kind in kinds)
        lines = textwrap.wrap(whole, WIDTH, initial_indent="  ", subsequent_indent="  ")
        return "\n".join([head, *(line.replace(NO_BREAK, " ") for line in lines)])

    def to_json(self, first_seed: int, seconds: float) -> dict[str, Any]:
        """Return the outcome as JSON knows it."""
        return {
            "first_seed": first_seed,
            "seeds": self.seeds,
            "failed": {str(seed): wrong for seed, wrong in self.failed.items()},
            "switches": self.switches,
            "torn": self.torn,
            "met": dict(sorted((+self.met).items())),
            "seconds": round(seconds, 1),
        }


def run(seeds: Iterable[int]) -> Outcome:
    """Run seeds, one after the other."""
    logging.disable(logging.CRITICAL)
    outcome = Outcome()
    for seed in seeds:
        world = World(seed)
        wrong = world.run()
        outcome += Outcome(1, world.scheduler.switches, len(world.broker.torn), world.scheduler.met)
        if wrong:
            outcome.failed[seed] = wrong
    return outcome


def report(seed: int, wrong: list[str], *, verbose: bool) -> str:
    """Return what a person needs who looks into a seed that fails."""
    lines = [f"seed {seed} fails; again: make simulate SEEDS=1 FIRST_SEED={seed} ARGS=--verbose"]
    if verbose:
        world = World(seed)
        world.run()
        lines += [str(world.scenario), *map(str, world.scheduler.trace)]
    return "\n".join(lines + [f"  {line}" for line in wrong[:SHOWN_MAX]])
