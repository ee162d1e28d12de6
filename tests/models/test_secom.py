"""SECOM, a real semiconductor line, split by time: the model sees the first rows only, gaps kept, and judges the later ones.

Data: McCann and Johnston 2008, UCI Machine Learning Repository no. 179, CC BY 4.0; the first 70 % in time order ship with the
demo. There is no classification here: a score on rows in shuffled order would say nothing about later wafers.
"""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from cluster.demo.secom import Line, load
from models import judge
from models.artefact import Artefact
from models.detector import new_state, series_batch
from models.pca import PcaChart, contributions, fit_pca
from models.pca_fit import parts_of

PHASE_ONE = 438  # 40 % of the rows
ALPHA = 0.0027

pytestmark = [pytest.mark.compiled_only, pytest.mark.slow]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads of BLAS would only wait for each other where several tests share the machine."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def line() -> Line:
    return load()


@pytest.fixture(scope="module")
def model(line: Line) -> Artefact:
    assert (np.diff(line.time_ms) >= 0).all()
    return fit_pca(line.value[:PHASE_ONE], components=20, names=line.sensors)


def test_phase_one_on_590_columns_with_gaps(line: Line, model: Artefact) -> None:
    """All columns are accounted for: 436 used, 122 constant, 24 sparse, 8 rare. 5 % of the entries are gaps."""
    parts, facts = parts_of(model), model.facts
    kinds = (len(parts.use), len(parts.constant), len(facts["sparse"]), len(facts["rare"]))
    assert kinds == (436, 122, 24, 8)
    assert sum(kinds) == line.value.shape[1] == 590
    assert facts["gaps"] == pytest.approx(0.05, abs=0.005)
    assert facts["limits"] == "held_out"
    assert 0.4 < facts["explained"] < 0.6


def test_drift_is_flagged(line: Line, model: Artefact) -> None:
    """Every row is judged. Of the last third, more than 8 % have Q beyond its limit: nominal is 0.27 %.

    Heavy tails alone make about 5 % of it: so much of Phase I signals when every fifth row is judged by a model of the others.
    """
    v = judge(PcaChart(model), line.value)
    assert v.valid.all()
    q = v.signal & 2 > 0
    last = q[-len(q) // 3 :]
    assert q[:PHASE_ONE].mean() < 0.02
    assert last.mean() > 0.08
    assert last.mean() > ALPHA + 20 * math.sqrt(ALPHA * (1 - ALPHA) / len(last))
    assert not (v.signal & 4).any()  # no constant column has moved


def test_gaps_of_secom_make_no_false_alarms(line: Line, model: Artefact) -> None:
    """Normal rows from the model's own covariance, holed as SECOM's rows are, signal at the nominal rate."""
    parts = parts_of(model)
    arrays = {**model.arrays, "spread": np.ones(4), "centre": np.zeros(436), "scale": np.ones(436)}
    known = Artefact("pca", arrays, {**model.facts, "limits": "theory", "rows": 10**9})
    rows, random = 5_000, np.random.default_rng(5)
    values, vectors = np.linalg.eigh(parts.residual)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    x = np.full((rows, 590), np.nan)
    scores = random.normal(size=(rows, len(parts.eigenvalues))) * np.sqrt(parts.eigenvalues)
    x[:, parts.use] = scores @ parts.loadings.T + random.normal(size=(rows, 436)) @ root.T
    x[np.isnan(line.value[np.arange(rows) % len(line.value)])] = np.nan
    v = judge(PcaChart(known, alpha=0.01), x)
    assert v.valid.all()
    for bit in (1, 2):
        assert (v.signal & bit > 0).mean() == pytest.approx(0.01, abs=4 * math.sqrt(0.01 * 0.99 / rows))


def test_a_sensor_that_jumps_is_named(line: Line, model: Artefact) -> None:
    """A jump of 60 standard deviations in one sensor of a quiet wafer makes it the largest contribution, and the explanation."""
    chart, parts = PcaChart(model), parts_of(model)
    quiet = int(np.argmin(judge(chart, line.value[PHASE_ONE:]).statistic[:, 1])) + PHASE_ONE
    for used in range(0, len(parts.use), 29):
        column = int(parts.use[used])
        x = line.value[quiet].copy()
        x[column] = parts.centre[used] + 60.0 * parts.scale[used]
        found, name = contributions(model, x), line.sensors[column]
        signal = int(judge(chart, x[None]).signal[0])
        assert signal
        for bit, statistic in ((1, "T2"), (2, "Q")):
            assert not signal & bit or found.top(1, statistic)[0].name == name
        assert f"{name} " in chart.explain(new_state(chart, 1), series_batch(x[None]), 0)
