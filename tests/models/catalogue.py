"""Every built-in detector, in configurations that differ: what the conformance suite goes through."""

import numpy as np

from models.adwin import Adwin
from models.anomaly import RobustZ
from models.attributes import CChart, NpChart, PChart, UChart
from models.capability import Capability
from models.covariance import known_covariance
from models.cusum import Cusum
from models.ddm import Ddm
from models.detector import Detector
from models.drift import LearnedCusum
from models.esd import SlidingEsd
from models.ewma import Ewma
from models.half_space_trees import HalfSpaceTrees
from models.hddm import HddmA, HddmW
from models.individuals import IndividualsChart
from models.isolation_forest import IsolationForestChart, fit_isolation_forest
from models.ks import KsDrift, Kswin, sample_reference
from models.mewma import Mewma
from models.mmd import MmdDrift, mmd_reference
from models.multivariate import HotellingT2
from models.novelty import Novelty
from models.page_hinkley import PageHinkley
from models.pca import PcaChart, fit_pca
from models.psi import PsiDrift, bin_reference
from models.residual import ResidualChart
from models.short_run import ShortRunChart
from models.univariate import UnivariateSet
from models.xbar import XbarChart

VECTORS = known_covariance([10.0, 10.0, 10.0], [[1.25, 1.0, 1.0], [1.0, 1.25, 1.0], [1.0, 1.0, 1.25]])
_ROWS = np.random.default_rng(21).normal(10.0, 1.0, (80, 1)) + np.random.default_rng(22).normal(0.0, 0.5, (80, 5))

DETECTORS: list[Detector] = [
    # adwin
    Adwin(),
    Adwin(delta=0.1, clock=1, buckets=2, levels=3, part_rows_min=3, unit=5.0),
    # anomaly
    RobustZ(),
    RobustZ(window=7, threshold=2.0, min_rows=3, refractory=5),
    # attributes
    PChart(sample_size=50),
    PChart(10, (1, 2, 3, 5, 6), sample_size=30, dispersion=1.5, standardised=True),
    NpChart(sample_size=50),
    NpChart(phase_one_rows=5, nelson=(1, 8), any_side=True),
    CChart(),
    CChart(phase_one_rows=10, nelson=(1, 2, 3, 4, 5, 6, 8), window_ends=("limits",)),
    UChart(sample_size=2.5),
    UChart(phase_one_rows=10, nelson=(2,), dispersion=0.5, western_electric=(1, 2, 3, 4)),
    # capability
    Capability(),
    Capability(min_rows=2, within="moving_range", ppm=False, d2_digits=3),
    Capability(min_rows=5, within="range", subgroup_size=3, window_ends=("reset", "exclusion")),
    Capability(min_rows=5, within="pooled", subgroup_size=4, cpk_min=1.33),
    # cusum
    Cusum(),
    Cusum(phase_one_rows=10, restart=True),
    Cusum(side="low", restart=True, headstart=0.5, counters=True, window_ends=("exclusion",)),
    # ddm
    Ddm(),
    Ddm(rows_min=5, warning=1.5, drift=2.0),
    # drift
    LearnedCusum(),
    LearnedCusum(k=0.5, h=4.0, phase_one_rows=10, headstart=0.25, relearn=True),
    # esd
    SlidingEsd(),
    SlidingEsd(window=20, max_outliers=2, alpha=0.2, min_rows=15, refractory=3, window_ends=("reset", "limits")),
    # ewma
    Ewma(),
    Ewma(weight=0.05, phase_one_rows=10, steady=True),
    Ewma(window_ends=("limits", "reset", "exclusion")),
    # half_space_trees
    HalfSpaceTrees(window=50),
    HalfSpaceTrees(p=3, threshold=0.5, refractory=3, trees=5, depth=4, window=20, window_ends=("reset", "limits")),
    # hddm
    HddmA(),
    HddmA(drift_alpha=0.05, warning_alpha=0.2, two_sided=True),
    HddmW(),
    HddmW(drift_alpha=0.05, warning_alpha=0.2, weight=0.1, two_sided=True),
    # individuals
    IndividualsChart(),
    IndividualsChart(phase_one_rows=10, nelson=(1, 8), any_side=True, d2_digits=3),
    IndividualsChart(nelson=(), western_electric=(4, 3, 2, 1), window_ends=()),
    # isolation_forest
    IsolationForestChart(fit_isolation_forest(_ROWS[:, 0], seed=1, trees=10)),
    IsolationForestChart(fit_isolation_forest(_ROWS, seed=2, trees=10), level=0.55, refractory=3, gaps=False),
    # ks
    KsDrift(),
    KsDrift(reference_rows=20, window=10, hop=5, alpha=0.05, relearn=True),
    KsDrift(window=15, hop=3, reference=sample_reference(np.linspace(8.0, 12.0, 50))),
    Kswin(),
    Kswin(window=20, recent=6, hop=1, alpha=0.05),
    # mewma
    Mewma(VECTORS),
    Mewma(VECTORS, weight=0.3, h=9.0, steady=False, restart=True, window_ends=("exclusion",)),
    # mmd
    MmdDrift(mmd_reference(np.linspace(8.0, 12.0, 50)), window=20, hop=5),
    MmdDrift(mmd_reference(np.random.default_rng(3).normal(10.0, 1.0, (40, 3))), window=10, hop=10, alpha=0.05),
    # multivariate
    HotellingT2(VECTORS),
    HotellingT2(VECTORS, subgroup_size=3, alpha=0.05, window_ends=("limits", "exclusion")),
    # novelty
    Novelty(),
    Novelty(threshold=1.0, weight=0.3, refractory=2, min_rows=10, memory=8, tail=5),
    # page_hinkley
    PageHinkley(),
    PageHinkley(delta=0.25, threshold=8.0, phase_one_rows=10, fading=0.99),
    # pca
    PcaChart(fit_pca(_ROWS, components=2)),
    PcaChart(fit_pca(_ROWS[:30], components=1, limits="held_out"), alpha=0.05, observed_min=0.7),
    # psi
    PsiDrift(),
    PsiDrift(bins=4, reference_rows=20, window=10, hop=5, alpha=0.05, relearn=True),
    PsiDrift(window=4, hop=3, reference=bin_reference(np.linspace(8.0, 12.0, 9), np.full(10, 0.1), rows=300)),
    # residual
    ResidualChart(),
    ResidualChart(Cusum(restart=True, headstart=0.5), phi=0.5, phase_one_rows=20),
    # short_run
    ShortRunChart(),
    ShortRunChart(XbarChart(3, phase_one_subgroups=4), scale="tolerance", centre="learned"),
    ShortRunChart(Ewma(), scale="part", parts=((10.0, 1.0), (12.0, 0.5))),
    # univariate
    UnivariateSet(),
    UnivariateSet(phase_one_rows=10, nelson=(1, 2, 5, 6), weight=0.1, h=4.0, min_rows=2, window_ends=("limits",)),
    # xbar
    XbarChart(),
    XbarChart(subgroup_size=3, phase_one_subgroups=4, window_ends=("reset",)),
    XbarChart(spread="S"),
    XbarChart(subgroup_size=4, phase_one_subgroups=3, spread="S", nelson=(), western_electric=(1, 2, 3, 4)),
]
