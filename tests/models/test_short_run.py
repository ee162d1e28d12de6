"""The short-run chart: Montgomery's example, an oracle for every scale, and what is not judged."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import judge
from models.cusum import Cusum
from models.detector import identity, new_params, new_state, series_batch
from models.individuals import IndividualsChart
from models.limits import d2
from models.short_run import ShortRunChart
from models.xbar import XbarChart

# Montgomery, Introduction to SQC, 7th ed., table 10.1: samples of three, of part A (50 mm) and part B (25 mm)
PART_A = [[50, 51, 52], [49, 50, 51], [48, 49, 52], [49, 53, 51]]
PART_B = [[24, 27, 26], [25, 27, 24], [27, 26, 23], [25, 24, 23], [24, 25, 25], [26, 24, 25]]


def test_montgomery_deviation_from_nominal() -> None:
    values, target = np.array([*PART_A, *PART_B], float).ravel(), np.repeat([50.0, 25.0], [12, 18])
    chart = ShortRunChart(XbarChart(3, phase_one_subgroups=10), centre="learned")
    v = judge(chart, np.append(values, values), target=np.append(target, target))
    assert np.flatnonzero(v.valid).tolist() == list(range(32, 60, 3))
    assert v.centre[32].round(2).tolist() == [0.17, 2.7]
    assert (v.lcl[32, 0], v.ucl[32, 0]) == pytest.approx((-2.59, 2.93), abs=0.01)  # of 0.17 and 2.7 as printed
    assert v.ucl[32, 1] == pytest.approx(6.95, abs=0.01)
    assert not v.signal.any()
    assert v.statistic[[32, 44], 0].round(2).tolist() == [1.0, 0.67]


def test_the_centre_is_the_target_unless_it_is_learned() -> None:
    values = np.array([50.4, 25.6, 50.6, 25.4, 50.4, 25.6])
    target = np.resize([50.0, 25.0], 6)
    on_target, learned = (
        judge(ShortRunChart(IndividualsChart(4), centre=centre), values, target=target)
        for centre in ("target", "learned")
    )
    assert on_target.centre[4, 0] == 0.0
    assert learned.centre[4, 0] == pytest.approx(0.5)
    width = 3 * np.mean([0.2, 0.0, 0.2]) / d2(2)
    assert on_target.ucl[4, 0] == pytest.approx(width)
    assert learned.ucl[4, 0] == pytest.approx(0.5 + width)
    assert on_target.signal[4] & 1
    assert not learned.signal[4] & 1


PARTS = ((10.0, 0.5), (20.0, 2.0), (40.0, 1.0))
row = st.tuples(st.integers(-8, 8).map(lambda steps: steps / 4), st.sampled_from([10.0, 20.0, 40.0]))


@settings(max_examples=60)
@given(st.lists(row, max_size=30), st.sampled_from(["none", "target", "tolerance", "part"]))
def test_every_scale_is_a_chart_of_what_it_computes(rows: list[tuple[float, float]], scale: str) -> None:
    target = [of for _, of in rows]
    values = [off + of for off, of in rows]
    lsl, usl = [of - of / 5 for of in target], [of + of / 5 for of in target]
    parts = PARTS if scale == "part" else ()
    said = {} if scale == "part" else {"sigma": 0.25}
    for chart in (IndividualsChart(), Cusum(h=2.0)):
        v = judge(ShortRunChart(chart, scale, parts=parts), values, target=target, lsl=lsl, usl=usl, **said)
        unit = {"none": [1.0] * len(rows), "target": target, "tolerance": [of / 5 for of in target]}.get(scale)
        unit = [dict(PARTS)[of] for of in target] if unit is None else unit
        y = [off / by for (off, _), by in zip(rows, unit, strict=True)]
        expected = judge(chart, y, mu=0.0, sigma=said.get("sigma", 1.0))
        for part, other in zip(v[:4], expected[:4], strict=True):
            np.testing.assert_allclose(part, other, atol=1e-12)
        assert v.valid.all()
        if scale in ("none", "part"):
            assert v.signal.tolist() == expected.signal.tolist()


@pytest.mark.parametrize(
    ("scale", "carried"),
    [
        ("none", {"target": [50.0, np.nan, 50.0]}),
        ("none", {"target": [50.0, np.inf, 50.0]}),
        ("target", {"target": [50.0, 0.0, 50.0]}),
        ("tolerance", {"target": [50.0] * 3, "lsl": [45.0, 55.0, 45.0], "usl": [55.0, 45.0, 55.0]}),
        ("tolerance", {"target": [50.0] * 3, "lsl": [45.0, np.nan, 45.0], "usl": [55.0] * 3}),
        ("part", {"target": [50.0, 51.0, 50.0]}),
        ("part", {"target": [50.0, 5.0, 50.0]}),
        ("part", {"target": [50.0, np.nan, 50.0]}),
    ],
)
def test_a_row_without_what_the_scale_needs_is_as_if_missing(scale: str, carried: dict[str, list[float]]) -> None:
    chart = ShortRunChart(scale=scale, parts=((50.0, 1.0),) if scale == "part" else ())
    v = judge(chart, [50.5, 50.2, 50.1], sigma=1.0, **carried)
    without = judge(chart, [50.5, 50.1], sigma=1.0, **{name: [of[0], of[2]] for name, of in carried.items()})
    assert v.valid.tolist() == [True, False, True]
    for part, other in zip(v, without, strict=True):
        np.testing.assert_array_equal(np.delete(part, 1, axis=0), other)


def test_what_the_row_carries_wins_over_what_is_given_for_the_series() -> None:
    chart = ShortRunChart()
    params = new_params(1, target=50.0, sigma=1.0, mu=7.0)
    batch = series_batch(np.array([50.5, 50.5]), params=params, columns={"target": np.array([np.nan, 25.0])})
    v = chart.update(new_state(chart, 1), batch)
    assert v.statistic[:, 0].tolist() == [0.5, 25.5]
    assert v.centre[:, 0].tolist() == [0.0, 0.0], "a given mu is not looked at"
    tolerance = judge(ShortRunChart(scale="tolerance"), [51.0], target=50.0, lsl=45.0, usl=55.0, sigma=1.0)
    assert tolerance.statistic[0, 0] == pytest.approx(0.2)


def test_zero_sigma_compares_with_the_target() -> None:
    v = judge(ShortRunChart(), [50.0, 25.0, 50.0, 25.5, 50.0], target=[50.0, 25.0, 50.0, 25.0, 50.0], sigma=0.0)
    assert (v.signal & 1).tolist() == [0, 0, 0, 1, 0]
    assert set(v.ucl[:, 0]) == {0.0}


def test_excluded_rows_are_not_judged() -> None:
    v = judge(ShortRunChart(), [50.0, 99.0, 50.5], target=50.0, sigma=1.0, excluded=[False, True, False])
    assert v.valid.tolist() == [True, False, True]
    assert np.isnan(v.statistic[2, 1]), "the window ended"


def test_names_and_identity() -> None:
    parts = ((50.0, 1.0), (25.0, 0.5))
    charts = [ShortRunChart(), ShortRunChart(scale="target"), ShortRunChart(centre="learned"), ShortRunChart(Cusum())]
    charts += [ShortRunChart(scale="part", parts=parts), ShortRunChart(scale="part", parts=parts[:1])]
    assert charts[0].name == "spc.short_run.individuals"
    assert charts[0].statistics == ("deviation", "MR")
    assert len({identity(chart) for chart in charts}) == len(charts)
    assert identity(ShortRunChart(scale="part", parts=parts[::-1])) == identity(charts[4]), "in any order"
    assert identity(pickle.loads(pickle.dumps(charts[4]))) == identity(charts[4])  # noqa: S301 - made here


class Vectors(IndividualsChart):
    """A detector of vectors, as far as anyone looks."""

    dimension = 2


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("scale", {"scale": "size"}),
        ("centre", {"centre": "mean"}),
        ("parts", {"scale": "part"}),
        ("parts", {"parts": ((1.0, 1.0),)}),
        ("parts", {"scale": "part", "parts": ((1.0, 1.0),), "centre": "learned"}),
        ("parts", {"scale": "part", "parts": ((1.0, 1.0), (1.0, 2.0))}),
        ("parts", {"scale": "part", "parts": ((1.0, 0.0),)}),
        ("parts", {"scale": "part", "parts": ((math.nan, 1.0),)}),
        ("chart", {"chart": Vectors()}),
    ],
)
def test_parameters_without_meaning_are_refused(name: str, parameters: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"{name} = "):
        ShortRunChart(**parameters)  # type: ignore[arg-type]
