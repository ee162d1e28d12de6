"""Capability reports: the anchors' figures come out, what is not there is None, and a table that a spreadsheet takes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.capability_report import INDICES, Specification, as_csv, capability_report, histogram

DATA = Path(__file__).parent / "data"


def values(report: dict[str, Any], *names: str) -> list[float]:
    return [report["indices"][name]["value"] for name in names]


def test_nist_6_1_6() -> None:
    """USL 20, LSL 8, target 14, mean 16, s 2; published: Cp 1.0, Cpk 0.6667, Cpl 1.3333, Cpu 0.6667, k 0.3333."""
    said = Specification(8.0, 20.0, 14.0)
    report = capability_report(np.array([14.0, 16.0, 18.0]), said, subgroup=np.zeros(3))
    assert values(report, "Cp", "Cpk", "Cpl", "Cpu") == pytest.approx([1.0, 0.6667, 1.3333, 0.6667], abs=5e-5)
    assert report["k"] == pytest.approx(0.3333, abs=5e-5)
    assert values(report, "Cpm", "Cpmk") == pytest.approx([0.7071067811865475, 0.4714045207910316])
    assert (report["mean"], report["sigma_within"], report["limits"]["target"]) == (16.0, 2.0, 14.0)
    assert report["within_text"] == "pooled within subgroups"


def test_intervals_ppm_and_normality_are_those_of_the_study() -> None:
    random = np.random.default_rng(5)
    report = capability_report(random.normal(10.0, 1.0, 500), Specification(6.0, 14.0))
    for name in ("Cp", "Cpk", "Pp", "Ppk"):
        found = report["indices"][name]
        assert found["low"] < found["value"] < found["high"]
    assert report["indices"]["Cp"]["value"] == pytest.approx(8 / (6 * report["sigma_within"]))
    assert report["ppm"]["overall"]["total"] == pytest.approx(
        sum(report["ppm"]["overall"][side] for side in ("below", "above"))
    )
    assert (report["n"], report["limits"]["target"], report["notes"]) == (500, 10.0, [])
    assert sum(report["histogram"]["counts"]) == 500
    json.dumps(report, allow_nan=False)


def test_what_to_think_of_it() -> None:
    skewed = np.random.default_rng(2).exponential(size=200)
    said = capability_report(skewed, Specification(usl=6.0))["notes"]
    assert any(note.startswith("the values are not normal (Anderson and Darling, p = ") for note in said)
    assert "one specification limit only: Cp, Pp and k have no meaning" in said
    assert capability_report(skewed, Specification(usl=6.0), method="johnson")["method"] == "johnson"
    by_percentiles = capability_report(skewed, Specification(usl=6.0), method="percentile")
    assert (by_percentiles["within"], by_percentiles["indices"]["Cpk"]["value"]) == (None, None)
    few = capability_report(np.array([1.0, 1.0, 1.0]), Specification(0.0, 2.0))
    assert few["notes"] == [
        "3 values: the intervals are wide; 100 or more are wanted",
        "whether the values are normal was not tested: that needs 8 that are not all equal",
        "sigma is 0: there are no indices",
    ]
    moved = np.concatenate([np.tile([0.0, 0.1], 100), np.tile([5.0, 5.1], 100)])
    assert any(
        "sigma overall is much larger" in note for note in capability_report(moved, Specification(-9.0, 9.0))["notes"]
    )


def test_missing_values_are_counted() -> None:
    report = capability_report(np.array([1.0, np.nan, 2.0, 3.0]), Specification(0.0, 4.0))
    assert (report["n"], report["missing"]) == (3, 1)
    with pytest.raises(ValueError, match="no specification limit"):
        capability_report(np.array([1.0, 2.0]), Specification())


def test_a_histogram_has_all_values_and_few_bars() -> None:
    assert histogram(np.array([3.0, 3.0]))["counts"] == [2]
    assert len(histogram(np.array([0.0] * 99 + [1e9]))["counts"]) == 50
    assert sum(histogram(np.arange(100.0))["counts"]) == 100


def test_the_table_has_every_index_and_no_formula() -> None:
    report = {"series": "=cmd|x", "partition": 1} | capability_report(np.arange(30.0), Specification(-5.0, 40.0))
    rows = {row[0]: row[1:] for row in csv.reader(as_csv(report).splitlines())}
    assert rows["series"] == ["'=cmd|x", "", ""]
    assert set(INDICES) <= set(rows)
    assert float(rows["Cpk"][0]) == report["indices"]["Cpk"]["value"]
    assert float(rows["Cpk"][1]) == report["indices"]["Cpk"]["low"]
    assert {"ppm_overall_total", "normality_p_value", "limits_lsl", "percentiles_X50", "note", "bin"} <= set(rows)
