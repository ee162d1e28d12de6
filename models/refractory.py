"""Alarm suppression: after a signal, a detector of anomalies is silent for a number of rows.

Theory of operation
-------------------
What is odd stays odd for a while: a machine that fails gives a hundred odd rows, not one, and a person wants one alarm. So
detectors of anomalies have a parameter `refractory`: the number of judged rows of a series after a signal on which no
further signal is given. Suppression acts on `signal` alone. The statistic and its limits are shown as they are, the row is
valid, and what is learned is the same as without suppression. A suppressed signal does not prolong the silence: an anomaly
that lasts is told again every refractory + 1 rows. Rows that are not judged (missing, excluded) do not count, and a reset
of the series ends the silence.
"""

from __future__ import annotations

import numpy as np

from models.detector import Column
from models.kernel import kernel

ROWS_MAX = 1_000_000

COLUMNS = {"silent": Column("i8")}  # rows on which no signal is given yet
"""The state column of every detector with a refractory time."""


def checked(refractory: int) -> None:
    """Raise ValueError for a refractory time that is none."""
    if not 0 <= refractory <= ROWS_MAX:
        raise ValueError(f"refractory = {refractory}: a number of rows, 0 to {ROWS_MAX}")


@kernel
def admit(s: int, fired: int, refractory: int, silent: np.ndarray) -> int:
    """Return the signal of one judged row of series `s`: `fired`, or 0 in the silence after the last signal."""
    if silent[s] > 0:
        silent[s] -= 1
        return 0
    if fired != 0:
        silent[s] = refractory
    return fired
