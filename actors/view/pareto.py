"""Pareto tables: what there is most of, first, and how much of all that is together."""

from __future__ import annotations

from collections import Counter
from typing import Any

GROUPS_MAX = 10_000  # told apart; what comes after them is counted together


class Tally:
    """Counts by name, in bounded memory."""

    def __init__(self, groups_max: int = GROUPS_MAX) -> None:
        self.groups_max = groups_max
        self.counts = Counter[str]()
        self.untold = 0  # of names beyond groups_max

    def add(self, name: str, count: int = 1) -> None:
        """Count something."""
        if name in self.counts or len(self.counts) < self.groups_max:
            self.counts[name] += count
        else:
            self.untold += count

    def table(self, limit: int) -> dict[str, Any]:
        """Return the `limit` largest with their share and the share up to them, and what is in none of them.

        >>> tally = Tally()
        >>> for name in "abacab":
        ...     tally.add(name)
        >>> [(row["name"], row["count"], row["cumulative"]) for row in tally.table(2)["items"]], tally.table(2)["other"]
        ([('a', 3, 0.5), ('b', 2, 0.8333333333333334)], 1)
        """
        total = self.counts.total() + self.untold
        largest = sorted(self.counts.items(), key=lambda one: (-one[1], one[0]))
        items, so_far = [], 0
        for name, count in largest[:limit]:
            so_far += count
            items.append({"name": name, "count": count, "share": count / total, "cumulative": so_far / total})
        return {"items": items, "total": total, "groups": len(largest), "other": total - so_far}
