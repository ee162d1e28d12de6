"""`judge`: labels, parameters and columns reach the detector as the engine would give them."""

from typing import Any

import numpy as np
import pytest

from models import judge
from models.attributes import PChart
from models.capability import Capability
from models.cusum import Cusum
from models.detector import COLUMNS, SeriesBatch, new_params, new_state, series_batch
from models.individuals import IndividualsChart
from models.phase_one import WINDOW_ENDS, epoch, window_ends
from models.xbar import XbarChart


def test_labels_of_any_kind_are_series() -> None:
    values = [1.0, 5.0, 2.0, 9.0, 3.0]
    for labels in (["a", "b", "a", "b", "a"], np.array([7, 3, 7, 3, 7]), [("x", 1), ("x", 2)] * 2 + [("x", 1)]):
        v = judge(IndividualsChart(), values, series=labels, mu=0.0, sigma=1.0)
        np.testing.assert_array_equal(v.statistic[:, 1], [np.nan, np.nan, 1.0, 4.0, 1.0])


def test_parameters_are_for_all_series_or_by_label() -> None:
    v = judge(Cusum(), [3.0, 3.0], series=["a", "b"], mu={"a": 3.0, "b": 0.0}, sigma=1.0)
    assert v.statistic[:, 0].tolist() == [0.0, 2.5]
    partly = judge(Cusum(), [3.0, 3.0], series=["a", "b"], mu={"a": 3.0}, sigma=1.0)
    assert partly.valid.tolist() == [True, False], "b has no mu: it is in Phase I"


def test_limits_are_parameters_or_change_from_row_to_row() -> None:
    fixed = judge(Capability(min_rows=2), [9.0, 11.0, 10.0], lsl=4.0, usl=None)
    carried = judge(Capability(min_rows=2), [9.0, 11.0, 10.0], lsl=[4.0, 4.0, 4.0])
    np.testing.assert_array_equal(fixed.statistic, carried.statistic)
    assert fixed.valid.tolist() == [False, True, True]


def test_subgroups_have_any_labels() -> None:
    v = judge(XbarChart(3), [9.0, 11.0, 12.0], subgroup=["w1", "w1", "w2"], mu=10.0, sigma=1.0)
    assert np.flatnonzero(v.valid).tolist() == [2]


def test_rows_without_a_subgroup_are_in_none() -> None:
    given = {"lsl": 0.0, "usl": 20.0}
    alone = judge(Capability(min_rows=2), [9.0, 11.0, 12.0], **given)
    for gap in (None, float("nan"), -1):
        v = judge(Capability(min_rows=2), [9.0, 11.0, 12.0], subgroup=[gap] * 3, **given)
        np.testing.assert_array_equal(v.statistic, alone.statistic)
    mixed = judge(XbarChart(2), [9.0, 11.0, 12.0, 14.0], subgroup=np.array(["a", "a", None, None]), mu=10.0, sigma=1.0)
    assert np.flatnonzero(mixed.valid).tolist() == [1, 3]


def test_a_masked_value_is_a_missing_one() -> None:
    v = judge(IndividualsChart(), np.ma.masked_array([1, 999, 2], mask=[False, True, False]), mu=0.0, sigma=1.0)
    assert v.valid.tolist() == [True, False, True]


def test_one_sample_size_is_for_all_rows() -> None:
    v = judge(PChart(), [12, 15], sample_size=50, mu=0.2)
    np.testing.assert_array_equal(v.statistic, judge(PChart(), [12, 15], sample_size=[50, 50], mu=0.2).statistic)


def test_numbers_by_label_may_be_a_pandas_series() -> None:
    pandas = pytest.importorskip("pandas")
    values = pandas.Series([3.0, None, 3.0], index=["x", "y", "z"])
    v = judge(Cusum(), values, series=["a", "a", "b"], mu=pandas.Series({"a": 3.0, "b": 0.0}), sigma=1.0)
    assert v.statistic[[0, 2], 0].tolist() == [0.0, 2.5]
    assert v.valid.tolist() == [True, False, True]


@pytest.mark.parametrize("detector", ["spc.cusum", Cusum])
def test_a_name_or_a_class_is_no_detector(detector: Any) -> None:
    with pytest.raises(TypeError, match="an instance"):
        judge(detector, [1.0])


def test_an_excluded_row_comes_as_a_missing_one() -> None:
    seen: list[SeriesBatch] = []

    class Looks(IndividualsChart):
        def update(self, state: Any, batch: SeriesBatch) -> Any:
            seen.append(batch)
            return super().update(state, batch)

    v = judge(Looks(), [1.0, 50.0, 1.0], mu=0.0, sigma=1.0, excluded=[False, True, False], event_time_ms=[5, 6, 9])
    assert v.valid.tolist() == [True, False, True]
    assert v.signal.sum() == 0
    assert np.isnan(seen[0].value[1])
    assert seen[0].column("excluded").tolist() == [False, True, False]
    assert seen[0].event_time_ms.tolist() == [5, 6, 9]


def test_a_column_that_the_batch_lacks_says_not_given() -> None:
    batch = series_batch(np.zeros(2))
    for name in COLUMNS:
        assert batch.column(name).tolist() == (
            [False, False] if name == "excluded" else pytest.approx([np.nan] * 2, nan_ok=True)
        )
    with pytest.raises(KeyError):
        batch.column("colour")


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"series": ["a"]}, ValueError, "series: 1 labels for 2 rows"),
        ({"mu": {"b": 1.0}}, ValueError, "no row has series 'b'"),
        ({"sample_size": [1.0]}, ValueError, r"sample_size: shape \(1,\) for 2 rows"),
        ({"subgroup": [1, 2, 3]}, ValueError, "subgroup: 3 labels"),
        ({"mean": 1.0}, TypeError, "mean: not a parameter"),
        ({"mu": [1.0, 2.0]}, TypeError, r"mu of shape \(2,\): one number, or a mapping"),
        ({"sigma": -1.0}, ValueError, "sigma = -1: at least 0"),
        ({"series": ["a", float("nan")]}, ValueError, "series: the label of row 1 is NaN"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        judge(Cusum(), [1.0, 2.0], **given)


def test_values_have_the_shape_that_the_detector_judges() -> None:
    with pytest.raises(ValueError, match=r"judges \(n,\)"):
        judge(Cusum(), np.zeros((2, 2)))


def test_epochs_change_with_the_counters_that_end_windows() -> None:
    params = new_params(1)
    params["limits_version"], params["resets"], params["exclusions"] = 100, 10, 1
    for names, expected in (((), 0), (("limits",), 100), (("reset", "exclusion"), 11), (WINDOW_ENDS, 111)):
        assert epoch(params, 0, window_ends(names)) == expected
    with pytest.raises(ValueError, match="window_ends = \\('always',\\)"):
        window_ends(["always"])


def test_judge_starts_from_a_new_state() -> None:
    state = new_state(Cusum(), 1)
    Cusum().update(state, series_batch(np.array([3.0]), params=new_params(1, mu=0.0, sigma=1.0)))
    assert state["high"][0] == judge(Cusum(), [3.0], mu=0.0, sigma=1.0).statistic[0, 0] == 2.5
