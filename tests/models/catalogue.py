"""Every built-in detector, in configurations that differ: what the conformance suite goes through."""

from models.adwin import Adwin
from models.anomaly import RobustZ
from models.attributes import CChart, NpChart, PChart, UChart
from models.capability import Capability
from models.cusum import Cusum
from models.ddm import Ddm
from models.detector import Detector
from models.drift import LearnedCusum
from models.esd import SlidingEsd
from models.ewma import Ewma
from models.hddm import HddmA, HddmW
from models.individuals import IndividualsChart
from models.page_hinkley import PageHinkley
from models.residual import ResidualChart
from models.short_run import ShortRunChart
from models.univariate import UnivariateSet
from models.xbar import XbarChart

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
    # hddm
    HddmA(),
    HddmA(drift_alpha=0.05, warning_alpha=0.2, two_sided=True),
    HddmW(),
    HddmW(drift_alpha=0.05, warning_alpha=0.2, weight=0.1, two_sided=True),
    # individuals
    IndividualsChart(),
    IndividualsChart(phase_one_rows=10, nelson=(1, 8), any_side=True, d2_digits=3),
    IndividualsChart(nelson=(), western_electric=(4, 3, 2, 1), window_ends=()),
    # page_hinkley
    PageHinkley(),
    PageHinkley(delta=0.25, threshold=8.0, phase_one_rows=10, fading=0.99),
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
