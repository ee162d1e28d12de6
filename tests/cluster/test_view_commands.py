"""`chipquality charts`, `pareto`, `wafer-maps`, `metrics`, `audit`, `events`, as a program and as a person call them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from typer.testing import CliRunner, Result

from actors import view
from actors.producers import events as event_module
from cluster.cli import app
from cluster.local import Endpoints
from schemas.topics import INSPECTION
from tests.actors.publisher_support import nobody
from tests.cluster.audit_trail import recorded
from tests.cluster.output_line import OutputLine
from tests.cluster.served import wait_for
from tests.cluster.test_api import Answers
from tests.fixtures_stack import prepared

SERIES = "E1|A|R|10|CD"
RUN = uuid.uuid4().hex[:8]


@pytest.fixture(scope="module")
def line(stack: Endpoints, ray_cluster: None) -> Iterator[OutputLine]:
    """A view in Ray of a line with one wild value."""
    prepared(stack)
    made = OutputLine(stack)
    handle = view.start(made.cluster, made.pipeline, sources=replace(made.sources, inspections=INSPECTION))
    ray.get(handle.ready.remote(), timeout=60)
    made.publish([*made.in_control([SERIES], 30), (SERIES, 60.0)])
    made.dead_letter("malformed")
    yield made
    view.stop(made.pipeline)


@pytest.fixture(autouse=True)
def _here(line: OutputLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", line.cluster.bootstrap_servers)
    monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", line.cluster.registry_url)
    monkeypatch.setenv("CHIPQUALITY_PIPELINE__NAME", line.pipeline)
    monkeypatch.chdir(tmp_path)


def call(*arguments: str, code: int = 0, given: str | None = None) -> Result:
    result = CliRunner().invoke(app, arguments, input=given)
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def ask(*arguments: str) -> Any:
    return json.loads(call(*arguments, "--output", "json").stdout)


def test_charts_and_pareto() -> None:
    wait_for(lambda: ask("pareto", "rule")["items"], "the alert is read")
    wait_for(lambda: ask("charts", "list")["items"], "so are the points, which are of another topic")
    assert ask("charts", "list", "--search", "CD")["items"][0]["series"] == SERIES
    assert "1 of 1 series" in call("charts", "list").output
    chart = ask("charts", "show", SERIES, "--points", "5")
    assert len(chart["points"]["offset"]) == 5
    shown = call("charts", "show", SERIES).output
    assert "spc.individuals" in shown
    assert "nelson_1" in shown
    assert "no points of the series nobody" in call("charts", "show", "nobody", code=2).stderr
    assert "nelson_1" in call("pareto", "rule", "--window-s", "600").output
    assert ask("pareto", "defect_type")["counts"] == "defects"
    assert "no 'mood' to count by" in call("pareto", "mood", code=2).stderr


def test_events_and_wafer_maps(stack: Endpoints, tmp_path: Path) -> None:
    event = {
        "event_type": "DEFECT_DETECTED", "inspection_id": f"I/{RUN}", "batch_id": "B", "chip_id": "C", "inspection_type": "AOI",
        "status": "IN_PROGRESS", "metadata": {"lot": f"L-{RUN}", "wafer": "W-3"},
        "defects": [{"defect_type": "SCRATCH", "severity": "MAJOR", "confidence": 0.9, "location": "x=12.5 y=3.1"}],
    }  # fmt: skip
    file = tmp_path / "events.json"
    file.write_text(json.dumps([event]))
    before = len(recorded(stack, f"topic {INSPECTION}"))
    [item] = ask("events", "publish", "inspection", str(file))["items"]
    assert (item["topic"], item["repeated"], item["offset"] >= 0) == (INSPECTION, False, True)
    assert [one["action"] for one in recorded(stack, f"topic {INSPECTION}")[before:]] == ["events.publish"]
    wait_for(lambda: ask("wafer-maps", "list", "--limit", "500")["items"], "the view has read it")
    assert f"I/{RUN}" in call("wafer-maps", "list", "--limit", "500").output
    assert [one["x"] for one in ask("wafer-maps", "show", f"I/{RUN}")["defects"]] == [12.5]
    assert "SCRATCH" in call("wafer-maps", "show", f"L-{RUN}", "--wafer", "W-3").output
    assert "nothing of nobody is held" in call("wafer-maps", "show", "nobody", code=2).stderr
    piped = call(
        "events", "publish", "system", "-", given='{"event_type": "SERVICE_HEALTH", "service": "s", "status": "UP"}'
    )
    assert piped.output.startswith("fab.system:")
    wrong = call("events", "publish", "system", "-", given='{"event_type": "?"}', code=2)
    assert "nothing was published: event 0: service: missing" in wrong.stderr
    assert "no category 'x'" in call("events", "publish", "x", "-", code=2).stderr
    for text in ("[", "[]", "[" * 100_000, "null"):
        assert "-: " in str(call("events", "publish", "system", "-", given=text, code=1).exception)


def test_events_that_do_not_get_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_module, "DELIVERY_S", 0.3)
    health = {"event_type": "SERVICE_HEALTH", "service": "s", "status": "UP"}
    with nobody() as address:
        monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", address)
        told = call("events", "publish", "system", "-", "-o", "json", code=1, given=json.dumps(health))
        assert "error" in json.loads(told.stdout)["items"][0]


def test_metrics(line: OutputLine) -> None:
    figures = {item["name"]: item for item in ask("metrics", "show")["items"]}
    assert (figures["slots_live"]["value"], figures["slots_live"]["unit"]) == (None, "slots")
    assert "slots_live" in call("metrics", "show").output
    supervisor = Answers.options(name=f"supervisor:{line.pipeline}", namespace="chipquality").remote()
    ray.get(supervisor.set.remote("state", "live"))
    figures = {item["name"]: item for item in ask("metrics", "show")["items"]}
    ray.kill(supervisor)
    assert figures["slots_live"]["value"] == 1
    rates = ask("metrics", "throughput", "--window-s", "60")
    assert len(rates["at"]) == len(rates["rows_per_s"])
    assert "rows/s" in call("metrics", "throughput").output
    assert ask("metrics", "latency")["end_to_end"]["n"] >= 0
    assert "decode_and_judge" in call("metrics", "latency").output
    wait_for(lambda: ask("metrics", "errors")["dead_letters"]["by_reason"] == {"malformed": 1}, "the letter is read")
    assert "malformed" in call("metrics", "errors").output


def test_the_audit_trail() -> None:
    assert {one["event_type"] for one in ask("audit", "list", "--action", "events.publish")["items"]} == {
        "AUDIT_RECORDED"
    }
    assert "events.publish" in call("audit", "list", "--event-type", "AUDIT_RECORDED", "--limit", "500").output
    assert ask("audit", "list", "--user", "nobody at all") == {"items": []}


def test_without_a_view_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPQUALITY_PIPELINE__NAME", "another")
    assert (
        call("charts", "list", code=1).stderr
        == "chipquality: no actor view:another runs: `chipquality run` starts it\n"
    )
