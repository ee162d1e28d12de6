"""Average run lengths through the engine, against exact figures: as tests/bench/run_length.py, with fewer runs.

The tolerance is four standard errors of the simulated mean, with a fixed seed.
"""

import pytest

from models.arl import arl_cusum, arl_ewma, arl_shewhart
from models.cusum import Cusum
from models.ewma import Ewma
from models.individuals import IndividualsChart
from tests.bench.run_length import CASES, Z_MAX, Case, run_lengths, z_of

ROWS = 120_000  # of a case, about
RUNS_MAX = 4_000

MORE = (
    Case("Shewhart, rule 1", IndividualsChart(nelson=(1,)), 1.0, arl_shewhart(1.0)),
    Case("Nelson 1, 2, 5, 6", IndividualsChart(nelson=(1, 2, 5, 6)), -0.4, arl_shewhart(-0.4, (1, 2, 5, 6))),
    Case("Nelson 3", IndividualsChart(nelson=(3,)), 0.0, arl_shewhart(0.0, (3,))),
    Case("Nelson 4", IndividualsChart(nelson=(4,)), 0.0, arl_shewhart(0.0, (4,))),
    Case("Nelson 1-8", IndividualsChart(), 0.0, arl_shewhart(0.0, "nelson")),
    Case("Nelson 1-8", IndividualsChart(), 0.7, arl_shewhart(0.7, "nelson")),
    Case("Nelson 7", IndividualsChart(nelson=(7,)), 0.0, arl_shewhart(0.0, (7,))),
    Case("Nelson 8", IndividualsChart(nelson=(8,)), 1.0, arl_shewhart(1.0, (8,))),
    Case("Nelson 8, any side", IndividualsChart(nelson=(8,), any_side=True), 1.0, arl_shewhart(1.0, (8,), any_side=True)),
    Case("CUSUM, headstart", Cusum(headstart=0.5), 1.0, arl_cusum(0.5, 5.0, 1.0, headstart=0.5)),
    Case("CUSUM, upper side", Cusum(k=0.25, h=3.0, side="high"), 0.5, arl_cusum(0.25, 3.0, 0.5, sides=1)),
    Case("EWMA, limits widen", Ewma(), 1.0, arl_ewma(0.2, 2.962, 1.0, steady=False)),
)  # fmt: skip


@pytest.mark.compiled_only
@pytest.mark.parametrize("case", [*CASES, *MORE], ids=lambda case: f"{case.name} at {case.shift:g}")
def test_average_run_length(case: Case) -> None:
    runs = min(RUNS_MAX, round(ROWS / case.exact))
    _, _, z = z_of(run_lengths(case, runs, seed=1987), case.exact)
    assert abs(z) < Z_MAX
