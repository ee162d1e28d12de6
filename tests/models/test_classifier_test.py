"""The classifier two-sample test: it finds what has changed, says which column, and holds its level."""

import numpy as np
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

from cluster.demo.secom import load
from models import classifier_test
from models.classifier_test import classifier_two_sample_test


def test_a_shift_of_one_column_is_found_by_the_linear_model() -> None:
    random = np.random.default_rng(1)
    then, now = random.normal(size=(150, 6)), random.normal(size=(150, 6))
    now[:, 4] += 1.0
    result = classifier_two_sample_test(then, now, seed=2, model="logistic")
    assert result.p_value < 1e-4
    assert result.importance.argmax() == 4
    again = classifier_two_sample_test(then, now, seed=2, model="logistic")
    assert (result.auc, result.p_value) == (again.auc, again.p_value)
    assert result.importance.tobytes() == again.importance.tobytes()
    assert classifier_two_sample_test(then, now, seed=3, model="logistic").auc != result.auc


def test_a_change_of_what_is_missing_is_found() -> None:
    random = np.random.default_rng(2)
    then, now = random.normal(size=(120, 4)), random.normal(size=(120, 4))
    now[random.random(120) < 0.6, 2] = np.nan
    now[0, 0] = np.inf
    result = classifier_two_sample_test(then, now, seed=1, model="logistic")
    assert result.p_value < 1e-3
    assert result.importance.argmax() == 2


def test_the_forest_finds_a_change_of_dependence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_test, "TREES", 30)
    random = np.random.default_rng(3)
    then = random.normal(size=(300, 2))
    now = random.multivariate_normal([0, 0], [[1, 0.95], [0.95, 1]], 300)
    assert classifier_two_sample_test(then, now, seed=1).p_value < 1e-4
    assert classifier_two_sample_test(then, now, seed=1, model="logistic").p_value > 1e-3


def test_nothing_that_changes_is_no_change() -> None:
    then = np.tile([1.0, np.nan], (20, 1))
    result = classifier_two_sample_test(then, then, seed=1)
    assert (result.auc, result.p_value, result.importance.tolist()) == (0.5, 1.0, [0.0, 0.0])


@pytest.mark.slow
def test_the_p_value_is_uniform_without_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_test, "IMPORTANCE_REPEATS", 1)
    random = np.random.default_rng(4)
    found = [
        classifier_two_sample_test(random.normal(size=(30, 2)), random.normal(size=(40, 2)), seed, "logistic").p_value
        for seed in range(40)
    ]
    assert stats.kstest(found, "uniform").pvalue > 0.01


@pytest.mark.slow
@pytest.mark.compiled_only
def test_secom_drifts_between_its_halves_in_time_and_not_between_random_ones() -> None:
    """590 columns with gaps. Data: McCann and Johnston 2008, UCI Machine Learning Repository no. 179, CC BY 4.0."""
    rows = load().value
    half = len(rows) // 2
    mixed = np.random.default_rng(6).permutation(rows)
    with threadpool_limits(1):
        in_time = classifier_two_sample_test(rows[:half], rows[half:], seed=1, model="logistic")
        at_random = classifier_two_sample_test(mixed[:half], mixed[half:], seed=1, model="logistic")
    assert in_time.p_value < 1e-20
    assert in_time.auc > 0.9
    assert at_random.p_value > 0.01


@pytest.mark.parametrize(
    ("then", "now", "model", "said"),
    [
        (np.zeros((20, 2)), np.zeros((20, 3)), "forest", "are wanted"),
        (np.zeros(20), np.zeros(20), "forest", "are wanted"),
        (np.zeros((20, 2)), np.zeros((7, 2)), "forest", "20 and 7 rows"),
        (np.zeros((20, 2)), np.zeros((20, 2)), "tree", "model = 'tree'"),
    ],
)
def test_what_cannot_be_tested_is_refused(then: np.ndarray, now: np.ndarray, model: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        classifier_two_sample_test(then, now, 1, model)  # type: ignore[arg-type]
