"""Autocorrelated values: a chart of what the value before does not explain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from models import phase_one
from models.detector import PARAMS, Column, Detector, SeriesBatch
from models.individuals import IndividualsChart
from models.kernel import frozen, kernel
from models.phase_one import epoch, is_given
from models.transformed import Transformed

PHI_MAX = 0.999  # a learned phi is cut off there
_ROWS_MIN = 3


@kernel
def _learned(
    seen: int, mean: float, squares: float, first: float, pairs: int, before: float, after: float, products: float
) -> tuple[float, float]:
    """Return (phi, sigma) of the rows of a Phase I."""
    if squares <= 0.0 or pairs < 1:
        return 0.0, 0.0
    centre = mean - first
    covariance = products - centre * (before + after) + pairs * centre * centre
    phi = covariance / squares * (seen - 1) / pairs
    return min(max(phi, -PHI_MAX), PHI_MAX), np.sqrt(squares / (seen - 1))


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    excluded: np.ndarray,
    params: np.ndarray,
    rows: int,
    given_phi: float,
    ends: np.ndarray,
    columns: tuple[np.ndarray, ...],
    residual: np.ndarray,
    sigmas: np.ndarray,
) -> None:
    seen, mean, squares, first, pairs, before, after, products, last, epochs = columns
    given_mu, given_sigma = params["mu"], params["sigma"]
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        now = epoch(params, s, ends)
        if (excluded[i] and ends[2] != 0) or (is_given(x) and epochs[s] != now):
            epochs[s] = now
            last[s] = np.nan
        if excluded[i] or not is_given(x):
            continue
        previous = last[s]
        last[s] = x
        mu, sigma, phi = given_mu[s], given_sigma[s], given_phi
        sigma_given = is_given(sigma) and sigma >= 0.0
        if not (is_given(mu) and sigma_given and is_given(phi)):
            if seen[s] < rows or pairs[s] < 1:
                if seen[s] == 0:
                    first[s] = x
                seen[s] += 1
                step = x - mean[s]
                mean[s] += step / seen[s]
                squares[s] += step * (x - mean[s])
                if is_given(previous):
                    pairs[s] += 1
                    before[s] += previous - first[s]
                    after[s] += x - first[s]
                    products[s] += (previous - first[s]) * (x - first[s])
                continue
            learned_phi, learned_sigma = _learned(
                seen[s], mean[s], squares[s], first[s], pairs[s], before[s], after[s], products[s]
            )
            mu = mu if is_given(mu) else mean[s]
            sigma = sigma if sigma_given else learned_sigma
            phi = phi if is_given(phi) else learned_phi
        if sigma <= 0.0:
            phi = 0.0
        sigmas[s] = sigma * np.sqrt(1.0 - phi * phi)
        if is_given(previous):
            residual[i] = (x - mu) - phi * (previous - mu)


class ResidualChart(Transformed):
    """A chart of the residuals of an AR(1) process: for values that resemble the value before them.

    On such values, every chart that takes rows as independent gives false alarms: at phi = 0.5, limits from moving ranges
    are too narrow by a factor of 0.71. The residuals e = (x − mu) − phi (x_before − mu) are independent while the process
    is in control; `chart` judges them with centre 0 and sigma_e = sigma √(1 − phi²). By default that is a chart of
    individuals with all its run rules; a `Cusum` or an `Ewma` finds small shifts, of which residuals show only the part
    1 − phi after the first row.

    mu and sigma are those of x, given or learned, each for itself; phi is given (between −1 and 1, for all series), or
    learned per series. What is not given is learned from the first `phase_one_rows` rows: mean, standard deviation, and as
    phi the lag-1 autocorrelation coefficient (at most 0.999 either way). Those rows have no statistic and are not valid. A
    phi from m rows has a standard error of about √((1 − phi²)/m): take a hundred or more.

    - Missing or infinite value, excluded row: not judged, and as if it had not been: the next residual is against the last
      value that was there, and so is the next pair of Phase I.
    - The first row of a series, and the first after what the chart's `window_ends` names (limits, reset, exclusion), has no
      value before it: not judged.
    - Sigma 0: phi counts as 0, the residual is the distance from mu; equal is in control, anything else is beyond.
    - Statistics, limits, rules, and state beside the sums of Phase I are the chart's, "x" being the residual, in the unit
      of the value.

    >>> from models import judge
    >>> v = judge(ResidualChart(phi=0.5), [10.0, 12.0, 11.0, 16.0], mu=10.0, sigma=2.0)
    >>> v.statistic[:, 0], v.ucl[1:, 0].round(3), v.signal
    (array([nan, 2. , 0. , 5.5]), array([5.196, 5.196, 5.196]), array([0, 0, 0, 1], dtype=uint32))

    Reference: Alwan and Roberts, Journal of Business & Economic Statistics 6 (1988) 87–95; Montgomery, Introduction to SQC,
    7th ed., §10.4; the estimate of phi: NIST/SEMATECH e-Handbook 1.3.5.12.
    """

    prefix = "spc.residual"
    revision = 1
    label = "residual"
    own_state: ClassVar[Mapping[str, Column]] = {
        "ar_seen": Column("i4"),  # rows of Phase I
        "ar_mean": Column("f8"),
        "ar_squares": Column("f8"),  # of their deviations from the mean
        "ar_first": Column("f8"),  # the first of them: the sums below are of deviations from it
        "ar_pairs": Column("i4"),  # of neighbours
        "ar_before": Column("f8"),
        "ar_after": Column("f8"),
        "ar_products": Column("f8"),
        "ar_last": Column("f8", (), np.nan),  # the last value; NaN: none, or none that counts
        "ar_epoch": Column("i8", (), -1),
    }

    def __init__(self, chart: Detector | None = None, phi: float | None = None, phase_one_rows: int = 100) -> None:
        super().__init__(IndividualsChart() if chart is None else chart)
        if phi is not None and not -1.0 < phi < 1.0:
            raise ValueError(f"phi = {phi}: between -1 and 1, or None")
        if phase_one_rows < _ROWS_MIN:
            raise ValueError(f"phase_one_rows = {phase_one_rows}: an autocorrelation needs at least {_ROWS_MIN}")
        self.phi = phi
        self.phase_one_rows = phase_one_rows

    def learned(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return (S, 3): mean, phi and sigma of the rows that each series' Phase I has seen; NaN below two rows."""
        names = ("ar_seen", "ar_mean", "ar_squares", "ar_first", "ar_pairs", "ar_before", "ar_after", "ar_products")
        found = np.full((len(state["ar_seen"]), 3), np.nan)
        for s in np.flatnonzero(state["ar_seen"] > 1):
            found[s] = state["ar_mean"][s], *_learned(*(state[name][s] for name in names))
        return found

    def transform(
        self, state: Mapping[str, np.ndarray], batch: SeriesBatch
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return residuals, with centre 0 and the sigma of residuals."""
        residual, sigmas = np.full(len(batch), np.nan), np.full(len(batch.params), np.nan)
        ends = phase_one.window_ends(getattr(self._chart, "window_ends", phase_one.WINDOW_ENDS))
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.column("excluded"), np.bool_),
            frozen(batch.params, PARAMS), self.phase_one_rows, np.nan if self.phi is None else float(self.phi), ends,
            tuple(state[name] for name in self.own_state), residual, sigmas,
        )  # fmt: skip
        return residual, np.zeros(len(batch.params)), sigmas
