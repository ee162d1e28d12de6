"""The five fastest faults of the matrix (`make faults` has all of them), one after the other on one line under load.

After each of them all that has come out so far is compared with the oracle; the next fault meets what the last one left behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from cluster.local.stack import Endpoints
from tests.faults import steering
from tests.faults.case import Scene
from tests.faults.cases import processes
from tests.faults.killer import KillAt
from tests.faults.line import FaultLine
from tests.faults.producer import VerifiableProducer
from tests.faults.recovery import Tail
from tests.faults.run import Options, check
from tests.faults.stream import Trouble, make, poisoned

RECORDS = 300  # of each test
RATE = 300.0  # records/s
WAIT_S = 120.0  # a busy machine starts the processes of an owner slowly
STOPPED_S = 2.0


@pytest.fixture(scope="module")
def scene(stack: Endpoints, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A live pipeline, and a producer that has more records than all tests send."""
    settings = {
        "hosting": "actor",
        "standby": False,
        "snapshot_interval_ms": 400,
    }  # with one: tests/integration/test_ray.py
    line = FaultLine(stack, partitions=2, replication=1, families=("spc", "drift"), settings=settings)
    pipeline = line.pipeline(KillAt(str(tmp_path_factory.mktemp("killer")), "before commit"))
    messages = make(
        line.encoders, 10 * RECORDS, line.partitions, 1, Trouble(poison=0.01, duplicates=0.01, reordered=0.05)
    )
    producer = VerifiableProducer(stack.bootstrap_servers, line.input, messages, RATE)
    producer.limit = 0
    steering.start(pipeline)
    tail = Tail(stack.bootstrap_servers, line.topics.charts, "spc")
    producer.start()
    yield Scene(None, None, line, pipeline, producer, tail, Options())
    producer.stop()
    tail.close()
    steering.stop(line.name)


def under_load(scene: Scene, fault: Callable[[Scene], None]) -> None:
    """Cause the fault while records are sent, wait until all are judged, compare all that has come out with the oracle."""
    producer = scene.producer
    first, producer.limit = producer.done, producer.done + RECORDS
    producer.wait_sent(first + RECORDS // 3)
    fault(scene)
    producer.wait_sent(producer.limit)
    producer.wait_acknowledged(WAIT_S)
    assert scene.tail.wait_until(scene.waits_for, WAIT_S), steering.owners(scene.line.name)
    counts = check(scene)
    assert counts.clean, counts.examples
    assert counts.records == producer.done >= RECORDS
    assert counts.dead_lettered == poisoned(producer.sent.messages[: producer.done]) > 0


def owner_pid(scene: Scene) -> int:
    return steering.pids(scene.line.name)[0]


def test_kill_9_of_a_detector_actor(scene: Scene) -> None:
    before, pids = owner_pid(scene), steering.detector_pids(scene.line.name)
    under_load(scene, processes.detector)
    assert owner_pid(scene) == before
    assert steering.detector_pids(scene.line.name)["spc"] != pids["spc"]


def test_kill_9_of_the_owner(scene: Scene) -> None:
    before = owner_pid(scene)
    under_load(scene, processes.owner)
    assert owner_pid(scene) != before


def test_kill_9_before_the_commit(scene: Scene) -> None:
    before = owner_pid(scene)
    under_load(scene, processes.step_of_the_transaction)
    assert owner_pid(scene) != before


def test_kill_9_of_the_supervisor(scene: Scene) -> None:
    before, pid = owner_pid(scene), steering.supervisor_pid(scene.line.name)
    under_load(scene, processes.supervisor)
    assert steering.supervisor_pid(scene.line.name) != pid
    assert owner_pid(scene) == before  # processing has gone on


def test_an_owner_that_stood_still_goes_on(scene: Scene) -> None:
    def stopped(scene: Scene) -> None:
        with processes.stopped(owner_pid(scene)):
            time.sleep(STOPPED_S)

    under_load(scene, stopped)
