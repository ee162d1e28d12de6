"""A capability report: a study's figures as data and as a table, with what they rest on and what to think of them.

The figures are those of models/capability_study.py, with the intervals of models/capability_intervals.py; here they get names,
notes and a histogram, and what is not there is None.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from models.capability_study import CapabilityStudy

ROWS_WANTED = 100  # of a study that is to be believed: with fewer, the intervals are wide
NORMAL_P_MIN = 0.05
BINS_MAX = 50
INDICES = (
    "Cp", "Cpk", "Cpl", "Cpu", "Cpm", "Cpmk", "Pp", "Ppk", "Ppl", "Ppu", "Cpm_overall", "Cpmk_overall",
)  # fmt: skip

_METHODS = {
    "normal": "mean ± 3 sigma of a normal distribution (ISO 22514-2; Montgomery §8.3)",
    "percentile": "X0.135, X50 and X99.865 (ISO 22514-2)",
    "box-cox": "mean ± 3 sigma after Box and Cox's transformation",
    "johnson": "mean ± 3 sigma after Johnson's transformation",
}
_WITHIN = {
    "moving_range": "mean moving range / d2",
    "pooled": "pooled within subgroups",
    "range": "mean range / d2 of subgroups",
    "": "none: the method has no sigma within",
}


class Specification(NamedTuple):
    """Limits that the customer gives; None: none."""

    lsl: float | None = None
    usl: float | None = None
    target: float | None = None


def capability_report(
    values: np.ndarray,  # (n,) float64 in the order of measuring, NaN = missing
    specification: Specification,
    *,
    subgroup: np.ndarray | None = None,  # (n,) labels
    method: str = "normal",
    within: str | None = None,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Return the report. Raises ValueError as `capability_study` does.

    >>> report = capability_report(np.array([14.0, 16.0, 18.0]), Specification(8.0, 20.0, 14.0), subgroup=np.zeros(3))
    >>> [round(report["indices"][name]["value"], 4) for name in ("Cp", "Cpk", "Cpl", "Cpu")]  # NIST 6.1.6
    [1.0, 0.6667, 1.3333, 0.6667]
    """
    from models.capability_study import capability_study  # noqa: PLC0415 - scipy.stats takes half a second of every command

    study = capability_study(
        values, lsl=specification.lsl, usl=specification.usl, target=specification.target, subgroup=subgroup, within=within,
        confidence=confidence, method=method,
    )  # fmt: skip
    there = values[~np.isnan(values)]
    normality = {name: _number(value) for name, value in asdict(study.normality).items()}
    return {
        "n": study.n,
        "missing": len(values) - len(there),
        "method": study.method,
        "method_text": _METHODS[study.method],
        "within": study.within or None,
        "within_text": _WITHIN[study.within],
        "confidence": study.confidence,
        "limits": {"lsl": _number(study.lsl), "usl": _number(study.usl), "target": _number(study.target)},
        "mean": float(there.mean()),
        "minimum": float(there.min()),
        "maximum": float(there.max()),
        "sigma_within": _number(study.sigma_within),
        "sigma_overall": _number(study.sigma_overall),
        "degrees_within": _number(study.degrees_within),
        "degrees_overall": _number(study.degrees_overall),
        "percentiles": dict(zip(("X0.135", "X50", "X99.865"), map(_number, study.percentiles), strict=True)),
        "indices": {name: _index(study, name) for name in INDICES},
        "k": _number(study.k),
        "ppm": {
            kind: {"below": _number(ppm.below), "above": _number(ppm.above), "total": _number(ppm.total)}
            for kind, ppm in (
                ("within", study.ppm_within),
                ("overall", study.ppm_overall),
                ("observed", study.ppm_observed),
            )
        },
        "normality": normality,
        "notes": list(_notes(study)),
        "histogram": histogram(there),
    }


def _index(study: CapabilityStudy, name: str) -> dict[str, float | None]:
    low, high = study.intervals.get(name, (math.nan, math.nan))
    return {"value": _number(getattr(study, name)), "low": _number(low), "high": _number(high)}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _notes(study: CapabilityStudy) -> Iterable[str]:
    """Say what to think of the figures."""
    from models.nonnormal import NORMALITY_ROWS_MIN  # noqa: PLC0415 - as above

    p = study.normality.p_value
    if study.n < ROWS_WANTED:
        yield f"{study.n} values: the intervals are wide; {ROWS_WANTED} or more are wanted"
    if math.isnan(p):
        yield f"whether the values are normal was not tested: that needs {NORMALITY_ROWS_MIN} that are not all equal"
    elif p < NORMAL_P_MIN:
        after = {"normal": "", "percentile": ""}.get(study.method, " even after the transformation")
        yield f"the values are not normal{after} (Anderson and Darling, p = {p:.3g})" + (
            ": indices and ppm of a normal distribution mislead; see the methods percentile, johnson, box-cox"
            if study.method == "normal"
            else ""
        )
    if math.isnan(study.lsl) or math.isnan(study.usl):
        yield "one specification limit only: Cp, Pp and k have no meaning"
    if study.sigma_within == 0.0 or study.sigma_overall == 0.0:
        yield "sigma is 0: there are no indices"
    if study.sigma_within > 0.0 and study.sigma_overall > 1.25 * study.sigma_within:
        yield "sigma overall is much larger than within: the process was not in control; look at its chart before its capability"


def histogram(values: np.ndarray) -> dict[str, Any]:
    """Return edges and counts of values (n,), by Freedman and Diaconis' width, at most BINS_MAX bins.

    Reference: Freedman and Diaconis, Zeitschrift für Wahrscheinlichkeitstheorie 57 (1981) 453.
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        half = abs(low) * 0.005 or 0.5
        return {"edges": [low - half, low + half], "counts": [len(values)]}
    first, third = np.quantile(values, (0.25, 0.75))
    width = 2.0 * float(third - first) / len(values) ** (1 / 3)
    bins = int(np.clip(math.ceil((high - low) / width) if width > 0.0 else BINS_MAX, 1, BINS_MAX))
    counts, edges = np.histogram(values, bins, (low, high))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def as_csv(report: Mapping[str, Any]) -> str:
    """Return the report as lines of name, value, low, high; texts that a spreadsheet would take for formulas are quoted."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(("name", "value", "low", "high"))
    for name, value in report.items():
        if name == "indices":
            for index, found in value.items():
                table.writerow((index, _cell(found["value"]), _cell(found["low"]), _cell(found["high"])))
        elif name == "ppm":
            for kind, ppm in value.items():
                for side, number in ppm.items():
                    table.writerow((f"ppm_{kind}_{side}", _cell(number), "", ""))
        elif name == "histogram":
            edges = value["edges"]
            for i, count in enumerate(value["counts"]):
                table.writerow(("bin", count, _cell(edges[i]), _cell(edges[i + 1])))
        elif isinstance(value, Mapping):
            for inner, number in value.items():
                table.writerow((f"{name}_{inner}", _cell(number), "", ""))
        elif isinstance(value, list):
            for text in value:
                table.writerow((name.removesuffix("s"), _cell(text), "", ""))
        else:
            table.writerow((name, _cell(value), "", ""))
    return out.getvalue()


def _cell(value: Any) -> Any:
    """Return a cell: numbers with all their digits, nothing for None.

    >>> _cell("=1+1"), _cell(0.1), _cell(None)
    ("'=1+1", '0.1', '')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
