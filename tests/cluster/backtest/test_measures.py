"""Measures of a backtest against a slow, obvious oracle, in any cuts; what stands in the report."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.backtest import Said
from cluster.backtest.labels import BEGINNING, END, Label
from cluster.backtest.report import measures
from cluster.backtest.tally import WIDTHS, Counts, Tally, merged
from models.detector import Column, Rule
from schemas.batch import MicroBatch
from schemas.charts import ChartBlock, DetectorColumns
from schemas.texts import Texts
from tests.naive import backtest as naive
from tests.naive.backtest import Row, Wanted

RULES = (Rule("one", "the first"), Rule("two", "the second", "critical", 1))
CLEAN = 3
Q = 2


class Told:
    """What a tally wants to know of a detector."""

    name, version, state, statistics, rules = "told", 1, {"x": Column("f8")}, ("a", "b"), RULES


def said(rows: list[Row], keys: list[str], first: int) -> Said:
    """Return a step with these rows of one partition; keys grow."""
    for row in rows:
        if row.series not in keys:
            keys.append(row.series)
    n = len(rows)
    wide = {
        name: np.array([getattr(row, name) for row in rows], float).reshape(n, Q)
        for name in ("statistic", "centre", "lcl", "ucl")
    }
    columns = DetectorColumns(
        "told@1-0", ("a", "b"), (), **wide, signal=np.array([row.signal for row in rows], np.uint32),
        valid=np.array([row.valid for row in rows], bool),
    )  # fmt: skip
    lot, wafer = Texts.of([row.lot for row in rows]), Texts.of([row.wafer for row in rows])
    at, nothing = np.array([row.at for row in rows], np.int64), np.zeros(n)
    offset = np.arange(first, first + n)
    series = np.array([keys.index(row.series) for row in rows], np.int32)
    batch = MicroBatch("t", 0, offset, first + n, at, at, series, nothing, offset, {"lot": lot, "wafer": wafer})
    block = ChartBlock(
        "p", "f", "t", 0, 1, first, first + n, keys, series, offset, at, at, nothing, nothing, nothing, nothing, lot, wafer,
        {"told": columns},
    )  # fmt: skip
    return Said(batch, (block,), (), (), Counter(), 0, keys, first + n)


def counted(partitions: dict[int, list[Row]], labels: list[Label], cuts: list[int]) -> Counts:
    every = []
    for partition, rows in partitions.items():
        tally, keys, first = Tally(Told(), "told", partition, labels, CLEAN), [], 0  # type: ignore[arg-type, var-annotated]
        for end in [*sorted({cut for cut in cuts if cut < len(rows)}), len(rows)]:
            tally.take(said(rows[first:end], keys, first))
            first = end
        every.append(tally.counts())
    return merged(every)


NUMBERS = np.array([0.0, 0.5, 1.0, 1.9, -1.2, -3.5, 3.0, 9.0, math.nan])


def rows_of(random: np.random.Generator, partition: int) -> list[Row]:
    """Return up to 120 rows of three series; rules fire on few of them, so that incidents end."""

    def pair(*odd: float) -> tuple[float, float]:
        first, second = random.choice([*NUMBERS, *odd], 2).tolist()
        return first, second

    rows = []
    for n in range(random.integers(0, 120)):
        valid = random.random() < 0.8
        signal = int(random.choice([0, 0, 0, 0, 1, 2, 3])) if valid else 0
        calm = random.random() < 0.7  # the statistic is on the centre line
        centre = pair()
        rows.append(
            Row(partition, f"s{random.integers(3)}", int(n // 3 + random.integers(3)), str(random.choice(["", "L1", "L2"])),
                str(random.choice(["", "W1", "W2"])), centre if calm else pair(), centre, pair(-9.0), pair(9.0), signal, valid)
        )  # fmt: skip
    return rows


def wanted_of(random: np.random.Generator) -> Wanted:
    begin = random.choice([None, 3, 10, 20])
    end = random.choice([None, 21, 25, 30])
    series, lot, wafer = (
        str(random.choice(words)) for words in (["*", "s0", "s1", "no"], ["", "", "L1"], ["", "", "W1"])
    )
    return Wanted(series, lot, wafer, begin, end)


def label(wanted: Wanted) -> Label:
    begin = int(BEGINNING) if wanted.begin is None else wanted.begin
    return Label(wanted.series, wanted.lot, wanted.wafer, begin, int(END) if wanted.end is None else wanted.end)


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 120), max_size=4))
def test_measures_are_those_of_the_oracle(seed: int, cuts: list[int]) -> None:
    random = np.random.default_rng(seed)
    partitions = {p: rows_of(random, p) for p in range(random.integers(1, 3))}
    wanted = [wanted_of(random) for _ in range(random.integers(0, 5))]
    labels = [label(each) for each in wanted]
    found = measures(counted(partitions, labels, cuts), RULES, labels, 7.0)
    rows = [row for part in partitions.values() for row in part]
    judged = [row for row in rows if row.valid]
    assert (found["rows"], found["judged"]) == (len(rows), len(judged))
    assert found["signalled"] == sum(row.signal != 0 for row in judged)
    assert sum(day["judged"] for day in found["by_day"]) == len(judged)
    for bit, told in enumerate(found["rules"]):
        fires = [bool(row.signal >> bit & 1) for row in rows]
        total, false = naive.incidents(rows, fires, wanted, CLEAN)
        assert (told["signals"], told["alerts"]) == (sum(fires), total)
        assert told["false"] == (false if labels else None)
    for told in found["widths"]:
        total, false = naive.incidents(rows, [naive.out(row) > told["width"] for row in rows], wanted, CLEAN)
        assert told["alerts"] == total
        assert told["false_alarms"] == (false if labels else None)
    if not labels:
        assert found["labels"] is None
        return
    of_labels(found, rows, wanted)


def of_labels(report: dict[str, Any], rows: list[Row], wanted: list[Wanted]) -> None:
    found = report["labels"]
    expected = [naive.found(rows, each) for each in wanted]
    told = [(x["result"], x["delay_ms"], x["delay_rows"]) for x in found["each"]]
    assert Counter(told) == Counter(tuple(x.values()) for x in expected)
    hit = sum(x["result"] == "found" for x in expected)
    judged = sum(x["result"] != "not judged" for x in expected)
    assert (found["found"], found["judged"], found["missed"]) == (hit, judged, judged - hit)
    assert found["recall"] == (hit / judged if judged else None)
    alerts, false = report["alerts"], sum(rule["false"] for rule in report["rules"])
    assert (found["false_alarms"], found["true_alerts"]) == (false, alerts - false)
    assert found["precision"] == ((alerts - false) / alerts if alerts else None)
    days = report["days"]
    assert found["false_alarms_per_day"] == (false / days if days else None)
    assert found["labelled_rows"] == sum(row.valid and any(naive.belongs(row, x) for x in wanted) for row in rows)
    for point in found["cost"]["curve"]:
        within = [[naive.out(row) for row in rows if row.valid and naive.belongs(row, each)] for each in wanted]
        missed = sum(bool(outs) and max(outs) <= point["width"] for outs in within)
        assert point["missed"] == missed
        assert point["cost"]["7"] == 7 * missed + point["false_alarms"]
    delays = sorted(int(str(x["delay_ms"])) for x in expected if x["result"] == "found")
    assert (found["delay_ms"] or {}).get("median") == (delays[(len(delays) - 1) // 2] if delays else None)


def test_nothing_at_all_has_measures() -> None:
    found = measures(counted({0: []}, [Label("s0")], []), RULES, [Label("s0")], 1.0)
    assert (found["rows"], found["days"], found["alerts_per_day"], found["first_event_time_ms"]) == (0, 0.0, None, None)
    assert (found["labels"]["recall"], found["labels"]["precision"], found["labels"]["not_judged"]) == (None, None, 1)
    assert 1.0 in WIDTHS
