"""What stands under /metrics: the pipeline in Prometheus' text format, made anew for each scrape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_OWNER = (  # name in the owner's status → metric, what it says
    ("rows", "chipquality_owner_rows", "Rows of the owner's incarnation, judged or missing"),
    ("records", "chipquality_owner_records", "Records that those rows are of; fewer where some have several samples"),
    ("dead_lettered", "chipquality_owner_dead_lettered", "Dead letters of the owner's incarnation"),
    ("duplicates", "chipquality_owner_duplicates", "Records set aside because their event id was folded before"),
    ("late", "chipquality_owner_late", "Records set aside because they came later than is allowed"),
    ("ahead", "chipquality_owner_ahead", "Records set aside because of a clock that runs ahead"),
    ("reopened", "chipquality_owner_reopened", "How often the slot was opened again"),
)


class _Facts:
    """One scrape's facts as a prometheus_client collector."""

    def __init__(
        self, summary: dict[str, Any] | None, owners: dict[str, Any] | None, groups: Sequence[dict[str, Any]] | None
    ) -> None:
        self.summary, self.owners, self.groups = summary, owners, groups

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        up = GaugeMetricFamily("chipquality_part_up", "1 if the part answers", labels=["part"])
        for part in ("view", "owners", "kafka"):
            said = {"view": self.summary, "owners": self.owners, "kafka": self.groups}[part]
            up.add_metric([part], float(said is not None))
        yield up
        if self.summary is not None:
            yield from _of_view(self.summary)
        if self.owners is not None:
            yield from _of_owners(self.owners["owners"])
        if self.groups is not None:
            yield _lag(self.groups)


def _of_view(summary: dict[str, Any]) -> Iterator[Metric]:
    named = [summary["pipeline"]]
    rows = CounterMetricFamily(
        "chipquality_rows", "Rows seen in the output, by what became of them", labels=["pipeline", "partition", "kind"]
    )
    for partition, said in summary["partitions"].items():
        for kind in ("judged", "missing"):
            rows.add_metric([*named, partition, kind], said[kind])
        for kind in ("duplicated", "gaps"):
            rows.add_metric([*named, partition, kind], sum(family[kind] for family in said["families"].values()))
    yield rows
    letters = CounterMetricFamily(
        "chipquality_dead_letters", "Records in the dead-letter topics", labels=["pipeline", "reason"]
    )
    for reason, count in summary["dead_letters"]["by_reason"].items():
        letters.add_metric([*named, reason], count)
    yield letters
    for name, what in (("opened", "opened"), ("closed", "closed")):
        counter = CounterMetricFamily(f"chipquality_alerts_{name}", f"Alerts {what}", labels=["pipeline"])
        counter.add_metric(named, summary["alerts"][name])
        yield counter
    for name, what, value in (
        ("alerts_open", "Open alerts", summary["alerts"]["open"]),
        ("series", "Series held by the view", summary["series"]),
        ("rows_per_second", "Rows per second over the last 10 s", summary["rows_per_s"]),
        ("unreadable_records", "Records of the output topics that the view could not read", summary["unreadable"]),
    ):
        gauge = GaugeMetricFamily(f"chipquality_{name}", what, labels=["pipeline"])
        gauge.add_metric(named, value)
        yield gauge
    latency = GaugeMetricFamily(
        "chipquality_latency_seconds",
        "Producer's clock to a read_committed reader of the output, over the last 10 s",
        labels=["pipeline", "quantile"],
    )
    for name, value in summary["latency_ms"].items():
        if value is not None:
            latency.add_metric([*named, f"0.{name[1:]}"], value / 1000)
    yield latency


def _of_owners(owners: Sequence[dict[str, Any]]) -> Iterator[Metric]:
    labels = ["slot", "incarnation"]
    counters = {key: CounterMetricFamily(name, what, labels=labels) for key, name, what in _OWNER}
    live = GaugeMetricFamily("chipquality_owner_live", "1 if the owner is live", labels=labels)
    quarantined = GaugeMetricFamily("chipquality_owner_quarantined", "Partitions in quarantine", labels=labels)
    took = GaugeMetricFamily("chipquality_owner_seconds", "What a step and a commit took", labels=[*labels, "part"])
    replay = GaugeMetricFamily(
        "chipquality_owner_replay_worst_seconds",
        "How long a recovery could have to fold again if the owner died at the worst moment",
        labels=labels,
    )
    for owner in owners:
        named = [str(owner["slot"]), str(owner.get("incarnation", ""))]
        for key, counter in counters.items():
            counter.add_metric(named, float(owner.get(key) or 0))
        live.add_metric(named, float(owner.get("state") == "live"))
        quarantined.add_metric(named, float(len(owner.get("quarantined") or ())))
        for part in ("step", "commit"):
            value = owner.get(f"{part}_ms")
            if isinstance(value, int | float):
                took.add_metric([*named, part], value / 1000)
        if "replay_worst_s" in owner:
            replay.add_metric(named, owner["replay_worst_s"])
    yield from (*counters.values(), live, quarantined, took, replay)


def _lag(groups: Sequence[dict[str, Any]]) -> Metric:
    lag = GaugeMetricFamily(
        "chipquality_consumer_lag",
        "Records between a group's offset and the end",
        labels=["group", "topic", "partition"],
    )
    for group in groups:
        for partition in group["partitions"]:
            if partition["lag"] is not None:
                lag.add_metric([group["group"], partition["topic"], str(partition["partition"])], partition["lag"])
    return lag


def exposition(
    summary: dict[str, Any] | None, owners: dict[str, Any] | None, groups: Sequence[dict[str, Any]] | None
) -> bytes:
    """Return Prometheus' text. A part that did not answer is None: its metrics are left out and `chipquality_part_up` says so."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Facts(summary, owners, groups))
    text: bytes = generate_latest(registry)
    return text
