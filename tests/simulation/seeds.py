"""Seeds run one after the other, and what is told of those that fail."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.simulation.world import World

SHOWN_MAX = 20  # differences of one seed


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
