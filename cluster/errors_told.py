"""What went wrong, as the API and the commands tell it: dead letters, detectors that are off, quarantines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ERRORS_MAX = 500  # detectors and partitions that are named


def told(
    summary: Mapping[str, Any], lately: Mapping[str, int], owners: Mapping[str, Any] | None, window_s: int
) -> dict[str, Any]:
    """Return it. `summary`: the view's; `lately`: dead letters of the window by reason; `owners`: of the supervisor."""
    found = sum(lately.values())
    said = owners["owners"] if owners else ()
    return {
        "window_s": window_s,
        "dead_letters": {
            **summary["dead_letters"],
            "in_window": {"total": found, "by_reason": dict(lately)},
            "per_s": _rate(found, window_s),
            "per_s_by_reason": {reason: _rate(count, window_s) for reason, count in lately.items()},
        },
        "detectors_off": [each for owner in said for each in _off(owner)][:ERRORS_MAX],
        "quarantined": [each for owner in said for each in _quarantined(owner)][:ERRORS_MAX],
        "unreadable": summary["unreadable"],
    }


def _rate(count: int, window_s: int) -> float:
    return round(count / window_s, 4)


def _off(owner: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for partition, said in owner["partitions"].items():
        for detector in said.get("disabled") or ():
            yield {"slot": owner["slot"], "partition": int(partition), "detector": detector}


def _quarantined(owner: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for partition, said in owner["partitions"].items():
        if said.get("quarantined"):
            yield {"slot": owner["slot"], "partition": int(partition), "why": said["quarantined"]}
