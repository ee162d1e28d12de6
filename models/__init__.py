"""What judges: detectors, as pure functions of state columns and a batch.

A data scientist needs five names: `Detector`, `SeriesBatch` and `Verdicts` to write one, `judge` to try it on an array,
`check_detector` to know that the engine will take it. `examples/my_detector.py` is a whole one; docs/charts.md says which of the
built-in ones to use when.

Where things are:

- the contract: detector.py, checks.py (its conformance suite), judging.py (`judge`), artefact.py (fitted models), kernel.py
  (compiling), catalogue.py (detectors by name), builtin.py (what a pipeline runs by default);
- what charts share: phase_one.py (learning in the stream, what ends a window), run_rules.py, subgroups.py, limits.py (constants),
  refractory.py (silence after an alarm), transformed.py (a chart of something computed from the rows);
- charts of single values and subgroups: individuals.py, xbar.py, ewma.py, cusum.py, univariate.py (the first and the last two in
  one pass), residual.py, short_run.py; of counts: attributes.py;
- what people do about alerts: alert_life.py; where defects are: wafer_map.py; what a point is made of: explain.py;
- limits from history: estimators.py, phase_one_study.py, limit_versions.py, limit_proposal.py;
- capability: capability.py in the stream, capability_study.py of an array, capability_report.py; behind them
  capability_indices.py, capability_within.py (sigma), capability_intervals.py, nonnormal.py, moments.py (exact sums);
- vectors: covariance.py, multivariate.py (T²), mewma.py, pca.py, pca_fit.py, pca_score.py, contributions.py, linear.py;
- anomalies: anomaly.py (robust z), esd.py, novelty.py, half_space_trees.py, isolation_forest.py; nab.py (the benchmark's score);
- drift: drift.py (of the mean), page_hinkley.py, adwin.py, ks.py and psi.py (on reference_window.py), mmd.py, classifier_test.py;
  of outcomes: ddm.py, hddm.py;
- for people: arl.py (how long until a signal) with arl_rules.py and arl_differences.py; incidents.py (alarms and false ones of a
  recorded stretch, also with wider limits); plot.py.
"""

from models.checks import check_detector
from models.detector import Detector, SeriesBatch, Verdicts
from models.judging import judge

__all__ = ["Detector", "SeriesBatch", "Verdicts", "check_detector", "judge"]
