"""What a shadow costs the line beside it: live p95 with a deployed detector in shadow and without, in turn on one line.

    .venv/bin/python -m tests.bench.shadow --rate 4000 --rounds 5

Latency is from the producer's clock to a read_committed reader of the live line's alerts; the median of the rounds' ratios
counts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from actors import supervisor
from actors.packages.examine import examine
from actors.packages.store import PackageStore
from cluster.config import load
from cluster.deployments.crew import Crew
from cluster.deployments.record import NOTHING, Deployment
from cluster.deployments.satellite import satellite_name
from cluster.local import LocalStack
from tests.bench.figures import Figure
from tests.bench.stream.feeding import Feeding
from tests.bench.stream.latency import SAMPLES_MIN, watch
from tests.bench.stream.systems import SYSTEMS, System
from tests.cluster.deployments.guests import stored
from tests.real_ray import real_ray

WORSE_MAX = 1.10  # times the p95 without
WARM_S = 15.0
SETTLE_S = 5.0  # after a shadow has started or stopped
PARTITIONS = 4


def shadow(system: System, crew: Crew, folder: Path) -> Deployment:
    """Return a deployment of a packaged detector, examined, with its topics."""
    url, digest = stored(folder)
    found = examine(PackageStore(url), digest)
    assert found.packaged is not None, found.failure
    crew.make_topics("shadow", resumed=False)
    blank = Deployment(
        "shadow", system.line.name, url, digest, found.target, {}, {}, ("*",), "shadow", "bench", 0, 0,
        description=found.packaged.to_json(),
    )  # fmt: skip
    ends = {partition: end for partition, (_, end) in crew.bounds().items()}
    return blank.began(ends, ends, 0)


def p95(system: System, window_s: float) -> float:
    """Return the p95 of a window in ms."""
    found = watch(system, window_s)
    if len(found) < SAMPLES_MIN:
        raise RuntimeError(f"{len(found)} alerts only: measure for longer, or at a higher rate")
    return float(np.percentile(found, 95))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Live p95 with and without a shadow beside it.")
    parser.add_argument("--rate", type=int, default=4_000, help="records per second")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window", type=float, default=15.0, help="seconds")
    parser.add_argument("--series", type=int, default=200)
    parser.add_argument("--run", choices=["owner", "actors"], default="owner", help="hosting of the live line")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, real_ray():
        folder = Path(place)
        with LocalStack(folder / "stack", cache=load().local.cache) as stack:
            system = SYSTEMS[asked.run](stack.endpoints, folder / "of-it", PARTITIONS)
            system.commit_s = 0.05
            with system.running(), Feeding(system, asked.series, rate=asked.rate):
                crew = Crew(system.line.cluster, system.line.name)
                record = shadow(system, crew, folder / "store")
                time.sleep(WARM_S)
                ratios = []
                for number in range(asked.rounds):
                    without = p95(system, asked.window)
                    crew.start(record, NOTHING)
                    supervisor.wait_live(satellite_name("shadow"))
                    time.sleep(SETTLE_S)
                    beside = p95(system, asked.window)
                    supervisor.stop_pipeline(satellite_name("shadow"))
                    time.sleep(SETTLE_S)
                    ratios.append(beside / without)
                    sys.stderr.write(f"{number}: without {without:.1f} ms, with {beside:.1f} ms\n")
                crew.close()
    figure = Figure("live p95 with a shadow / without", statistics.median(ratios), WORSE_MAX, at_most=True)
    sys.stdout.write(f"{figure}\n")


if __name__ == "__main__":
    main()
