"""The verdict on a seed: what came out is what the oracle says, but for what a torn transaction explains and somebody has told.

Theory of operation
-------------------
A partition may differ, or stand in quarantine, only if a torn transaction of this run holds something of it: its state, its
verdicts, its input offset, an alert or a letter of it. That a transaction of the same slot was torn before it reached the
partition's first record excuses nothing. And it must have been told: by the quarantine, or, where the owner went on because
only alerts and letters could be seen, by the checker of the outputs. Then there may be too much, and nothing may be missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from actors.engine.arrivals import Arrivals
from actors.engine.outputs import Kind
from actors.outputs_check import check_outputs
from actors.pipeline import Pipeline
from actors.surroundings import Surroundings
from tests.simulation import line
from tests.simulation.broker import Broker, Transaction
from tests.simulation.model import ModelLog, VirtualClock
from tests.simulation.oracle import differences, found, told

# What tells of a torn step that was taken again because only such records of it could be seen. In another cut a detector that
# failed in one of the two need not fail in the other.
TAKEN_AGAIN = frozenset({Kind.ALERT_TWICE, Kind.LETTER_TWICE, Kind.ASIDE_TWICE, Kind.ALERT_OFF, Kind.ERROR_UNKNOWN})
BY_PARTITION = frozenset({line.TOPICS.state, line.TOPICS.charts, line.TOPICS.dead_letters, line.TOPICS.late})


def judge(
    broker: Broker, pipeline: Pipeline, arrivals: Arrivals, quarantined: Mapping[int, str], met: Counter[str]
) -> list[str]:
    """Return what is wrong with what came of a seed; count in `met` what was told."""
    torn, came = torn_partitions(broker), found(broker, len(pipeline.partitions))
    met += told(came)
    different = differences(broker, pipeline.name, arrivals, came)
    checked = taken_again(broker, pipeline) if different else set()
    wrong = [without_reason(p, why) for p, why in quarantined.items() if p not in torn]
    for partition, what in different.items():
        if partition in torn and partition in quarantined:
            met["told: by quarantine"] += 1
        elif partition in torn and partition in checked and all(each.only_more for each in what):
            met["told: by the checker"] += 1
        else:
            wrong += [f"partition {partition}: {each.text}" for each in what]
    return wrong


def without_reason(partition: int, why: str) -> str:
    """Say that nothing was torn of a partition that is in quarantine."""
    return f"partition {partition} is in quarantine for no reason: {why}"


def torn_partitions(broker: Broker) -> set[int]:
    """Return the input partitions of which a torn transaction holds something."""
    partitions = set[int]()
    transactions = {torn.transaction for torn in broker.torn}
    for transaction in transactions:
        partitions |= {partition for topic, partition in transaction.participants if topic in BY_PARTITION}
        partitions |= {partition for _, (topic, partition) in transaction.offsets if topic == line.INPUT}
    return partitions | _of_alerts(broker, transactions)


def _of_alerts(broker: Broker, transactions: set[Transaction]) -> set[int]:
    """Return the input partitions of the alerts in transactions: alerts stand where their own key says."""
    entries = (entry for log in broker.topics[line.TOPICS.alerts] for entry in log.entries if not entry.marker)
    return {line.read(entry.value or b"")["partition"] for entry in entries if entry.transaction in transactions}


def taken_again(broker: Broker, pipeline: Pipeline) -> set[int]:
    """Return the partitions of which the checker says that a step was taken again, and nothing else.

    Alerts and letters of a torn step, and nothing else of it, may be in the log: no opening slot sees that (docs/torn.md).
    """
    clock = VirtualClock()
    around = Surroundings(ModelLog(broker, clock), clock, line.codec())
    again, others = set[int](), set[int]()
    for problem in check_outputs(pipeline, around).problems:
        (again if problem.kind in TAKEN_AGAIN else others).add(problem.partition)
    return again - others
