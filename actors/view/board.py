"""What the page shows, as plain data: everything that the view has read, and the questions that can be asked of it.

No Ray, no Kafka, no clock: records come in with the time they were read, answers go out as what JSON can carry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from actors import cursors
from actors.view import vector as vectors
from actors.view.alert_book import AlertBook
from actors.view.chains import SAMPLE_BITS, Chains
from actors.view.history import Counts, StageLatencies
from actors.view.inspections import InspectionBook
from actors.view.latency import LatencyWindow
from actors.view.rings import DetectorRing, Rings, listed
from models.alert_life import Life
from schemas.batch import split_series_key
from schemas.charts import ChartBlock

HISTOGRAM_BINS = 24
PHASE_ONE_ROWS_MIN = 10  # fewer unjudged rows at the start are an open subgroup, not a Phase I
ALERTS_PER_FRAME_MAX = 500  # further ones come with the next frame

_SAMPLE = (1 << SAMPLE_BITS) - 1
_ANY = ""  # the chain of whichever family comes first


class Board:
    """Rings, alerts, chains and latencies of a pipeline, and of those shown beside it."""

    def __init__(self, pipeline: str, rings: Rings | None = None, also: tuple[str, ...] = ()) -> None:
        self.pipeline = pipeline
        self.pipelines = frozenset((pipeline, *also))  # whose records are shown
        self.rings = Rings() if rings is None else rings
        self.alerts = AlertBook()
        self.inspections = InspectionBook()
        self.chains = Chains()
        self.latency = LatencyWindow()
        self.position: vectors.Vector = {vectors.CHARTS: {}, vectors.ALERTS: {}, vectors.LIVES: {}}
        self._alert_end: dict[int, int] = {}  # after the newest alert; the position passes control records too
        self._life_end = 0  # after the newest life
        self.stages, self.rows = StageLatencies(), Counts()  # over the last quarter of an hour
        self.dead_letters = Counter[str]()  # by reason
        self.dead_letters_lately = Counts()
        self.caught_up = True  # False while a new reader goes through what was there before it
        self.unreadable = 0  # records of the output topics that are not what they should be
        self.blocks = 0

    def add_block(
        self, block: ChartBlock, partition: int, offset: int, now_ms: int, live: bool, written_ms: int | None = None
    ) -> None:
        """Take a chart record in. `live` is False for what was written before this reader began: no latency, no rate.

        `written_ms`: the record's Kafka timestamp.
        """
        self.blocks += 1
        new_points = self.chains.check(block, _ANY)
        new = self.chains.check(block)
        self.rings.add(block, offset, new, new_points)
        if live:
            latencies = self.latency.add_latency(block.published_ms[new], now_ms)
            if latencies is not None:
                self.stages.add(latencies, now_ms, written_ms)
            rows = int(new_points.sum())
            self.latency.add_rows(rows, now_ms)
            if rows:
                self.rows.add(f"{block.topic}:{block.partition}", rows, now_ms)
        self.read(vectors.CHARTS, partition, offset + 1)

    def add_alert(self, alert: dict[str, Any], partition: int, offset: int, written_ms: int) -> None:
        """Take a record of the alert topic in."""
        self.alerts.add(alert, partition, offset, written_ms)
        self._alert_end[partition] = offset + 1
        self.read(vectors.ALERTS, partition, offset + 1)

    def add_life(self, life: Life, partition: int, offset: int) -> None:
        """Take a record of what people have done about an alert in."""
        self.alerts.add_life(life, offset)
        self._life_end = offset + 1
        self.read(vectors.LIVES, partition, offset + 1)

    def add_dead_letter(self, reason: str, written_ms: int) -> None:
        """Count a dead letter."""
        self.dead_letters[reason] += 1
        self.dead_letters_lately.add(reason, 1, written_ms)

    def read(self, topic: str, partition: int, next_offset: int) -> None:
        """Note how far a partition was read: "c" charts, "a" alerts, "l" lives of alerts."""
        self.position[topic][partition] = next_offset

    def summary(self, now_ms: int) -> dict[str, Any]:
        """Return counts, rates, latencies and how far was read."""
        chains = self.chains.summary()
        partitions: dict[str, dict[str, Any]] = {
            name: {**families.pop(_ANY), "families": families} for name, families in chains.items()
        }
        for partition in partitions.values():  # the chain of whichever comes first sees every row once per family
            for count in ("duplicated", "gaps", "gap_offsets"):
                partition[count] = sum(family[count] for family in partition["families"].values())
        every = [family for partition in partitions.values() for family in partition["families"].values()]
        return {
            "pipeline": self.pipeline,
            "now_ms": now_ms,
            "vector": vectors.render(self.position),
            "series": len(self.rings),
            "series_evicted": self.rings.evicted,
            "rows_refused": self.rings.refused,
            "records": sum(p["records"] for p in partitions.values()),
            "judged": sum(p["judged"] for p in partitions.values()),
            "missing": sum(p["missing"] for p in partitions.values()),
            "duplicated": sum(f["duplicated"] for f in every),
            "gaps": sum(f["gaps"] for f in every),
            "alerts": {"open": self.alerts.open, "opened": self.alerts.opened, "closed": self.alerts.closed},
            "dead_letters": {"total": self.dead_letters.total(), "by_reason": dict(self.dead_letters)},
            "unreadable": self.unreadable,
            "partitions": partitions,
            **self.latency.summary(now_ms),
        }

    def series(self, limit: int, *, search: str = "", after: str | None = None) -> dict[str, Any]:
        """Return a page of series, those with open alerts first. Raises ValueError for a bad cursor."""
        words = search.casefold().split()
        keys = [key for key in self.rings.keys if all(word in key.casefold() for word in words)]
        places = sorted((-self.alerts.open_of[key], key) for key in keys)
        if after:
            edge = cursors.decode(after, cursors.number_and_text)
            places = [place for place in places if place > edge]
        page = places[:limit]
        return {
            "items": [self._status(key) for _, key in page],
            "total": len(keys),
            "next": cursors.encode(page[-1]) if len(places) > limit else None,
        }

    def _status(self, key: str) -> dict[str, Any]:
        slot = self.rings.slot(key)
        if slot is None:  # an alert names it, and its points are gone
            return {"series": key, "held": False}
        rows = self.rings.points.rows(slot, 1)
        where, number = (self.rings.points.columns[name][rows] for name in ("where", "number"))
        alarms = self.alerts.open_of[key]
        learned = any(d.first_valid[slot] >= 0 for d in self.rings.detectors.values())
        return {
            "series": key,
            "held": True,
            "parts": split_series_key(key),
            "status": "alarm" if alarms else "in control" if learned else "learning",
            "open_alerts": alarms,
            "last_value": listed(number[:, 0])[-1] if len(rows) else None,
            "last_time_ms": int(where[-1, 2]) if len(rows) else None,
            "rows": int(self.rings.points.count[slot]),
            "judged": int(self.rings.judged[slot]),
        }

    def chart(self, series: str, points: int) -> dict[str, Any]:
        """Return everything that a chart of the series needs, oldest point first; `held` False if the series is not held.

        `vector` says as of when, so that a stream that begins there misses nothing.
        """
        slot = self.rings.slot(series)
        if slot is None:
            return {**self._status(series), "vector": vectors.render(self.position)}
        rows = self.rings.points.rows(slot, points)
        detectors = {
            name: detector.ring.rows(slot, points)
            for name, detector in self.rings.detectors.items()
            if detector.ring.count[slot]
        }
        return {
            **self._status(series),
            "partition": int(self.rings.partition[slot]),
            "points_max": self.rings.points_max,
            "points": self._points(rows),
            "detectors": [self._judged(name, slot, at) for name, at in detectors.items()],
            "capability": self._capability(slot),
            "histogram": self._histogram(rows),
            "vector": vectors.render(self.position),
        }

    def has_changes(self, since: vectors.Vector, series: str | Sequence[str] | None) -> bool:
        """Tell whether `changes` has something to say: a new point of a series, any alert record, or a reset."""
        alerts = since[vectors.ALERTS]
        if any(at > alerts.get(p, 0) for p, at in self._alert_end.items()) or self._is_ahead(since):
            return True
        if self._life_end > self._life_seen(since):
            return True
        wanted = (series,) if isinstance(series, str) else series or ()
        return any(self._has_points(since, each) for each in wanted)

    def _has_points(self, since: vectors.Vector, series: str) -> bool:
        slot = self.rings.slot(series)
        if slot is None:
            return False
        edge = since[vectors.CHARTS].get(int(self.rings.partition[slot]), 0)
        rings = (self.rings.points, *(detector.ring for detector in self.rings.detectors.values()))
        return any(ring.columns["where"][ring.rows(slot, 1), 1].max(initial=-1) >= edge for ring in rings)

    def _life_seen(self, since: vectors.Vector) -> int:
        """Return from where on lives are news: a vector that says nothing of them is of a reader that has all."""
        return since.get(vectors.LIVES, {}).get(0, self._life_end)

    def _is_ahead(self, since: vectors.Vector) -> bool:
        """Tell whether a vector names offsets that this reader, having caught up, has not seen: of topics made anew."""
        return self.caught_up and any(
            at > self.position[topic].get(p, at) for topic in vectors.TOPICS for p, at in since.get(topic, {}).items()
        )

    def changes(self, since: vectors.Vector, series: str | None, now_ms: int) -> dict[str, Any]:
        """Return what came at or after `since`: new points of the series and alerts, with the summary and the new vector.

        `reset` is True where the answer cannot be complete (rings have moved on, or the topics were made anew): load again.
        """
        answer = self._said_to_all(since, now_ms) | {"series": series, "points": None, "detectors": []}
        slot = None if series is None else self.rings.slot(series)
        if slot is None or series is None:
            return answer
        fresh = self._fresh(slot, since)
        answer |= fresh | {"reset": answer["reset"] or fresh["reset"]}
        if answer["points"] or answer["detectors"]:
            rows = self.rings.points.rows(slot)
            answer |= {"capability": self._capability(slot), "histogram": self._histogram(rows), **self._status(series)}
        return answer

    def changes_of_many(self, since: vectors.Vector, wanted: Sequence[str], now_ms: int) -> dict[str, Any]:
        """Return what `changes` does, for several series: `charts` are those that have something new.

        Each has its own `reset`. They come without histogram and capability, which small multiples do not show.
        """
        charts = []
        for series in wanted:
            slot = self.rings.slot(series)
            if slot is None or not self._has_points(since, series):
                continue
            fresh = self._fresh(slot, since)
            if fresh["points"] or fresh["detectors"]:
                charts.append(fresh | self._status(series))
        return self._said_to_all(since, now_ms) | {"charts": charts}

    def _said_to_all(self, since: vectors.Vector, now_ms: int) -> dict[str, Any]:
        ahead = self._is_ahead(since)
        news = self.alerts.since(since[vectors.ALERTS], ALERTS_PER_FRAME_MAX, self._life_seen(since))
        seen = self.position if ahead else vectors.later(since, self.position)
        if not ahead:  # what a frame has no room for comes with the next
            lives = {} if news.lives_read is None else {0: news.lives_read}
            seen = seen | {
                vectors.ALERTS: seen[vectors.ALERTS] | news.read,
                vectors.LIVES: seen[vectors.LIVES] | lives,
            }
        return {
            "alerts": news.items,
            "reset": ahead or not news.complete,
            "vector": vectors.render(seen),
            "summary": self.summary(now_ms),
        }

    def _fresh(self, slot: int, since: vectors.Vector) -> dict[str, Any]:
        """Return the points and verdicts of a series at or after `since`; `reset`: there were more than its ring holds."""
        edge = since[vectors.CHARTS].get(int(self.rings.partition[slot]), 0)
        points = self.rings.points
        rows = points.rows(slot)
        fresh = rows[points.columns["where"][rows, 1] >= edge]
        judged = []
        for name, detector in self.rings.detectors.items():
            at = detector.ring.rows(slot)
            at = at[detector.ring.columns["where"][at, 1] >= edge]
            if len(at):
                judged.append(self._judged(name, slot, at))
        return {
            "points": self._points(fresh) if len(fresh) else None,
            "detectors": judged,
            "reset": bool(len(fresh) == points.size < points.count[slot]),
        }

    def detectors(self) -> list[dict[str, Any]]:
        """Return the detectors whose verdicts are held: identity (name@version-hash), rules, signals of all series held."""
        return [
            {
                "detector": name,
                "identity": known.identity,
                "family": known.family,
                "statistics": list(known.statistics),
                "rules": [{"name": rule.name, "doc": rule.doc, "severity": rule.severity} for rule in known.rules],
                "series": int((known.ring.count > 0).sum()),
                "signals": int(known.signals.sum()),
            }
            for name, known in sorted(self.rings.detectors.items())
        ]

    def _points(self, rows: np.ndarray) -> dict[str, list[Any]]:
        where, number, text = (self.rings.points.columns[name][rows] for name in ("where", "number", "text"))
        named = {**_placed(where[:, 0]), "event_time_ms": where[:, 2], "published_ms": where[:, 3]}
        named |= {name: number[:, i] for i, name in enumerate(("value", "lsl", "usl", "target"))}
        named |= {"lot": text[:, 0], "wafer": text[:, 1]}
        return {name: listed(column) for name, column in named.items()}

    def _judged(self, name: str, slot: int, rows: np.ndarray) -> dict[str, Any]:
        detector = self.rings.detectors[name]
        column = detector.ring.columns
        wide, place = column["wide"][rows], column["where"][rows, 0]
        q = len(detector.statistics)
        return {
            "detector": name,
            "identity": detector.identity,
            "family": detector.family,
            "rules": [
                {"name": rule.name, "doc": rule.doc, "severity": rule.severity, "statistic": rule.statistic}
                for rule in detector.rules
            ],
            **self._phase_one(detector, slot),
            "signals": int(detector.signals[slot]),
            **{name: each.tolist() for name, each in _placed(place).items()},
            "signal": column["signal"][rows, 0].tolist(),
            "valid": column["valid"][rows, 0].tolist(),
            "statistics": [
                {"name": statistic}
                | {part: listed(wide[:, k * q + i]) for k, part in enumerate(("value", "centre", "lcl", "ucl"))}
                for i, statistic in enumerate(detector.statistics)
            ],
        }

    def _phase_one(self, detector: DetectorRing, slot: int) -> dict[str, int | None]:
        """Return the input offset where Phase I ends as far as the ring shows it, and the sample of the record there.

        −1 = it goes on; None = none is shown.
        """
        first = int(detector.first_valid[slot])
        place = detector.ring.columns["where"][detector.ring.rows(slot), 0]
        if first < 0:
            return {"phase_one_until": -1, "phase_one_sample": 0}
        shown = int((place < first).sum()) >= PHASE_ONE_ROWS_MIN
        return {"phase_one_until": first >> SAMPLE_BITS if shown else None, "phase_one_sample": first & _SAMPLE}

    def _capability(self, slot: int) -> dict[str, Any] | None:
        """Return the newest judged row of the capability family, with the value's count as this reader saw it."""
        for detector in self.rings.detectors.values():
            if detector.family != "capability" or not detector.ring.count[slot]:
                continue
            rows = detector.ring.rows(slot)
            valid = rows[detector.ring.columns["valid"][rows, 0]]
            if len(valid):
                wide = detector.ring.columns["wide"][valid[-1]]
                return dict(zip(detector.statistics, listed(wide[: len(detector.statistics)]), strict=True)) | {
                    "offset": int(detector.ring.columns["where"][valid[-1], 0]) >> SAMPLE_BITS
                }
        return None

    def _histogram(self, rows: np.ndarray) -> dict[str, Any] | None:
        """Return edges and counts of the values held, how many lie beyond, and the newest specification limits given."""
        number = self.rings.points.columns["number"][rows]
        value = number[:, 0]
        value = value[np.isfinite(value)]
        if not len(value):
            return None
        low, high = _shown(value)
        if value.min() == value.max():  # a bar of no width has no edges: one bar around the value
            half = abs(float(value[0])) * 0.005 or 0.5
            counts, edges = np.histogram(value, 1, (float(value[0]) - half, float(value[0]) + half))
        else:
            counts, edges = np.histogram(value, HISTOGRAM_BINS, (low, high))
        given = {}
        for i, name in enumerate(("lsl", "usl", "target"), start=1):
            column = number[:, i][np.isfinite(number[:, i])]
            given[name] = float(column[-1]) if len(column) else None
        bars = {"edges": edges.tolist(), "counts": counts.tolist(), "n": len(value)}
        bars |= {"below": int((value < edges[0]).sum()), "above": int((value > edges[-1]).sum())}
        sigma = float(value.std(ddof=1)) if len(value) > 1 else None
        return {**bars, "mean": float(value.mean()), "sigma": sigma, **given}


def _placed(place: np.ndarray) -> dict[str, np.ndarray]:
    """Return the offsets of rows, and which sample of its record each is."""
    return {"offset": place >> SAMPLE_BITS, "sample": place & _SAMPLE}


def _shown(value: np.ndarray) -> tuple[float, float]:
    """Return the range that a histogram shows: all values, but for those farther than 3 quartile ranges from the quartiles.

    Else one wild value leaves a single bar (Tukey's outer fences: Exploratory Data Analysis, 1977, §2D).
    """
    first, third = np.quantile(value, (0.25, 0.75))
    reach = 3 * (third - first)
    near = value[(value >= first - reach) & (value <= third + reach)] if reach > 0 else value
    return float(near.min()), float(near.max())
