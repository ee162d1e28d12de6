"""What the API tells, as Arrow tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc

from cluster.client import tables
from cluster.client.connection import TIMEOUT_S, Connection, in_path

LIMIT = 1_000  # rows of a list, unless told otherwise


@dataclass(frozen=True)
class Chart:
    """The newest points of a series, and what every detector said of them; the two are joined by `offset` and `sample`."""

    series: str
    status: str  # alarm, in control, learning
    points: pa.Table  # offset, sample, event_time, published, value, lsl, usl, target, lot, wafer
    verdicts: pa.Table  # offset, sample, detector, identity, statistic, value, centre, lcl, ucl, valid, signals
    told: Mapping[str, Any]  # all that the API says

    def plotted(self, detector: str, statistic: str | None = None) -> pa.Table:
        """Return what a chart plots: points beside one statistic of a detector (its first, unless said) and its limits.

        Raises KeyError if there is none of that name.
        """
        known = {one["detector"]: [s["name"] for s in one["statistics"]] for one in self.told["detectors"]}
        if detector not in known:
            raise KeyError(f"no detector {detector!r} has judged this series; there are {', '.join(known) or 'none'}")
        name = statistic or known[detector][0]
        if name not in known[detector]:
            raise KeyError(f"{detector} has no statistic {name!r}; it has {', '.join(known[detector])}")
        said = self.verdicts.filter(
            pc.and_(pc.equal(self.verdicts["detector"], detector), pc.equal(self.verdicts["statistic"], name))
        )
        row_of = {place: row for row, place in enumerate(_places(said))}
        beside = said.take(pa.array([row_of.get(place) for place in _places(self.points)], pa.int64()))
        plotted = self.points
        for column in ("value", "centre", "lcl", "ucl", "valid", "signals"):
            plotted = plotted.append_column(name if column == "value" else column, beside[column])
        return plotted


def _places(rows: pa.Table) -> Iterator[tuple[int, int]]:
    return zip(rows["offset"].to_pylist(), rows["sample"].to_pylist(), strict=True)


@dataclass(frozen=True)
class Capability:
    """A capability report: its indices with their intervals as a table, its histogram, and all of it as it was told."""

    series: str
    indices: pa.Table  # index, value, low, high
    histogram: pa.Table  # from, to, count
    told: Mapping[str, Any]

    def __getitem__(self, index: str) -> float | None:
        """Return the value of an index, e.g. "Cpk"; None = it has no meaning here."""
        value: float | None = self.told["indices"][index]["value"]
        return value


class Client:
    """The API at an address, with a key. Thread-safe; use as a context manager, or close it.

    Lists stop at `limit` rows (None: all there are); pages are fetched as they are needed. Every method raises ApiError for a
    problem that the API tells, NotReachedError if nothing answers. `api` asks for what has no method here.
    """

    def __init__(self, url: str, key: str, *, timeout_s: float = TIMEOUT_S, ca_certs: str | None = None) -> None:
        self.api = Connection(url, key, timeout_s=timeout_s, ca_certs=ca_certs)

    # ---- series and charts

    def series(self, search: str = "", *, limit: int | None = LIMIT) -> pa.Table:
        """Return the series whose key has the words of `search`, those with most open alerts first."""
        return tables.table(self.api.items("/charts", limit, search=search or None), tables.SERIES)

    def chart(self, series: str, *, points: int | None = None) -> Chart:
        """Return the newest points of a series (as many as are held, up to 500) and the verdicts on them."""
        told = self.api.get(f"/charts/{in_path(series)}", points=points)
        return Chart(series, told["status"], tables.points(told["points"]), tables.verdicts(told["detectors"]), told)

    def capability(
        self,
        series: str,
        *,
        rows: int | None = None,
        since: str | int | None = None,
        until: str | int | None = None,
        method: Literal["normal", "percentile", "box-cox", "johnson"] = "normal",
        confidence: float = 0.95,
        lsl: float | None = None,
        usl: float | None = None,
        target: float | None = None,
    ) -> Capability:
        """Return Cp, Cpk, Pp, Ppk and the rest: of the points that are held, or of the topic with rows, since, until."""
        told = self.api.get(
            f"/capability/{in_path(series)}", rows=rows, from_=since, to=until, method=method, confidence=confidence,
            lsl=lsl, usl=usl, target=target,
        )  # fmt: skip
        indices = [{"index": name, **value} for name, value in told["indices"].items()]
        names = {
            name: (name, tables.TEXT if name == "index" else tables.REAL) for name in ("index", "value", "low", "high")
        }
        edges = told["histogram"]["edges"]
        bars = {"from": pa.array(edges[:-1]), "to": pa.array(edges[1:]), "count": pa.array(told["histogram"]["counts"])}
        return Capability(series, tables.table(indices, names), pa.table(bars), told)

    def limits(
        self, series: str | None = None, *, kind: str | None = None, state: str | None = None, limit: int | None = LIMIT
    ) -> pa.Table:
        """Return changes of limits, exclusions and resets, newest first."""
        return tables.table(self.api.items("/limits", limit, series=series, kind=kind, state=state), tables.LIMITS)

    def detectors(self) -> pa.Table:
        """Return the detectors whose verdicts are held."""
        return tables.table(self.api.get("/detectors")["items"], tables.DETECTORS)

    # ---- alerts

    def alerts(
        self,
        *,
        limit: int | None = LIMIT,
        state: Literal["OPEN", "CLOSED"] | None = None,
        series: str | None = None,
        status: str | None = None,
        severity: Literal["WARNING", "CRITICAL"] | None = None,
        detector: str | None = None,
        tool: str | None = None,
    ) -> pa.Table:
        """Return alerts, newest raised first: `state` is that of the signal, `status` how far people are with it."""
        chosen = {"state": state, "series": series, "status": status, "severity": severity, "detector": detector}
        return tables.table(self.api.items("/alerts", limit, **chosen, tool=tool), tables.ALERTS)

    def pareto(self, by: str = "rule", *, window_s: int | None = None, limit: int = 20) -> pa.Table:
        """Return what there is most of: alerts by rule, detector, tool, lot …, or defects by defect_type …"""
        return tables.table(self.api.get("/pareto", by=by, window_s=window_s, limit=limit)["items"], tables.PARETO)

    # ---- inspections

    def inspections(self, *, limit: int | None = LIMIT) -> pa.Table:
        """Return inspections, newest first."""
        return tables.table(self.api.items("/wafer-maps", limit), tables.INSPECTIONS)

    def wafer(self, lot: str, wafer: str) -> pa.Table:
        """Return the defects of a wafer with their places."""
        return tables.table(self.api.get(f"/wafer-maps/{in_path(lot)}/{in_path(wafer)}")["defects"], tables.DEFECTS)

    # ---- Kafka, as the API tells of it

    def topics(self, *, internal: bool = False, limit: int | None = LIMIT) -> pa.Table:
        """Return the topics, ours first."""
        return tables.table(self.api.items("/events/topics", limit, internal=internal), tables.TOPICS)

    def dead_letters(
        self, *, topic: str | None = None, reason: str | None = None, limit: int | None = LIMIT
    ) -> pa.Table:
        """Return dead letters, newest first."""
        return tables.table(self.api.items("/dead-letters", limit, topic=topic, reason=reason), tables.DEAD_LETTERS)

    def status(self) -> dict[str, Any]:
        """Return counts, rates and latencies."""
        told: dict[str, Any] = self.api.get("/status")
        return told

    def publish(self, category: str, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Publish events of a category; return where each stands. Nothing is published if one of them is wrong."""
        told: dict[str, Any] = self.api.ask("POST", f"/events/{in_path(category)}", {"events": list(events)})
        listed: list[dict[str, Any]] = told["items"]
        return listed

    def close(self) -> None:
        """Close the connections."""
        self.api.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
