"""Prometheus' text from facts, as plain calls."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from actors.view.board import Board
from cluster.metrics import exposition
from tests.actors.view_support import alert, block

OWNER: dict[str, Any] = {
    "slot": 0, "incarnation": 7, "state": "live", "rows": 120, "dead_lettered": 2, "reopened": 1,
    "duplicates": 3, "late": 4, "ahead": 5, "step_ms": 1.5, "commit_ms": 4.0, "replay_worst_s": 0.25, "quarantined": {1: "torn"},
}  # fmt: skip
GROUPS = [{"group": "quality", "partitions": [
    {"topic": "fab.measurements", "partition": 0, "lag": 5}, {"topic": "gone", "partition": 0, "lag": None},
]}]  # fmt: skip


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_everything_known_is_said() -> None:
    board = Board("quality")
    board.add_block(block(["a", "a"], [1.0, float("nan")], published_ms=900), 0, 0, 1_000, live=True)
    board.add_alert(alert("1"), 0, 0, 0)
    board.dead_letters["malformed"] += 3
    said = samples(exposition(board.summary(1_000), {"owners": [OWNER, OWNER | {"slot": 1}]}, GROUPS))
    assert said["chipquality_rows_total", "judged", "fab.measurements:0", "quality"] == 1
    assert said["chipquality_rows_total", "missing", "fab.measurements:0", "quality"] == 1
    assert said["chipquality_rows_total", "duplicated", "fab.measurements:0", "quality"] == 0
    assert said["chipquality_dead_letters_total", "quality", "malformed"] == 3
    assert said["chipquality_alerts_open", "quality"] == 1
    assert said["chipquality_latency_seconds", "quality", "0.95"] == 0.101
    assert said["chipquality_owner_live", "7", "0"] == 1
    assert said["chipquality_owner_quarantined", "7", "1"] == 1
    counted = {"rows": 120, "dead_lettered": 2, "duplicates": 3, "late": 4, "ahead": 5, "reopened": 1}
    for slot in ("0", "1"):
        assert {name: said[f"chipquality_owner_{name}_total", "7", slot] for name in counted} == counted
    assert said["chipquality_owner_seconds", "7", "commit", "0"] == 0.004
    assert said["chipquality_owner_replay_worst_seconds", "7", "0"] == 0.25
    assert said["chipquality_consumer_lag", "quality", "0", "fab.measurements"] == 5
    assert ("chipquality_consumer_lag", "quality", "0", "gone") not in said


def test_parts_that_do_not_answer_are_left_out_and_said() -> None:
    said = samples(exposition(None, None, None))
    assert said == {("chipquality_part_up", part): 0.0 for part in ("view", "owners", "kafka")}
    opening = samples(exposition(None, {"owners": [{"slot": 0, "state": "opening"}]}, []))
    assert opening["chipquality_owner_live", "", "0"] == 0
    assert ("chipquality_owner_replay_worst_seconds", "", "0") not in opening, "it has not said one yet"
    assert opening["chipquality_part_up", "kafka"] == 1
