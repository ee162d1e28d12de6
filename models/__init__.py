"""What judges: detectors, as pure functions of state columns and a batch.

A data scientist needs five names: `Detector`, `SeriesBatch` and `Verdicts` to write one, `judge` to try it on an array,
`check_detector` to know that the engine will take it. `examples/my_detector.py` is a whole one.
"""

from models.checks import check_detector
from models.detector import Detector, SeriesBatch, Verdicts
from models.judging import judge

__all__ = ["Detector", "SeriesBatch", "Verdicts", "check_detector", "judge"]
