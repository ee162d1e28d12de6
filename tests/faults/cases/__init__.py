"""The rows of the matrix."""

from __future__ import annotations

from tests.faults.case import Case
from tests.faults.cases import brokers, data, network, processes, scaling, soak

CASES: dict[str, Case] = {
    case.name: case
    for case in (*processes.CASES, *brokers.CASES, *network.CASES, *data.CASES, *scaling.CASES, *soak.CASES)
}
