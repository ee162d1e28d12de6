"""Latency by stage, from what can be measured without a clock in the fold: see docs/api.md. Pure.

The view measures producer's clock → block written → read, of every row. The owners say how long their last step and commit took.
What lies between is the difference: a stage that is one says so (`derived`), and its quantiles are those of the measured whole
less the median of the part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Quantiles = Mapping[str, Any]  # p50, p95, p99 in ms, n


def told(view: Mapping[str, Any], owners: Mapping[str, Quantiles]) -> dict[str, Any]:
    """Return end to end, the four stages and p95 over time. `view`: see StageLatencies.over; `owners`: OwnerTimes.over.

    >>> part = {"p50": 3.0, "p95": 4.0, "p99": 5.0, "n": 1}
    >>> less({"p50": 10.0, "p95": 20.0, "p99": 2.0, "n": 7}, part)
    {'p50': 7.0, 'p95': 17.0, 'p99': 0.0, 'n': 7}
    """
    stages = view["stages"]
    judge, commit = owners["decode_and_judge"], owners["commit"]
    return {
        "end_to_end": stages["read"],
        "stages": {
            "publish_to_poll": {**less(stages["written"], judge), "derived": True},
            "decode_and_judge": {**judge, "derived": False},
            "commit": {**commit, "derived": False},
            "read": {**less(stages["visible"], commit), "derived": True},
        },
        "series": view["series"],
    }


def less(whole: Quantiles, part: Quantiles) -> dict[str, Any]:
    """Return the quantiles of a whole less the median of a part; None where either is not known."""
    median = part["p50"]
    return {
        name: None if whole[name] is None or median is None else round(max(0.0, whole[name] - median), 1)
        for name in ("p50", "p95", "p99")
    } | {"n": whole["n"]}
