"""At which offset modes change, and who judges what until there. Pure.

Theory of operation
-------------------
A switch takes deployments from one mode to another, all at the same offset X of each partition. They are stopped in order first;
so what each has committed is exactly what it has judged. X is the largest of those: nobody has judged beyond it, so nobody
judges an offset beyond it in an old mode. Who is behind goes on up to X in the mode that it had (in shadow, if it was stopped:
others have judged those offsets live), and then begins in the new mode at X.

So every input offset of a partition is judged live by the versions whose shares hold at that offset, and by no other: shares
that are disjoint and together whole stay so over every switch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from actors.engine.share import EVERY_SERIES, PLACES, Share
from cluster.deployments.record import NOTHING, RUNNING, STANDING, Deployment, Offsets, Phase

Committed = Mapping[int, int | None]  # by partition; None: nothing yet


class Turn(NamedTuple):
    """What one deployment does in a switch."""

    name: str
    to: Share | None  # None: it is stopped at the switch


def promotion(deployment: Deployment, over: Deployment | None, share: Share) -> list[Turn]:
    """Return the turns by which a deployment gets a share of the series live; `over`: the version that it replaces.

    That one keeps the other series as long as it is live; it is stopped when nothing is left to it.
    """
    turns = [Turn(deployment.name, share)]
    if over is not None and over.phase in {Phase.live, Phase.canary}:
        turns.append(Turn(over.name, None if share.whole else Share(share.high, PLACES)))
    return turns


def rollback(deployment: Deployment, over: Deployment | None) -> list[Turn]:
    """Return the turns by which a deployment is stopped, and the version before it is live again, if there is one."""
    turns = [] if deployment.phase is Phase.off else [Turn(deployment.name, None)]
    if over is not None and over.phase in STANDING | {Phase.stopped}:
        turns.append(Turn(over.name, EVERY_SERIES))
    return turns


def switch_at(committed: Iterable[Committed], starts: Offsets) -> dict[int, int]:
    """Return the offset of the switch by partition: the largest that anybody has committed, or `starts` where nobody has.

    >>> switch_at([{0: 7, 1: None}, {0: 9, 1: None}], {0: 3, 1: 4})
    {0: 9, 1: 4}
    """
    every = list(committed)
    return {
        partition: max([start, *(at for each in every if (at := each.get(partition)) is not None)])
        for partition, start in starts.items()
    }


def judged_before(deployment: Deployment) -> Offsets | None:
    """Return up to where a deployment that is off has judged live: who takes its place must not judge that again."""
    last = deployment.history[-1] if deployment.history else None
    if deployment.phase is not Phase.off or last is None or _none(last.share):
        return None
    return last.ended


def behind(committed: Committed, at: Offsets, starts: Offsets) -> bool:
    """Say whether somebody has yet to judge up to the switch."""
    return any(_reached(committed, partition, starts) < end for partition, end in at.items())


def _reached(committed: Committed, partition: int, starts: Offsets) -> int:
    known = committed.get(partition)
    return starts.get(partition, 0) if known is None else known


def catches_up_as(deployment: Deployment) -> Share:
    """Return the mode in which a deployment goes on up to the switch: its own if it judged until now, else shadow."""
    before = deployment.switch.from_phase if deployment.switch is not None else deployment.phase
    return deployment.share if before in RUNNING else NOTHING


def live_parts(deployments: Iterable[Deployment], partition: int) -> list[tuple[str, Share, int, int | None]]:
    """Return who judged what live on a partition: name, share, first offset, the offset after the last (None: it goes on)."""
    return [
        (deployment.name, spell.share, spell.began[partition], None if spell.ended is None else spell.ended[partition])
        for deployment in deployments
        for spell in deployment.history
        if not _none(spell.share) and partition in spell.began
    ]


def _none(share: Share) -> bool:
    return share.high <= share.low
