"""One repetition of one case, from new topics to the verdict; and the clusters that the cases share.

Theory of operation
-------------------
    topics ─▶ pipeline live ─▶ tail, producer ─▶ a quarter sent: the fault ─▶ all sent ─▶ all judged ─▶ pipeline stopped ─▶ checks

The Kafka cluster of a kind ("plain", "proxied", "small disk") and the Ray nodes live on from case to case; what a case killed is
started again before the next one. A case that does not pass leaves a folder: what was found, the pipeline's last words, the logs.
"""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cluster.config import load
from cluster.local.stack import LocalStack
from tests.faults import stages, steering
from tests.faults.case import Case, Kind, MissedError, NotHereError, Scene
from tests.faults.checker import Counts, Outputs, check_partition
from tests.faults.line import FaultLine
from tests.faults.oracle import Oracle
from tests.faults.producer import VerifiableProducer
from tests.faults.ray_nodes import RayNodes
from tests.faults.recovery import Tail, gap
from tests.faults.stream import make

ENDLESS_RATE = 20_000  # records/s for which there are enough in a stream that its case ends; some 50 bytes each
ENDLESS_MORE = 500_000  # beside that, for its beginning and for a burst
LOG_BYTES_MAX = 2 * 1024 * 1024  # of each log that is kept: its end
IN_SYNC_TIMEOUT_S = 90.0


@dataclass
class Options:
    """Of the command line."""

    records: int = 100_000
    repeat: int = 5
    minutes: float = 20.0  # of the soak
    out: Path = Path("faults")


@dataclass
class Outcome:
    """What one repetition came to."""

    case: str
    repetition: int
    state: str = "failed"  # "passed", "failed", "not run"
    why: str = ""
    counts: dict[str, Any] = field(default_factory=dict)
    recoveries: list[float] = field(default_factory=list)  # s
    longest_gap_s: float = 0.0  # from the fault on; 0: it was not measured
    seconds: float = 0.0  # of the whole repetition
    facts: dict[str, Any] = field(default_factory=dict)


class Clusters:
    """The Kafka cluster and the Ray nodes that the cases share. A context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._exit = ExitStack()
        self._kafka = ExitStack()
        self._kind: Kind | None = None
        self.stage: stages.Stage | None = None
        self.nodes: RayNodes | None = None

    def __enter__(self) -> Clusters:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self._kafka.close()
        self._exit.close()

    def ready(self, kind: Kind) -> tuple[stages.Stage, RayNodes]:
        """Return a whole Kafka cluster of this kind, and all Ray nodes."""
        if self._kind != kind or self.stage is None:
            self._kafka.close()
            self._kind, self.stage = None, None
            self.stage = self._kafka.enter_context(stages.start(kind, self._folder, load().local.cache))
            self._kind = kind
        self.stage.mend()
        if self.nodes is None:
            self.nodes = self._exit.enter_context(RayNodes())
        self.nodes.fill_up()
        return self.stage, self.nodes

    def keep_logs(self, folder: Path) -> None:
        """Copy the ends of the brokers' and Ray's logs."""
        sources = [self.nodes.logs] if self.nodes else []
        if self.stage is not None:
            sources.append(self.stage.stack.directory / "logs")
        for source in sources:
            for log in source.glob("*"):
                if log.is_file() and log.stat().st_size:
                    with log.open("rb") as there:
                        there.seek(max(0, log.stat().st_size - LOG_BYTES_MAX))
                        (folder / log.name).write_bytes(there.read())


def run_case(case: Case, repetition: int, clusters: Clusters, options: Options, say: Callable[[str], None]) -> Outcome:
    """Run one repetition; nothing is raised but what stops the whole matrix."""
    outcome = Outcome(case.name, repetition)
    began = time.monotonic()
    folder = options.out / f"{case.name}-{repetition}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        if reason := case.needs():
            raise NotHereError(reason)
        _repetition(case, outcome, clusters, options, folder, say)
    except NotHereError as reason:
        outcome.state, outcome.why = "not run", str(reason)
    except Exception as error:  # noqa: BLE001 - told in the table, with its traceback in the folder; the next case goes on
        outcome.why = f"{type(error).__name__}: {error}"[:2_000]
        (folder / "traceback.txt").write_text(traceback.format_exc())
    outcome.seconds = time.monotonic() - began
    (folder / "outcome.json").write_text(json.dumps(asdict(outcome), indent=1, default=str))
    if outcome.state == "failed":
        clusters.keep_logs(folder)
    else:
        shutil.rmtree(folder)
    return outcome


def _repetition(
    case: Case, outcome: Outcome, clusters: Clusters, options: Options, folder: Path, say: Callable[[str], None]
) -> None:
    stage, nodes = clusters.ready(case.kind)
    line = FaultLine(stage.stack.endpoints, settings=dict(case.settings))
    messages = make(line.encoders, options.records, line.partitions, outcome.repetition, case.trouble)
    rate = len(messages) / case.seconds
    if case.endless:
        wanted = int(options.minutes * 60 * ENDLESS_RATE) + ENDLESS_MORE
        messages = messages * (wanted // len(messages) + 1)
    pipeline = line.pipeline(case.log(folder) if case.log else None)
    producer = VerifiableProducer(line.endpoints.bootstrap_servers, line.input, messages, rate)
    tail = Tail(line.endpoints.bootstrap_servers, line.topics.charts, next(iter(pipeline.families)))
    scene = Scene(
        stage.stack, nodes, line, pipeline, producer, tail, options, stage.proxy, stage.disk, outcome.repetition
    )
    outcome.facts = scene.facts  # the same: also what is found last, and what was found before something was missed
    try:
        steering.start(pipeline)
        say("live")
        producer.start()
        producer.wait_sent(int(options.records * case.fault_at))
        began = time.monotonic()
        say("fault")
        case.run(scene)
        say("fault is over")
        sent = producer.finish(case.drain_s + case.seconds)
        drained = tail.wait_until(scene.waits_for, case.drain_s)
        scene.facts |= {
            "owners": _owners(line.name),
            "supervisor": steering.deal(line.name),
            "unacknowledged": dict(sent.errors),
        }
        outcome.recoveries = scene.measured(sent)
        outcome.longest_gap_s = max(gap(receipts, began) for receipts in tail.receipts.values())
        torn = steering.quarantined(line.name)
        if torn and case.may_quarantine:
            scene.facts |= {"torn": torn, "repair": steering.repair(line.pipeline())}
            drained = tail.wait_until(scene.waits_for, case.drain_s)
        if not drained:
            raise MissedError(f"after {case.drain_s:.0f} s judged {tail.total()} of {scene.waits_for}")
        steering.stop(line.name)
        say("checks")
        counts = check(scene)
        outcome.counts = asdict(counts)
        _judge(case, scene, counts, outcome)
    finally:
        producer.stop()
        tail.close()
        steering.stop(line.name)
        _mend(stage.stack, nodes, line)


def _owners(name: str) -> list[dict[str, Any]]:
    return [
        {
            key: said[key]
            for key in ("slot", "state", "reopened", "last_error", "replayed", "quarantined")
            if key in said
        }
        for said in steering.owners(name)
    ]


def check(scene: Scene) -> Counts:
    """Compare all that was put out with the oracle, and the log with what was sent: one partition after the other."""
    line, topics, counts = scene.line, scene.line.topics, Counts()
    for partition in range(line.partitions):
        oracle = Oracle(scene.pipeline, partition, line.registry.schema)
        events = [line.events(topic, partition) for topic in (topics.alerts, topics.dead_letters, topics.late)]
        outputs = Outputs(line.blocks(partition), *events)
        check_partition(counts, scene.producer.sent, line.log(partition), oracle, outputs)
    return counts


def _judge(case: Case, scene: Scene, counts: Counts, outcome: Outcome) -> None:
    """Set the outcome's state. Raises MissedError."""
    if not counts.clean:
        raise MissedError("; ".join(counts.examples) or "the sum is wrong")
    if scene.producer.sent.errors:
        raise MissedError(f"the producer gave records up: {dict(scene.producer.sent.errors)}")
    if case.after is not None:
        case.after(scene, counts)
    outcome.state = "passed"


def _mend(stack: LocalStack, nodes: RayNodes, line: FaultLine) -> None:
    """Leave both clusters whole for the next case."""
    nodes.fill_up()
    line.delete()
    steering.wait(line.in_sync, "all replicas in sync", IN_SYNC_TIMEOUT_S)
    stack.check()
