"""The key figures of a pipeline, each with its unit and what it says: /events/metrics and the page's overview. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

Said = Mapping[str, Any]


class Figure(NamedTuple):
    """A figure: its unit, what it says, and how it is read from what its part says."""

    unit: str
    doc: str
    read: Callable[[Any], float | int | None]


def _lag(groups: Sequence[Said]) -> int | None:
    lags = [each["lag"] for group in groups for each in group["partitions"] if each["lag"] is not None]
    return sum(lags) if lags else None


def _worst(name: str) -> Callable[[Said], float | None]:
    """Return how the largest of the owners' figures of this name is read."""
    return lambda said: max(
        (owner[name] for owner in said["owners"] if isinstance(owner.get(name), int | float)), default=None
    )


def _within(name: str, part: str) -> Callable[[Said], float | int | None]:
    return lambda said: said[name][part]


_MS_OF = "Producer's clock to a read_committed reader, over the last 10 s: "
_READ_BACK = ", as far as the view has read back"

FIGURES: Mapping[str, Mapping[str, Figure]] = {  # by part
    "view": {
        "rows_per_s": Figure("rows/s", "Rows that a reader sees come, over the last 10 s", itemgetter("rows_per_s")),
        "rows": Figure("rows", "Rows with a value that the view has seen judged", itemgetter("judged")),
        "rows_missing": Figure("rows", "Rows without a value", itemgetter("missing")),
        "rows_duplicated": Figure("rows", "Rows seen twice; anything but 0 is a fault", itemgetter("duplicated")),
        "gaps": Figure("gaps", "Holes in the charts' input offsets: steps of dead letters only", itemgetter("gaps")),
        "latency_p50": Figure("ms", f"{_MS_OF}median", _within("latency_ms", "p50")),
        "latency_p95": Figure("ms", f"{_MS_OF}95th percentile", _within("latency_ms", "p95")),
        "latency_p99": Figure("ms", f"{_MS_OF}99th percentile", _within("latency_ms", "p99")),
        "series": Figure("series", "Series that the view holds", itemgetter("series")),
        "alerts_open": Figure("alerts", "Alerts that are open", _within("alerts", "open")),
        "alerts_opened": Figure("alerts", f"Alerts opened{_READ_BACK}", _within("alerts", "opened")),
        "dead_letters": Figure("records", f"Dead letters{_READ_BACK}", _within("dead_letters", "total")),
        "unreadable": Figure("records", "Output records that the view could not read", itemgetter("unreadable")),
    },
    "owners": {
        "slots": Figure("slots", "Slots that the deal has", itemgetter("slots")),
        "slots_live": Figure(
            "slots", "Slots whose owner is live", lambda said: sum(one["state"] == "live" for one in said["owners"])
        ),
        "partitions_quarantined": Figure(
            "partitions",
            "Partitions that stand still because their state cannot be trusted",
            lambda said: sum(len(one.get("quarantined") or ()) for one in said["owners"]),
        ),
        "step": Figure("ms", "Decoding and judging of the last step, the slowest slot's", _worst("step_ms")),
        "commit": Figure("ms", "The last commit, the slowest slot's", _worst("commit_ms")),
        "replay_worst": Figure(
            "s", "How long a recovery could have to fold again, the worst slot's", _worst("replay_worst_s")
        ),
    },
    "kafka": {"lag": Figure("records", "From the pipeline's committed offsets to the ends", _lag)},
}


def told(parts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all figures: name, value, unit, doc; value None where its part did not answer, or there is none yet."""
    return [
        {
            "name": name,
            "value": None if parts[part] is None else figure.read(parts[part]),
            "unit": figure.unit,
            "doc": figure.doc,
        }
        for part, figures in FIGURES.items()
        for name, figure in figures.items()
    ]
