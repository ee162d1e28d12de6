"""Records per second through a topic that was written before: what it takes to go through history again.

    .venv/bin/python -m tests.bench.stream.drain --records 10000000

The topic is filled, then the pipeline starts at its beginning. Measured from its first commit to its last.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from cluster.local import Endpoints
from schemas.encode import Encoder
from tests.bench.stream.batches import Appender
from tests.bench.stream.data import Draws, batches
from tests.bench.stream.progress import progress
from tests.bench.stream.rounds import Result, arguments, in_rounds
from tests.bench.stream.systems import Ours, System

RECORDS = 10_000_000
BATCH = 1_000
LOOK_S = 0.05
IDLE_S = 120.0


def fill(system: System, series: int, records: int) -> int:
    """Write at least so many records; return how many."""
    turns = batches(Encoder("measurement", system.line.encoder.schema_id), series, system.partitions, BATCH)
    draws, written = Draws(), 0
    with Appender(system.endpoints.bootstrap_servers, system.line.input) as appender:
        while written < records:
            for turn in turns:
                for batch in turn:
                    batch.stamp(draws.take(batch.count))
                appender.append(dict(enumerate(turn)))
                written += sum(batch.count for batch in turn)
    return written


def measure(system: System, series: int, records: int) -> Result:
    """Return how fast it goes through them."""
    written = fill(system, series, records)
    asked = {
        "bootstrap": system.endpoints.bootstrap_servers,
        "topic": system.line.input,
        "group": system.group,
        "partitions": system.partitions,
    }
    consumed = progress(asked)
    with system.running():
        began = time.monotonic()
        first = at = (0, began)
        while at[0] < written:
            time.sleep(LOOK_S)
            at = (consumed(), time.monotonic())
            if not first[0]:
                first = at
            if not at[0] and at[1] - began > IDLE_S:
                raise RuntimeError(f"{system.name} consumes nothing")
    return {"records": written, "events_per_s": (at[0] - first[0]) / (at[1] - first[1]), "seconds": at[1] - began}


def main() -> None:
    """Measure and print."""
    parser = arguments("Records per second through a topic that was written before.", 0.0, ["owner"])
    parser.set_defaults(rounds=1)
    parser.add_argument("--records", type=int, default=RECORDS)
    asked = parser.parse_args()

    def run(endpoints: Endpoints, folder: Path) -> Result:
        return measure(Ours(endpoints, folder, asked.partitions), asked.series, asked.records)

    for result in in_rounds({"owner": run}, asked.rounds, asked.out)["owner"]:
        sys.stdout.write(f"{result['records']:,} records, {result['events_per_s']:,.0f} /s\n")


if __name__ == "__main__":
    main()
