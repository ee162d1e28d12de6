"""Have many columns changed? A classifier that can tell then from now says yes, and by which columns."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.stats import mannwhitneyu
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

TREES = 200
ROWS_MIN = 8  # of each sample
IMPORTANCE_REPEATS = 5
IMPORTANCE_COLUMNS_MAX = 20  # each costs as many scorings of the held-out rows as there are repeats


class TwoSampleResult(NamedTuple):
    """What `classifier_two_sample_test` found."""

    auc: float  # of the held-out rows: 0.5 = cannot tell, 1 = tells every one
    p_value: float  # of an AUC as high without a change
    importance: np.ndarray  # (p,) loss of AUC when a column of the held-out rows is shuffled; 0 where not tried


def classifier_two_sample_test(
    reference: np.ndarray, current: np.ndarray, seed: int, model: Literal["forest", "logistic"] = "forest"
) -> TwoSampleResult:
    """Test whether two samples (n, p) and (m, p) of many columns are of one distribution; gaps (NaN) are allowed.

    A classifier learns from one half of each sample, drawn with `seed`, to tell them apart; the other half is scored. If nothing
    has changed, the scores of the held-out rows have no order, whatever the classifier has learned: their AUC is a Mann–Whitney
    statistic, and the p-value is exact. That holds for independent rows; rows that resemble their neighbours make it too small.

    "forest" (random forest) finds changes of any kind, also of dependence; "logistic" only shifts of means, with fewer rows.
    A gap is a value of its own in the forest (so a change of what is missing is found), the median in the logistic
    regression, which also sees that it was one. This fits, so it is a job's, never an `update`'s. `importance` tries the
    IMPORTANCE_COLUMNS_MAX columns of which the classifier made most.

    Raises ValueError for arrays of other shapes or fewer than ROWS_MIN rows each.

    >>> random = np.random.default_rng(0)
    >>> then, now = random.normal(size=(200, 30)), random.normal(size=(200, 30))
    >>> now[:, 7] += 1.5
    >>> result = classifier_two_sample_test(then, now, seed=1)
    >>> result.p_value < 1e-6, int(result.importance.argmax())
    (True, 7)

    Reference: Lopez-Paz and Oquab, Revisiting classifier two-sample tests, ICLR 2017, §3; with the AUC in place of the accuracy.
    """
    reference, current = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    if reference.ndim != 2 or current.ndim != 2 or reference.shape[1] != current.shape[1]:
        raise ValueError(f"reference {reference.shape}, current {current.shape}: (n, p) and (m, p) are wanted")
    if min(len(reference), len(current)) < ROWS_MIN:
        raise ValueError(f"{len(reference)} and {len(current)} rows: at least {ROWS_MIN} of each are wanted")
    if model not in ("forest", "logistic"):
        raise ValueError(f'model = {model!r}: "forest" or "logistic"')
    random = np.random.default_rng(seed)
    rows = np.concatenate([reference, current])
    rows[~np.isfinite(rows)] = np.nan
    label = np.repeat([0, 1], [len(reference), len(current)])
    half = np.zeros(len(rows), np.bool_)
    for first, size in ((0, len(reference)), (len(reference), len(current))):
        half[first + random.permutation(size)[: size // 2]] = True
    columns = np.flatnonzero(_changes(rows[half]))
    importance = np.zeros(rows.shape[1])
    if not len(columns):
        return TwoSampleResult(0.5, 1.0, importance)
    classifier = _classifier(model, seed)
    classifier.fit(rows[half][:, columns], label[half])
    held, held_label = rows[~half][:, columns], label[~half]
    score = classifier.predict_proba(held)[:, 1]
    test = mannwhitneyu(score[held_label == 1], score[held_label == 0], alternative="greater")
    auc = float(roc_auc_score(held_label, score))
    for column in np.argsort(-_own_importance(classifier, len(columns)), kind="stable")[:IMPORTANCE_COLUMNS_MAX]:
        importance[columns[column]] = auc - _shuffled_auc(classifier, held, held_label, int(column), random)
    return TwoSampleResult(auc, float(test.pvalue), importance)


def _changes(rows: np.ndarray) -> np.ndarray:
    """Return which columns hold at least two different values, a gap being one: (p,) bool."""
    gaps = np.isnan(rows)
    low = np.where(gaps, np.inf, rows).min(axis=0)
    high = np.where(gaps, -np.inf, rows).max(axis=0)
    changing: np.ndarray = (low < high) | (gaps.any(axis=0) & ~gaps.all(axis=0))
    return changing


def _classifier(model: str, seed: int) -> Any:
    if model == "forest":
        return RandomForestClassifier(TREES, min_samples_leaf=3, random_state=seed, n_jobs=1)
    return make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=0.1, max_iter=1_000),
    )


def _own_importance(classifier: Any, columns: int) -> np.ndarray:
    """Return how much the fitted classifier itself makes of each column: (columns,)."""
    if isinstance(classifier, RandomForestClassifier):
        return np.asarray(classifier.feature_importances_)
    weight = np.abs(classifier[-1].coef_[0])
    own: np.ndarray = weight[:columns].copy()
    own[classifier[0].indicator_.features_] += weight[columns:]  # of gaps
    return own


def _shuffled_auc(
    classifier: Any, rows: np.ndarray, label: np.ndarray, column: int, random: np.random.Generator
) -> float:
    """Return the mean AUC with one column shuffled."""
    found = []
    for _ in range(IMPORTANCE_REPEATS):
        shuffled = rows.copy()
        shuffled[:, column] = random.permutation(rows[:, column])
        found.append(roc_auc_score(label, classifier.predict_proba(shuffled)[:, 1]))
    return float(np.mean(found))
