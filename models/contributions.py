"""What each variable adds to a multivariate statistic: who made the point signal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

TOLD = 5  # variables named in an explanation


class Share(NamedTuple):
    """One variable's part of a statistic."""

    name: str
    contribution: float  # in the unit of the statistic; may be below 0
    fraction: float  # of the statistic


def largest(names: Sequence[str], contribution: np.ndarray, k: int = TOLD) -> tuple[Share, ...]:
    """Return the k largest contributions (p,), the largest first; of equal ones the earlier variable first.

    >>> largest(("a", "b", "c"), np.array([1.0, 6.0, 3.0]), 2)
    (Share(name='b', contribution=6.0, fraction=0.6), Share(name='c', contribution=3.0, fraction=0.3))
    """
    total = float(contribution.sum())
    order = np.argsort(-contribution, kind="stable")[:k].tolist()
    return tuple(
        Share(names[j], float(contribution[j]), float(contribution[j]) / total if total else 0.0) for j in order
    )


def told(names: Sequence[str], contribution: np.ndarray, k: int = TOLD) -> str:
    """Say the k largest contributions in a line, leaving out those below half a percent.

    >>> told(("a", "b", "c"), np.array([1.0, 6.0, 3.0]), 2)
    'b 60 %, c 30 %'
    """
    shares = [share for share in largest(names, contribution, k) if share.fraction >= 0.005]
    return ", ".join(f"{share.name} {share.fraction:.0%}".replace("%", " %") for share in shares)
