"""Draw the pictures of docs/charts.md and compute its tables: python docs/draw.py.

Pictures go to docs/charts/, tables into docs/charts.md, between the marks <!-- table: name --> and <!-- end -->. All data are
made here, with fixed seeds; the statistics, limits and signals are those of `models.judge`, drawn by `models.plot`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.special import ndtr

from models import judge
from models.anomaly import RobustZ
from models.arl import arl_cusum, arl_ewma, arl_shewhart, design_cusum, design_ewma
from models.attributes import PChart
from models.covariance import fit_covariance
from models.cusum import Cusum
from models.drift import LearnedCusum
from models.ewma import Ewma
from models.individuals import IndividualsChart
from models.limits import d2
from models.multivariate import HotellingT2
from models.plot import plot
from models.residual import ResidualChart
from models.xbar import XbarChart

HERE = Path(__file__).parent
PAGE, FOLDER = HERE / "charts.md", HERE / "charts"
DOTS_PER_INCH = 80


# --- Pictures -------------------------------------------------------------------------------------------------------


def shifted() -> np.ndarray:
    """A process at 100 with sigma 2, whose mean moves up by one sigma after row 70."""
    values = np.random.default_rng(3).normal(100.0, 2.0, 100)
    values[70:] += 2.0
    return values


def individuals() -> Figure:
    chart = IndividualsChart(phase_one_rows=40, nelson=(1,))
    title = "Individuals and moving range, rule 1: the mean moves by 1 sigma after row 70"
    return plot(judge(chart, shifted()), detector=chart, zones=True, title=title)


def ewma() -> Figure:
    chart = Ewma(phase_one_rows=40)
    return plot(judge(chart, shifted()), detector=chart, title="EWMA (lambda 0.2) of the same values")


def cusum() -> Figure:
    chart = Cusum(phase_one_rows=40)
    return plot(judge(chart, shifted()), detector=chart, title="CUSUM (k 0.5, h 5) of the same values")


def subgroups() -> Figure:
    random = np.random.default_rng(7)
    spread = np.where(np.arange(200) < 150, 1.0, 2.0)
    chart = XbarChart(subgroup_size=5, phase_one_subgroups=20)
    title = "Mean and range of subgroups of five: the spread doubles after row 150"
    return plot(judge(chart, random.normal(50.0, spread)), detector=chart, title=title)


def attributes() -> Figure:
    random = np.random.default_rng(14)
    inspected = random.integers(100, 400, 40)
    bad = random.binomial(inspected, np.where(np.arange(40) < 33, 0.05, 0.1))
    chart = PChart(phase_one_rows=20)
    title = "p chart: the limits step with the number of units inspected; 5 % bad, then 10 %"
    return plot(judge(chart, bad, sample_size=inspected), detector=chart, title=title)


def wandering() -> np.ndarray:
    """A process in control whose neighbours are alike: AR(1) with phi 0.8."""
    steps = np.random.default_rng(15).normal(0.0, 1.0, 220)
    level = np.zeros(220)
    for i in range(1, 220):
        level[i] = 0.8 * level[i - 1] + steps[i]
    return level


def autocorrelated() -> Figure:
    chart = IndividualsChart(phase_one_rows=100, nelson=(1,))
    title = "Individuals chart of autocorrelated values (phi 0.8), in control: every signal is false"
    return plot(judge(chart, wandering()), detector=chart, title=title)


def residual() -> Figure:
    chart = ResidualChart(IndividualsChart(phase_one_rows=100, nelson=(1,)))
    return plot(judge(chart, wandering()), detector=chart, title="Residual chart of the same values")


def anomaly() -> Figure:
    random = np.random.default_rng(20)
    values = np.linspace(0.0, 6.0, 150) + random.standard_t(5, 150) * 0.5
    values[[60, 110]] += (6.0, -5.0)
    chart = RobustZ(window=40, min_rows=20, threshold=5.0)
    title = "Robust z: two odd rows in a process that wanders and has long tails"
    return plot(judge(chart, values), values, detector=chart, title=title)


def drift() -> Figure:
    random = np.random.default_rng(33)
    values = random.normal(10.0, 1.0, 300)
    values[180:] += np.linspace(0.0, 1.2, 120)
    chart = LearnedCusum(phase_one_rows=50)
    title = "Drift: CUSUM against a learned reference; the mean creeps up by 1 sigma in 100 rows after row 180"
    return plot(judge(chart, values), values, detector=chart, title=title)


def together() -> Figure:
    random = np.random.default_rng(2)
    values = random.multivariate_normal([0.0, 0.0], [[1.0, 0.95], [0.95, 1.0]], 160)
    values[130] = [1.3, -1.0]
    chart = HotellingT2(fit_covariance(values[:100]), alpha=0.001)
    title = "T² of two columns that go together (rows 101 to 160): once they do not, and neither value is odd by itself"
    return plot(judge(chart, values[100:]), values[100:], detector=chart, title=title)


def run_lengths() -> Figure:
    """ARL against the shift, for charts with the same ARL of 370 without one."""
    shifts = np.linspace(0.0, 4.0, 81)
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    axes = figure.subplots()
    h, widths = design_cusum(370.4, k=0.5).h, {weight: design_ewma(370.4, weight) for weight in (0.1, 0.4)}
    for name, arl_of in (
        ("Shewhart, rule 1", arl_shewhart),
        (f"CUSUM, k 0.5, h {h:.2f}", lambda shift: arl_cusum(0.5, h, shift)),
        (f"EWMA, lambda 0.4, limit {widths[0.4]:.3f}", lambda shift: arl_ewma(0.4, widths[0.4], shift)),
        (f"EWMA, lambda 0.1, limit {widths[0.1]:.3f}", lambda shift: arl_ewma(0.1, widths[0.1], shift)),
    ):
        axes.semilogy(shifts, [arl_of(float(shift)) for shift in shifts], label=name)
    axes.set_xlabel("shift of the mean, in sigmas")
    axes.set_ylabel("rows to the signal, on average")
    axes.grid(color="#eef1f4")
    axes.legend(frameon=False)
    return figure


PICTURES: Mapping[str, Callable[[], Figure]] = {
    "individuals": individuals,
    "ewma": ewma,
    "cusum": cusum,
    "subgroups": subgroups,
    "attributes": attributes,
    "autocorrelated": autocorrelated,
    "residual": residual,
    "together": together,
    "anomaly": anomaly,
    "drift": drift,
    "arl": run_lengths,
}


def draw(folder: Path) -> list[Path]:
    """Draw every picture into `folder`; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, picture in PICTURES.items():
        files.append(folder / f"{name}.png")
        picture().savefig(files[-1], dpi=DOTS_PER_INCH)
    return files


# --- Tables ---------------------------------------------------------------------------------------------------------


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _rows(arl: float) -> str:
    return f"{arl:,.0f}" if arl >= 100 else f"{arl:.1f}"


def charts_table() -> str:
    """ARLs of the usual charts."""
    shifts = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
    charts: list[tuple[str, Callable[[float], float]]] = [
        ("Shewhart, rule 1 alone", arl_shewhart),
        ("Shewhart, Nelson 1, 2, 5, 6", lambda shift: arl_shewhart(shift, (1, 2, 5, 6))),
        ("Shewhart, Western Electric 1–4", lambda shift: arl_shewhart(shift, "western-electric")),
        ("Shewhart, Nelson 1–8", lambda shift: arl_shewhart(shift, "nelson")),
        ("CUSUM, k 0.5, h 5", lambda shift: arl_cusum(0.5, 5.0, shift)),
        ("the same, headstart 0.5", lambda shift: arl_cusum(0.5, 5.0, shift, headstart=0.5)),
        ("EWMA, λ 0.2, L 2.962", lambda shift: arl_ewma(0.2, 2.962, shift)),
        ("the same, limits that widen", lambda shift: arl_ewma(0.2, 2.962, shift, steady=False)),
    ]
    rows = [
        [name, *(_rows(arl_of(shift)) for shift in shifts), f"{10_000 / arl_of(0.0):.0f}"] for name, arl_of in charts
    ]
    return _table(["chart", "no shift", *(f"{shift:g} σ" for shift in shifts[1:]), "false alarms in 10,000 rows"], rows)


def cusum_table() -> str:
    """k and h for a shift to be found and an ARL without one."""
    rows = []
    for shift in (0.5, 1.0, 1.5, 2.0):
        cells = [f"{shift:g} σ", f"{shift / 2:g}"]
        for arl0 in (370.0, 1_000.0, 10_000.0):
            k, h = design_cusum(arl0, shift)
            cells.append(f"h {h:.2f}, found after {_rows(arl_cusum(k, h, shift))}")
        rows.append(cells)
    return _table(["shift to find", "k", "ARL 370", "ARL 1,000", "ARL 10,000"], rows)


def ewma_table() -> str:
    """L for a weight and an ARL without a shift."""
    rows = []
    for weight in (0.05, 0.1, 0.2, 0.4):
        cells = [f"{weight:g}"]
        for arl0 in (370.0, 1_000.0, 10_000.0):
            width = design_ewma(arl0, weight)
            found = ", ".join(_rows(arl_ewma(weight, width, shift)) for shift in (0.5, 1.0, 2.0))
            cells.append(f"L {width:.3f}; {found}")
        rows.append(cells)
    return _table(["λ", "ARL 370; at 0.5, 1, 2 σ", "ARL 1,000; at 0.5, 1, 2 σ", "ARL 10,000; at 0.5, 1, 2 σ"], rows)


def phase_one_table() -> str:
    """What the ARL of an individuals chart (rule 1) really is, after a Phase I of m rows."""
    random = np.random.default_rng(1)
    rows = []
    for m in (20, 50, 100, 200, 500):
        values = random.normal(0.0, 1.0, (5_000, m))
        mu = values.mean(axis=1)
        sigma = np.abs(np.diff(values, axis=1)).mean(axis=1) / d2(2)
        false_alarm = ndtr(mu - 3.0 * sigma) + ndtr(-mu - 3.0 * sigma)
        low, middle, high = (float(f"{arl:.2g}") for arl in np.quantile(1.0 / false_alarm, [0.1, 0.5, 0.9]))
        rows.append(
            [str(m), *(f"{arl:,.0f}" for arl in (low, middle, high)), f"{float(10_000 * false_alarm.mean()):.0f}"]
        )
    rows.append(["known", "370", "370", "370", "27"])
    return _table(
        ["rows of Phase I", "one chart in ten: below", "half: below", "one in ten: above", "false alarms in 10,000"],
        rows,
    )


TABLES: Mapping[str, Callable[[], str]] = {
    "charts": charts_table,
    "cusum": cusum_table,
    "ewma": ewma_table,
    "phase one": phase_one_table,
}


def filled(page: str) -> str:
    """Return the page with its tables computed anew."""

    def table(found: re.Match[str]) -> str:
        return f"<!-- table: {found[1]} -->\n\n{TABLES[found[1]]()}\n\n<!-- end -->"

    return re.sub(r"<!-- table: (.*?) -->\n.*?<!-- end -->", table, page, flags=re.DOTALL)


if __name__ == "__main__":
    draw(FOLDER)
    PAGE.write_text(filled(PAGE.read_text()))
