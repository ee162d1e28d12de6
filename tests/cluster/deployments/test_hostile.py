"""Hostile detectors: each contained, reported with its traceback, gone within 10 s; the charts beside it are not touched."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest

from actors import supervisor
from actors.supervision import places
from cluster.deployments.comparing import compared
from cluster.deployments.record import Phase
from cluster.deployments.satellite import satellite_name
from cluster.local import Endpoints
from cluster.operations.errors import Conflict
from tests.cluster.deployments.deployed_line import ENDED, Deployed, deployed
from tests.cluster.deployments.test_deploying import oracle, rows_of
from tests.integration.line import wait_for

pytestmark = pytest.mark.quiet  # gone in time is promised

GONE_S = 10.0
AT_RUN_TIME = {
    "raises": ("it raised on partition", "the thousandth row is not for me"),
    "loops": ("no answer within 3 s", ""),
    "leaks": ("it raised on partition", "MemoryError"),
}


@pytest.fixture(scope="module")
def beside(stack: Endpoints, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with deployed(stack, tmp_path_factory.mktemp("store")) as found:
        yield found


def is_gone(name: str) -> bool:
    """Say whether nothing of a deployment runs any more."""
    pipeline = satellite_name(name)
    return (
        pipeline not in supervisor.running()
        and not places.named(f"detector:{pipeline}:")
        and not places.members(pipeline)
    )


def test_what_fails_at_run_time_is_switched_off(beside: Deployed) -> None:
    line = beside.line
    line.write_noise(3_200)  # three series: each has more than 1,000 rows that are not missing
    limits = {"memory_bytes": 256 * 1024 * 1024}
    begun = [beside.begin(beside.plan_deploy(kind, kind, limits=limits)) for kind in AT_RUN_TIME]
    assert [beside.end(operation)["state"] for operation in begun] == ["done"] * len(AT_RUN_TIME)
    for partition in range(line.partitions):
        line.write(partition, [line.measurement("s0", 666.0, 90_000 + partition)])
    since, took = time.monotonic(), {}
    while len(took) < len(AT_RUN_TIME):
        records = beside.records()
        for kind in AT_RUN_TIME:
            if kind not in took and records[kind].phase is Phase.off and is_gone(kind):
                took[kind] = time.monotonic() - since
        assert time.monotonic() - since < 60.0, (took, [r.told() for r in records.values()])
        time.sleep(0.05)
    sys.stderr.write(f"\noff and gone after {took}\n")
    line.write_noise(200, 9)
    line.wait_done()
    for kind, (reason, traceback) in AT_RUN_TIME.items():
        record = beside.records()[kind]
        assert reason in record.reason, record.told()
        assert traceback in record.traceback
        assert record.history[-1].ended is not None  # where it was
    assert "in meet" in beside.records()["raises"].traceback
    for partition, blocks in beside.blocks(line.topics.charts, line.name).items():
        for label in blocks[0].detectors:
            assert rows_of(blocks, label) == oracle(line, partition, dict(line.families), label)
    assert supervisor.status(line.name)["owners"][0]["reopened"] == 0
    assert max(took.values()) < GONE_S, took


@pytest.mark.parametrize(("kind", "reason"), [("absent", "nowhere-to-be-found"), ("shadows", "models")])
def test_what_cannot_be_loaded_never_runs(beside: Deployed, kind: str, reason: str) -> None:
    since = time.monotonic()
    operation = beside.begin(beside.plan_deploy(kind, kind))
    wait_for(lambda: beside.ask("get", operation["id"])["state"] in ENDED, "it is refused")
    ended, record = beside.ask("get", operation["id"]), beside.records()[kind]
    sys.stderr.write(f"\n{kind}: refused after {time.monotonic() - since:.1f} s: {ended['error']}\n")
    assert ended["state"] == "failed"
    assert reason in ended["error"]
    assert (record.phase, reason in record.reason) == (Phase.off, True)
    assert is_gone(kind)
    line = beside.line
    with pytest.raises(Conflict, match="have no offsets in common"):
        compared(line.cluster, line.name, kind, "spc.individuals", beside.records(), {})
    beside.remove(kind)
    assert time.monotonic() - since < 2 * GONE_S
