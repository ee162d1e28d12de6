"""Average run lengths through the engine, against exact figures: as tests/bench/run_length.py, with fewer runs.

The tolerance is four standard errors of the simulated mean, with a fixed seed.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest

from models.arl import arl_cusum, arl_ewma, arl_shewhart
from models.cusum import Cusum
from models.detector import Detector
from models.ewma import Ewma
from models.individuals import IndividualsChart
from tests.bench.run_length import CASES, Z_MAX, Case, run_lengths, z_of

ROWS = 120_000  # of a case, about
RUNS_MAX = 4_000


class Later(NamedTuple):
    """A case whose exact ARL is computed by the test: at import it would cost every run a second."""

    name: str
    detector: Detector
    shift: float
    exact: Callable[[], float]

    def case(self) -> Case:
        return Case(self.name, self.detector, self.shift, self.exact())


MORE = (
    Later("Shewhart, rule 1", IndividualsChart(nelson=(1,)), 1.0, partial(arl_shewhart, 1.0)),
    Later("Nelson 1, 2, 5, 6", IndividualsChart(nelson=(1, 2, 5, 6)), -0.4, partial(arl_shewhart, -0.4, (1, 2, 5, 6))),
    Later("Nelson 3", IndividualsChart(nelson=(3,)), 0.0, partial(arl_shewhart, 0.0, (3,))),
    Later("Nelson 4", IndividualsChart(nelson=(4,)), 0.0, partial(arl_shewhart, 0.0, (4,))),
    Later("Nelson 1-8", IndividualsChart(), 0.0, partial(arl_shewhart, 0.0, "nelson")),
    Later("Nelson 1-8", IndividualsChart(), 0.7, partial(arl_shewhart, 0.7, "nelson")),
    Later("Nelson 7", IndividualsChart(nelson=(7,)), 0.0, partial(arl_shewhart, 0.0, (7,))),
    Later("Nelson 8", IndividualsChart(nelson=(8,)), 1.0, partial(arl_shewhart, 1.0, (8,))),
    Later("Nelson 8, any side", IndividualsChart(nelson=(8,), any_side=True), 1.0,
          partial(arl_shewhart, 1.0, (8,), any_side=True)),
    Later("CUSUM, headstart", Cusum(headstart=0.5), 1.0, partial(arl_cusum, 0.5, 5.0, 1.0, headstart=0.5)),
    Later("CUSUM, upper side", Cusum(k=0.25, h=3.0, side="high"), 0.5, partial(arl_cusum, 0.25, 3.0, 0.5, sides=1)),
    Later("EWMA, limits widen", Ewma(), 1.0, partial(arl_ewma, 0.2, 2.962, 1.0, steady=False)),
)  # fmt: skip


@pytest.mark.compiled_only
@pytest.mark.parametrize("told", [*CASES, *MORE], ids=lambda case: f"{case.name} at {case.shift:g}")
def test_average_run_length(told: Case | Later) -> None:
    case = told if isinstance(told, Case) else told.case()
    runs = min(RUNS_MAX, round(ROWS / case.exact))
    _, _, z = z_of(run_lengths(case, runs, seed=1987), case.exact)
    assert abs(z) < Z_MAX
