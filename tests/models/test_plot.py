"""Charts are drawn for real; the artists say what is on them."""

from __future__ import annotations

import sys
from io import BytesIO

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models import judge
from models.cusum import Cusum
from models.detector import Detector, Verdicts
from models.ewma import Ewma
from models.individuals import IndividualsChart
from models.plot import LABELS_MAX, plot
from models.xbar import XbarChart

FLOW = [9.8, 10.3, 14.0, 9.9, np.nan, 10.2, 12.1, 9.0, 12.2, 10.0]


def lines(axes: Axes, gid: str) -> list[np.ndarray]:
    """The (points, 2) of every line with this meaning."""
    return [np.column_stack(line.get_data()).astype(float) for line in axes.lines if line.get_gid() == gid]


def texts(axes: Axes, gid: str = "rule") -> list[tuple[float, float, str]]:
    return [(*map(float, text.xy), text.get_text()) for text in axes.texts if text.get_gid() == gid]


def drawn(figure: Figure) -> bytes:
    out = BytesIO()
    figure.savefig(out, format="png", dpi=50)
    return out.getvalue()


def test_a_chart_with_everything_on_it() -> None:
    chart = IndividualsChart(nelson=(1, 5))
    figure = plot(judge(chart, FLOW, mu=10.0, sigma=1.0), detector=chart)
    x, moving_range = figure.axes
    there = [i for i, value in enumerate(FLOW) if not np.isnan(value)]
    assert lines(x, "statistic")[0].tolist() == [[i + 1, FLOW[i]] for i in there]
    assert {tuple(p) for name in ("ucl", "lcl", "centre") for p in lines(x, name)[0][[0, -1]]} == {
        (1, 13), (10, 13), (1, 7), (10, 7), (1, 10), (10, 10),
    }  # fmt: skip
    assert lines(x, "critical")[0].tolist() == [[3, 14.0]]
    assert lines(x, "warning")[0].tolist() == [[9, 12.2]]
    assert texts(x) == [(3, 14.0, "nelson_1"), (9, 12.2, "nelson_5")]
    assert texts(moving_range) == [(3, pytest.approx(3.7), "mr_beyond_limit")]
    assert (x.get_ylabel(), moving_range.get_ylabel(), moving_range.get_xlabel()) == ("x", "MR", "sample")
    assert figure.get_suptitle() == "spc.individuals"
    assert drawn(figure).startswith(b"\x89PNG")


def test_phase_one_is_grey_and_has_no_limits() -> None:
    chart = IndividualsChart(phase_one_rows=6)
    (x, _) = plot(judge(chart, [1.0, 2.0, 1.5, 1.2, 1.9, 1.4, 1.6, 9.0]), detector=chart).axes
    assert lines(x, "not judged")[0][:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert lines(x, "ucl")[0][:, 0].tolist() == [7, 8]


def test_limits_that_step_are_drawn_as_steps() -> None:
    chart = Ewma(weight=0.1, width=2.7)
    (axes,) = plot(judge(chart, [10.0, 10.0, 10.0], mu=10.0, sigma=1.0), detector=chart).axes
    assert lines(axes, "ucl")[0][:, 1].round(5).tolist() == [10.27, 10.36325, 10.424]
    assert {line.get_drawstyle() for line in axes.lines if line.get_gid() in {"ucl", "lcl", "centre"}} == {"steps-mid"}


def test_subgroups_have_a_point_where_they_close() -> None:
    chart = XbarChart(subgroup_size=2)
    (mean, spread) = plot(judge(chart, [1.0, 3.0, 2.0, 4.0, 9.0], mu=2.0, sigma=1.0), detector=chart).axes
    assert lines(mean, "statistic")[0].tolist() == [[2, 2.0], [4, 3.0]]
    assert lines(spread, "statistic")[0].tolist() == [[2, 2.0], [4, 2.0]]
    assert lines(mean, "ucl")[0][:, 0].tolist() == [2, 4]


def test_zones() -> None:
    chart = IndividualsChart()
    verdicts = judge(chart, [10.0, 10.5], mu=10.0, sigma=1.0)
    axes = plot(verdicts, detector=chart, zones=True).axes[0]
    assert sorted(float(line[0, 1]) for line in lines(axes, "zone")) == pytest.approx([8, 9, 11, 12])
    letters = sorted((y, letter) for _, y, letter in texts(axes, "zone letter"))
    assert [letter for _, letter in letters] == ["A", "B", "C", "C", "B", "A"]
    assert [y for y, _ in letters] == pytest.approx([7.5, 8.5, 9.5, 10.5, 11.5, 12.5])
    assert lines(plot(verdicts, detector=chart).axes[0], "zone") == []
    for uneven in (Cusum(), chart):  # no lower limit; a moving range, whose limits are not even
        panel = plot(judge(uneven, [10.0, 11.0], mu=10.0, sigma=1.0), detector=uneven, zones=True).axes[1]
        assert lines(panel, "zone") == []


def test_raw_values_get_a_panel_of_their_own() -> None:
    chart = Cusum()
    figure = plot(judge(chart, FLOW, mu=10.0, sigma=1.0), FLOW, detector=chart, title="flow")
    assert [axes.get_ylabel() for axes in figure.axes] == ["value", "C+", "C-"]
    assert lines(figure.axes[0], "statistic")[0][:, 1].tolist() == [value for value in FLOW if not np.isnan(value)]
    assert figure.get_suptitle() == "flow"


def test_vectors_are_a_line_per_column() -> None:
    vectors = np.array([[1.0, 10.0], [2.0, np.nan], [3.0, 30.0]])
    raw = plot(judge(Ewma(), vectors[:, 0], mu=2.0, sigma=1.0), vectors).axes[0]
    assert [line[:, 1].tolist() for line in lines(raw, "statistic")] == [[1, 2, 3], [10, 30]]


@pytest.mark.slow
def test_one_series_of_several_and_places_of_your_own() -> None:
    chart = Ewma()
    labels = np.array(["a", "b", "a", "b"])
    verdicts = judge(chart, [1.0, 5.0, 2.0, 6.0], series=labels, mu={"a": 1.0, "b": 5.0}, sigma=1.0)
    (axes,) = plot(verdicts, [1.0, 5.0, 2.0, 6.0], detector=chart, rows=labels == "b", x=[10, 20, 30, 40]).axes[1:]
    assert lines(axes, "statistic")[0].tolist() == [[20, 5.0], [40, pytest.approx(5.2)]]
    assert axes.get_xlabel() == ""
    times = np.array(["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"], "datetime64[D]")
    assert drawn(plot(verdicts, detector=chart, rows=[0, 2], x=times))


def test_a_name_stands_where_a_run_of_signals_begins_and_there_are_not_too_many() -> None:
    chart = IndividualsChart(nelson=(1,))
    on = judge(chart, [20.0] * 3 + [10.0] + [20.0] * 2, mu=10.0, sigma=1.0)
    axes = plot(on, detector=chart).axes[0]
    assert [at for at, _, _ in texts(axes)] == [1, 5]
    assert lines(axes, "critical")[0][:, 0].tolist() == [1, 2, 3, 5, 6]
    close = plot(judge(chart, [10.0, 20.0] * 100, mu=10.0, sigma=1.0), detector=chart).axes[0]
    assert [at for at, _, _ in texts(close)] == list(range(2, 200, 14))  # 6 % of 200 points are 12
    assert len(lines(close, "critical")[0]) == 100

    every = np.arange(100, dtype=np.uint32)  # rules that come and go
    verdicts = Verdicts(np.zeros((100, 1)), *(np.full((1, 1), np.nan) for _ in range(3)), every, every >= 0)
    assert len(texts(plot(verdicts).axes[0])) <= LABELS_MAX


def test_without_a_detector_things_have_numbers() -> None:
    verdicts = judge(Cusum(), [16.0, 10.0], mu=10.0, sigma=1.0)
    figure = plot(verdicts)
    assert [axes.get_ylabel() for axes in figure.axes] == ["statistic 1", "statistic 2"]
    assert texts(figure.axes[0]) == [(1, 5.5, "rule 1")]
    assert figure.get_suptitle() == ""
    assert plot(judge(Ewma(), [1.0], mu=1.0, sigma=1.0)).axes[0].get_ylabel() == "statistic"


@pytest.mark.parametrize("detector", [IndividualsChart(), Ewma(), Cusum(), XbarChart()])
def test_nothing_to_draw_is_an_empty_chart(detector: Detector) -> None:
    figure = plot(judge(detector, []), [], detector=detector, zones=True)
    assert len(figure.axes) == 1 + len(detector.statistics)
    assert drawn(figure)


def test_limits_may_be_one_number_for_all_rows() -> None:
    one = np.array([[3.0]])
    verdicts = Verdicts(np.array([[1.0], [4.0]]), one - 3, -one, one, np.array([0, 1], np.uint32), np.ones(2, np.bool_))
    (axes,) = plot(verdicts).axes
    assert lines(axes, "ucl")[0].tolist() == [[1, 3], [2, 3]]


def test_what_does_not_fit_is_refused() -> None:
    verdicts = judge(Ewma(), [1.0, 2.0], mu=1.0, sigma=1.0)
    with pytest.raises(ValueError, match=r"values has shape \(3,\): the verdicts are of 2 rows"):
        plot(verdicts, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"x has shape \(1,\)"):
        plot(verdicts, x=[1])
    with pytest.raises(ValueError, match=r"spc\.cusum has 2 statistics, the verdicts have 1"):
        plot(verdicts, detector=Cusum())


def test_without_matplotlib_the_way_to_get_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'chipquality\[plot\]'"):
        plot(judge(Ewma(), [1.0], mu=1.0, sigma=1.0))
