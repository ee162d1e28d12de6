"""A detector's way on the real broker and real Ray: shadow, promoted, rolled back, removed; record by record, under load."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import ray

from actors import supervisor
from actors.engine.judge import Assignment
from actors.names import NAMESPACE
from cluster.deployments.crew import stop_all
from cluster.deployments.record import Deployment, Phase
from cluster.local import Endpoints
from cluster.operations import actor as operations
from models.detector import Detector
from schemas.charts import ChartBlock
from tests.background import again_and_again
from tests.cluster.deployments.deployed_line import Deployed, deployed
from tests.cluster.deployments.guests import detector
from tests.faults.oracle import Oracle
from tests.faults.reading import Entry
from tests.integration.line import TestLine, wait_for

pytestmark = pytest.mark.quiet  # several pipelines at once: beside other tests they do little but wait

Rows = dict[tuple[int, int], tuple[Any, ...]]  # (partition, offset) → all that was said of the row, bit for bit


@pytest.fixture(scope="module")
def beside(stack: Endpoints, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with deployed(stack, tmp_path_factory.mktemp("store")) as found:
        yield found


def load(line: TestLine) -> AbstractContextManager[None]:
    """Measurements that keep coming: 20 on each partition every 50 ms or so."""
    seeds = itertools.count(100)
    return again_and_again(lambda: line.write_noise(20, next(seeds)), 0.05)


def rows_of(blocks: list[ChartBlock], label: str) -> dict[int, tuple[Any, ...]]:
    """Every row that a detector was asked about, by offset; each once."""
    found: dict[int, tuple[Any, ...]] = {}
    for block in blocks:
        if label in block.detectors:
            said = block.detectors[label]
            numbers = (block.value, said.statistic, said.centre, said.lcl, said.ucl, said.signal, said.valid)
            for i, offset in enumerate(block.offset.tolist()):
                assert offset not in found, f"offset {offset} stands twice"
                found[offset] = (block.series_keys[block.series[i]], *(np.asarray(n[i]).tobytes() for n in numbers))
    return found


def oracle(line: TestLine, partition: int, families: dict[str, Any], label: str) -> dict[int, tuple[Any, ...]]:
    """What a plain fold of all that was written says."""
    fold = Oracle(replace(line.pipeline(), families=families), partition, line.registry.schema)
    entries = [Entry(i, 0, b"key", value) for i, value in enumerate(line.written[partition])]
    return rows_of(fold.fold(entries).blocks, label)


def told(detector: Detector, label: str) -> dict[str, Any]:
    return {"x": (Assignment(detector, label=label),)}


def live_by(records: dict[str, Deployment], partition: int, offset: int, series: str) -> list[str]:
    """Who says that it judged a row live."""
    return [
        record.name
        for record in records.values()
        for spell in record.history
        if spell.share.has(series)
        and spell.began[partition] <= offset
        and (spell.ended is None or offset < spell.ended[partition])
    ]


def check_live(
    beside: Deployed, judged_by: dict[str, Detector], label: str, removed: Mapping[str, Deployment] = {}
) -> dict[str, int]:
    """Compare every live row with the fold of the version that was to judge it; return rows by version."""
    line, records, counts = beside.line, {**removed, **beside.records()}, dict.fromkeys(judged_by, 0)
    blocks = beside.blocks(line.topics.charts)
    for partition in range(line.partitions):
        said = rows_of(blocks[partition], label)
        expected = {name: oracle(line, partition, told(d, label), label) for name, d in judged_by.items()}
        first = min(spell.began[partition] for r in records.values() for spell in r.history if spell.share.high)
        for offset, row in next(iter(expected.values())).items():
            by = live_by(records, partition, offset, row[0])
            if offset < first:
                assert (by, offset in said) == ([], False)
                continue
            assert len(by) == 1, (partition, offset, by)
            assert said[offset] == expected[by[0]][offset], (partition, offset, by)
            counts[by[0]] += 1
        assert said.keys() <= next(iter(expected.values())).keys()
    return counts


def test_a_detector_is_promoted_rolled_back_and_removed_under_load(beside: Deployed) -> None:
    line = beside.line
    line.write_noise(800)
    with load(line):
        v1 = beside.deploy("tail", mode="live", parameters={"limit": 11.0})
        assert v1.phase is Phase.live
        assert v1.history[1].began == v1.warm  # from exactly there, as it was logged
        v2 = beside.deploy("tail-2", parameters={"limit": 11.5}, replaces="tail")
        assert (v2.phase, v2.label) == (Phase.shadow, "tail")
        live, shadow = (supervisor.pipeline_of(f"detector-{name}") for name in ("tail", "tail-2"))
        assert [(each.idle, each.log.log.keywords) for each in (live, shadow)] == [
            (False, {"lumps": False}),
            (True, {"lumps": True}),
        ]
        v2 = beside.promote("tail-2")
        old = beside.records()["tail"]
        assert (v2.phase, old.phase) == (Phase.live, Phase.stopped)
        began = v2.history[-1].began
        assert began == old.history[-1].ended  # one offset of each partition
        wait_for(
            lambda: all((done or 0) > began[p] + 100 for p, done in beside.judged("tail-2").items()), "it judges live"
        )
        v2 = beside.rollback("tail-2")
        assert (v2.phase, beside.records()["tail"].phase) == (Phase.stopped, Phase.live)
        beside.remove("tail-2")
        assert set(beside.records()) == {"tail"}
        assert not [t for t in line.admin.list_topics(timeout=20).topics if t.startswith("tail-2.")]
        at_removal = len(line.written[0])
        wait_for(lambda: len(line.written[0]) > at_removal + 200, "the line goes on")
    wait_for(lambda: beside.reached("tail"), "all is judged")
    line.wait_done()
    judged_by = {"tail": detector(limit=11.0), "tail-2": detector(limit=11.5)}
    sys.stderr.write("\n".join(["", *beside.took, ""]))
    counts = check_live(beside, judged_by, "tail", {"tail-2": v2})
    assert min(counts.values()) > 100, counts
    for partition, blocks in beside.blocks(line.topics.charts, line.name).items():  # the charts beside, bit for bit
        families = dict(line.families)
        for label in ("spc.individuals",):
            assert rows_of(blocks, label) == oracle(line, partition, families, label)


def test_deployments_come_back(beside: Deployed) -> None:
    """Their operations actor is killed, and then everything of Ray that runs them: they go on where they were."""
    line = beside.line
    os.kill(ray.get(ray.get_actor(operations.operations_name(line.name), NAMESPACE).pid.remote()), signal.SIGKILL)
    wait_for(lambda: _answers(beside), "its operations are back")
    operations.stop(line.name)
    stop_all()
    line.write_noise(300, 7)
    assert not beside.reached("tail")
    wait_for(lambda: bool(beside.records()), "its operations are back")
    wait_for(lambda: beside.reached("tail"), "it judges again")


def _answers(beside: Deployed) -> bool:
    try:
        return "tail" in beside.records()
    except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError):
        return False
