"""What a record costs as the work grows: more series, more rules, more partitions, more slots.

    .venv/bin/python -m tests.bench.stream.growth

Each is compared with the first of its kind: by the processor time that the pipeline's processes take for a record, and slots by
the records per second while the lag is flat.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from cluster.local import Endpoints
from models.detector import Detector
from models.individuals import IndividualsChart
from models.univariate import UnivariateSet
from tests.bench.figures import Figure
from tests.bench.stream.data import PHASE_ONE_ROWS
from tests.bench.stream.rounds import Result, Results, Run, arguments, in_rounds, medians
from tests.bench.stream.sustained import measure
from tests.bench.stream.systems import Ours

SERIES, PARTITIONS = 1_000, 4
COSTLIER_MAX = 1.5
FLAT = 1.15  # what counts as flat, on a machine that is never quiet
SLOWER_MAX = 1.0
WARM_ROWS = PHASE_ONE_ROWS + 5  # of each series before anything is measured: all of them have their limits then


class Work(NamedTuple):
    """What a pipeline has to do."""

    series: int = SERIES
    partitions: int = PARTITIONS
    slots: int = 1
    detector: Detector = UnivariateSet(phase_one_rows=PHASE_ONE_ROWS)


def _rules(nelson: tuple[int, ...], western_electric: tuple[int, ...] = ()) -> Work:
    chart = IndividualsChart(phase_one_rows=PHASE_ONE_ROWS, nelson=nelson, western_electric=western_electric)
    return Work(detector=chart)


KINDS: dict[str, dict[str, Work]] = {
    "series": {f"series-{n}": Work(series=n) for n in (1_000, 10_000, 100_000, 1_000_000)},
    "rules": {"rules-1": _rules((1,)), "rules-12": _rules((1, 2, 3, 4, 5, 6, 7, 8), (1, 2, 3, 4))},
    "partitions": {f"partitions-{n}": Work(partitions=n) for n in (1, 4, 16, 64)},
    "slots": {f"slots-{n}": Work(slots=n) for n in (1, 2, 4)},
}
WORK = {name: work for kind in KINDS.values() for name, work in kind.items()}


def run_of(work: Work, window_s: float) -> Run:
    """Return a run that measures it."""

    def run(endpoints: Endpoints, folder: Path) -> Result:
        system = Ours(endpoints, folder, work.partitions, (work.detector,), work.slots)
        return measure(system, work.series, window_s, warm_records=WARM_ROWS * work.series)

    return run


def figures(found: Results) -> list[Figure]:
    """Return each beside the first of its kind, and what a series takes of memory."""
    costs, rates, mib = (medians(found, what) for what in ("us_per_event", "events_per_s", "mib_last"))
    made = []
    for kind, works in KINDS.items():
        first, *others = [name for name in works if name in found]
        for name in others:
            if kind == "slots":
                made.append(Figure(f"records per second, {name} / {first}", rates[name] / rates[first], SLOWER_MAX))
            else:
                goal = FLAT if kind == "partitions" else COSTLIER_MAX
                made.append(
                    Figure(f"cost of a record, {name} / {first}", costs[name] / costs[first], goal, at_most=True)
                )
    few, many = "series-1000", "series-1000000"
    if few in found and many in found:
        made.append(Figure("memory of a million series", mib[many] - mib[few], unit="MiB"))
    return made


def main() -> None:
    """Measure and print."""
    asked = arguments("What a record costs as the work grows.", 15.0, list(WORK)).parse_args()
    names = asked.run or list(WORK)
    found = in_rounds({name: run_of(WORK[name], asked.window) for name in names}, asked.rounds, asked.out)
    costs, rates = medians(found, "us_per_event"), medians(found, "events_per_s")
    for name in found:
        sys.stdout.write(f"{name:<18}{costs[name]:>8.2f} us an event {rates[name]:>10,.0f} /s\n")
    for figure in figures(found):
        sys.stdout.write(f"{figure}\n")


if __name__ == "__main__":
    main()
