"""The score of the Numenta Anomaly Benchmark: its printed numbers, its fixed points, and the definition row by row."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.nab import PROFILES, Profile, probation_rows, row_worth, score_file, sigmoid, total, window_rows
from tests.naive.anomaly import nab


def alarms(n: int, *rows: int) -> np.ndarray:
    alarm = np.zeros(n, bool)
    alarm[list(rows)] = True
    return alarm


def test_sigmoid_has_the_printed_values() -> None:
    assert sigmoid(np.array([-1.0, -0.5, 0.0, 1.0])) == pytest.approx([0.98661, 0.84828, 0.0, -0.98661], abs=5e-6)


def test_the_benchmarks_own_example_of_all_kinds_of_row() -> None:
    """Two windows of 5 rows; the first is found twice, one false alarm 3 rows behind it, the second is missed."""
    windows = np.array([[40, 44], [80, 84]])
    score = score_file(alarms(100, 40, 41, 47), windows, Profile(false_alarm=1.0), probation=0)
    assert score.raw == pytest.approx(-0.9540, abs=5e-5)
    assert (score.windows, score.found, score.false_alarms) == (2, 1, 1)


@pytest.mark.parametrize("name", PROFILES)
def test_silence_scores_0_and_perfection_100(name: str) -> None:
    windows = np.array([[700, 799], [900, 949]])
    nothing = np.zeros((0, 2), np.int64)
    silent = [score_file(np.zeros(1000, bool), w, PROFILES[name]) for w in (windows, nothing)]
    perfect = [score_file(alarms(1000, *w[:, 0]), w, PROFILES[name]) for w in (windows, nothing)]
    assert total(silent).normalised == 0.0
    assert total(perfect).normalised == 100.0
    assert math.isnan(silent[1].normalised)
    everywhere = [score_file(np.ones(1000, bool), w, PROFILES[name]) for w in (windows, nothing)]
    assert total(everywhere).normalised < -1000.0


def test_weights_of_the_profiles() -> None:
    """A false alarm before any window and a miss, under each profile."""
    windows = np.array([[700, 799]])
    raw = {name: score_file(alarms(1000, 400), windows, profile).raw for name, profile in PROFILES.items()}
    assert raw == {"standard": -1.11, "reward_low_FP_rate": -1.22, "reward_low_FN_rate": -2.11}


def test_an_early_alarm_is_worth_more_and_only_the_first_counts() -> None:
    windows = np.array([[500, 599]])
    worth = row_worth(1000, windows)
    assert worth[500] == 1.0
    assert (np.diff(worth[500:600]) < 0).all()
    assert 0.0 < worth[599] < 0.03
    assert (np.diff(worth[600:899]) <= 0).all()
    assert (worth[897:] == -0.11).all()
    assert (worth[:500] == -0.11).all()
    assert score_file(alarms(1000, 520, 590), windows).raw == worth[520]


def test_probation_hides_rows_and_whole_windows() -> None:
    assert [probation_rows(n) for n in (0, 6, 7, 1000, 4999, 5000, 5001, 22695)] == [0, 0, 1, 150, 749, 750, 750, 750]
    hidden, cut = np.array([[100, 140]]), np.array([[140, 160]])
    assert score_file(alarms(1000, 120), hidden) == (0.0, 0.0, 1.0, 1, 0, 0)
    assert score_file(alarms(1000, 145), cut).raw == -1.0
    assert score_file(alarms(1000, 145, 150), cut).raw == row_worth(1000, cut)[150]


def test_window_rows_are_found_by_time() -> None:
    time = np.array([0.0, 10.0, 10.0, 20.0, 30.0])
    assert window_rows(time, [(10.0, 20.0), (25.0, 99.0)]).tolist() == [[1, 3], [4, 4]]
    assert window_rows(time, [(0.0, 10.0), (15.0, 25.0)]).tolist() == [[0, 1], [3, 3]]
    assert window_rows(time, []).shape == (0, 2)
    with pytest.raises(ValueError, match=r"window 12\.0 to 15\.0 has no row"):
        window_rows(time, [(12.0, 15.0)])


@settings(max_examples=60)
@given(st.data())
def test_against_the_definition(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 60))
    edges = sorted(data.draw(st.sets(st.integers(0, n - 1), max_size=6)))
    windows = list(zip(edges[::2], edges[1::2], strict=False))
    if data.draw(st.booleans()) and edges and len(edges) % 2:
        windows.append((edges[-1], edges[-1]))
    alarm = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    profile = data.draw(st.sampled_from([*PROFILES.values(), Profile(0.5, 1.0, 3.0)]))
    probation = data.draw(st.none() | st.integers(0, n))
    score = score_file(np.array(alarm), np.array(windows, np.int64).reshape(-1, 2), profile, probation)
    probation = probation_rows(n) if probation is None else probation
    assert score.raw == pytest.approx(nab(alarm, windows, *profile, probation), abs=1e-12)
    assert score.null == pytest.approx(nab([False] * n, windows, *profile, probation))
