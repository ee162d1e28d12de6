"""Alerts on the wire: a record for each that opened or closed, and one that says that a detector is off.

What opened and closed in a step comes as columns and is written as columns: eight run rules open and close alerts on several rows
in a hundred of a stream in which nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actors.engine.alerts import Transitions, alert_id
from actors.engine.position import Encodes, Record
from models.detector import Rule
from schemas.batch import MicroBatch
from schemas.columnar.writer import NULL
from schemas.texts import Texts

DETECTOR_ERROR = "detector_error"  # rule of the alert that says that a detector is off; it has no series


class AlertEvents(NamedTuple):
    """What opened and closed of one detector in one step, with the names that records need."""

    detector: str  # identity
    rules: tuple[Rule, ...]
    series: list[str]  # (m,) the key of each one's series
    changes: Transitions
    details: list[str]  # (m,) what the detector says of the row that opened it, in a line; "" = nothing

    def some(self, wanted: np.ndarray) -> AlertEvents:
        """Return those of `wanted`, (m,) bool, in their order."""
        at = np.flatnonzero(wanted).tolist()
        return AlertEvents(
            self.detector,
            self.rules,
            [self.series[i] for i in at],
            self.changes.some(wanted),
            [self.details[i] for i in at],
        )


class DetectorFailure(NamedTuple):
    """A detector raised: it is off on this partition from `at_offset` on."""

    partition: int
    at_offset: int
    detector: str
    detail: str  # the traceback


class Source(NamedTuple):
    """Whose alerts they are."""

    pipeline: str
    topic: str  # of the input
    partition: int


def alert_records(events: AlertEvents, batch: MicroBatch, source: Source, topic: str, encoder: Encodes) -> list[Record]:
    """Return the records of what a batch opened and closed, in its order."""
    changes, rules, n = events.changes, events.rules, len(events.changes)
    _, opened_time, _, last_time = changes.when.T
    value, statistic, centre, lcl, ucl = changes.numbers.T
    ids = [
        alert_id(events.detector, source.topic, source.partition, series, rules[rule].name, offset, sample)
        for series, rule, offset, sample in zip(
            events.series,
            changes.rule.tolist(),
            changes.opened_offset.tolist(),
            changes.opened_sample.tolist(),
            strict=True,
        )
    ]
    codes = changes.rule.astype(np.int32)
    values = encoder.encode_columns(
        n,
        {
            "alert_id": Texts(np.arange(n, dtype=np.int32), ids),
            "state": Texts(changes.opened.astype(np.int32), ["CLOSED", "OPEN"]),
            "pipeline": source.pipeline,
            "topic": source.topic,
            "partition": source.partition,
            "series": Texts.of(events.series),
            "detector": events.detector,
            "rule": Texts(codes, [rule.name for rule in rules]),
            "rule_doc": Texts(codes, [rule.doc for rule in rules]),
            "severity": Texts(codes, [rule.severity.upper() for rule in rules]),
            "opened_offset": changes.opened_offset,
            "opened_time": opened_time,
            "opened_sample": changes.opened_sample,
            "last_offset": changes.last_offset,
            "last_time": last_time,
            "closed_offset": np.where(changes.opened, NULL, batch.offset[changes.at]),
            "rows": changes.rows,
            "value": value,
            "statistic": statistic,
            "centre": centre,
            "lcl": lcl,
            "ucl": ucl,
            "lot": batch.columns["lot"][changes.at],
            "wafer": batch.columns["wafer"][changes.at],
            "detail": Texts.of(events.details) if any(events.details) else "",
            "published_ms": batch.published_ms[changes.at],
        },
    )
    return [Record(topic, -1, ident.encode(), record) for ident, record in zip(ids, values, strict=True)]


def failure_record(failure: DetectorFailure, source: Source, topic: str, encoder: Encodes) -> Record:
    """Return the record that says that a detector is off."""
    at = failure.at_offset
    fields = {
        "alert_id": alert_id(failure.detector, source.topic, source.partition, "", DETECTOR_ERROR, at),
        "state": "OPEN",
        **source._asdict(),
        "series": "",
        "detector": failure.detector,
        "rule": DETECTOR_ERROR,
        "rule_doc": "the detector raised and is off on this partition from this offset on",
        "severity": "CRITICAL",
        "opened_offset": at,
        "opened_sample": 0,
        "opened_time": 0,
        "last_offset": at,
        "last_time": 0,
        "closed_offset": None,
        "rows": 0,
        **dict.fromkeys(("value", "statistic", "centre", "lcl", "ucl")),
        "lot": "",
        "wafer": "",
        "detail": failure.detail,
        "published_ms": 0,
    }
    return Record(topic, -1, fields["alert_id"].encode(), encoder.encode(fields))


def keys_of(series: Sequence[str], changes: Transitions) -> list[str]:
    """Return the key of each one's series."""
    return [series[code] for code in changes.series.tolist()]
