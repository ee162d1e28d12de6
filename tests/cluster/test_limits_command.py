"""`chipquality limits`, as a person and as a program call it, on the real broker with a slot that runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from actors.partition_owner import OwnerLoop
from cluster.commands import limits as module
from cluster.commands.limits import FAILED, REFUSED, app
from cluster.commands.where import cluster_of
from cluster.config import load
from cluster.local.registry import url
from cluster.local.running import Running
from models.individuals import IndividualsChart
from tests.cluster.audit_trail import recorded
from tests.fixtures_stack import prepared
from tests.integration.line import TestLine, series_of, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.local import Endpoints

pytestmark = pytest.mark.kafka
S0, OTHER = series_of("s0"), series_of("other")


@pytest.fixture
def line(stack: Endpoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TestLine:
    """A line whose topics the commands take for the product's."""
    prepared(stack)  # the audit trail
    made = TestLine(stack, families={"spc": (IndividualsChart(10),)})
    for name, topic in (("MEASUREMENTS", made.input), ("STATE", made.topics.state), ("CONTROL", made.topics.control)):
        monkeypatch.setattr(module, name, topic)
    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", stack.bootstrap_servers)
    monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", stack.registry_url)
    monkeypatch.setenv("CHIPQUALITY_PIPELINE__NAME", made.name)
    monkeypatch.chdir(tmp_path)
    return made


@contextmanager
def running(line: TestLine) -> Iterator[OwnerLoop]:
    loop = OwnerLoop(line.pipeline(), line.deal().seats()[0])
    loop.start()
    try:
        wait_for(lambda: loop.state == "live", "live")
        yield loop
    finally:
        assert loop.stop()


def fill(line: TestLine, rows: int = 40) -> None:
    """Write a series s0 to partition 1, around 10 with a wild value at offset 20, and another series beside it."""
    values = [10.0 + (n % 5 - 2) / 10 for n in range(rows)]
    values[10] = 60.0
    line.write(1, [part for n, x in enumerate(values) for part in
                   (line.measurement("s0", x, n), line.measurement("other", 1.0, n))])  # fmt: skip


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def ask(*arguments: str) -> Any:
    told = call(*arguments, "--output", "json")
    assert told.exit_code == 0, told.output + str(told.exception)
    return json.loads(told.output)


def refused(*arguments: str, code: int = REFUSED) -> str:
    told = call(*arguments)
    assert (told.exit_code, told.stderr.count("\n")) == (code, 1), told.output + str(told.exception)
    return told.stderr.removeprefix("chipquality: ").strip()


def test_propose_apply_list(line: TestLine, stack: Endpoints) -> None:
    fill(line)
    before = len(recorded(stack, f"series {S0}"))
    new = ask("propose", "-s", S0, "--author", "ada", "--reason", "new resist", "--usl", "12", "--study")
    assert (new["state"], new["rows"], new["changes"][0]["partition"]) == ("PROPOSED", 40, 1)
    assert [(point["offset"], point["value"]) for point in new["removed"]] == [(20, 60.0)]
    assert new["new"]["mu"] == pytest.approx(10.0, abs=0.01)
    assert (new["old"]["mu"], new["new"]["usl"]) == (None, 12.0)
    with running(line):
        line.wait_done()
        done = ask("apply", new["change_id"], "--author", "bo")
        assert done["made"] == [{"partition": 1, "at_offset": 80}]
        line.write(1, [line.measurement("s0", 10.0, 99)])
        line.wait_done()
    assert (
        refused("apply", new["change_id"], "--author", "eve") == f"change {new['change_id']} is already applied, by bo"
    )
    (listed,) = ask("list", "--series", S0)
    assert (listed["author"], listed["approver"], listed["reason"]) == ("ada", "bo", "new resist")
    assert listed["changes"][0]["version"] == 1
    assert listed["made"] == done["made"]
    assert ask("list", "--series", OTHER) == []
    centre = line.verdicts()[1, 80, "spc.individuals"][4]
    assert np.frombuffer(centre)[0] == new["new"]["mu"]  # the row that was judged next
    text = call("list").output
    assert f"{new['change_id']}  limits  applied  " in text
    assert "ada, applied by bo: new resist" in text
    assert "partition 1: in effect from offset 80 on" in text
    proposed, approved = recorded(stack, f"series {S0}")[before:]
    assert (proposed["action"], approved["action"]) == ("limits.propose", "limits.approve")
    assert proposed["user_id"].startswith("command line, ")
    assert json.loads(proposed["after"])["usl"] == 12
    states = [json.loads(approved[when])["state"] for when in ("before", "after")]
    assert (states, json.loads(approved["after"])["approver"]) == (["PROPOSED", "APPLIED"], "bo")


def test_for_a_person(line: TestLine) -> None:
    fill(line)
    assert call("list").output == "No changes.\n"
    told = call("propose", "-s", S0, "--author", "ada", "--reason", "first", "--rows", "35")
    assert told.exit_code == 0, told.output
    assert "35 rows, offsets 10 to 78, 0 missing" in told.output
    assert re.search(r"  offset 20  60  nelson_1 in round 1 \(60, limits ", told.output)
    found = re.search(r"chipquality limits apply (\w+) --author NAME", told.output)
    assert found
    assert "proposed" in call("list").output
    with running(line):
        done = call("apply", found[1], "--author", "bo")
        assert done.exit_code == 0, done.output
        assert re.fullmatch(rf"{found[1]} is applied.\n  partition 1: in effect from offset \d+ on\n", done.output)
    second = call("propose", "-s", S0, "--author", "ada", "--reason", "spec", "--target", "10", "--sigma", "none")
    assert re.search(r"^ +version 1 +version 2$", second.output, re.M)
    assert re.search(r"^sigma +\S+ +-$", second.output, re.M)
    assert re.search(r"^target +- +10$", second.output, re.M)


def test_reset_exclude_and_include(line: TestLine, stack: Endpoints) -> None:
    fill(line)
    before = len(recorded(stack, f"series {S0}"))
    with running(line) as loop:
        line.wait_done()
        args = ("-s", S0, "--author", "ada")
        assert ask("reset", *args, "--reason", "pump replaced")["kind"] == "RESET"
        out = ask("exclude", *args, "--offset", "20", "--comment", "probe slipped")
        assert out["made"] == [{"partition": 1, "at_offset": 80}]
        again = refused("exclude", *args, "--offset", "20", "--comment", "probe slipped")
        assert again == f"offset 20 of {S0} is already excluded, by ada: probe slipped"
        new = ask("propose", *args, "--reason", "without it")
        assert new["removed"] == [{"offset": 20, "value": 60.0, "why": "excluded: probe slipped"}]
        assert "excluded: probe slipped" in new["basis"]
        ask("include", *args, "--offset", "20", "--comment", "it was real")
        assert refused("include", *args, "--offset", "20", "--comment", "x") == f"offset 20 of {S0} is not excluded"
        assert loop.status()["changes"] == 3
    text = call("list", "-s", S0).output
    assert "exclude  applied" in text
    assert f"{S0}  offset 20" in text
    done = [event["action"] for event in recorded(stack, f"series {S0}")[before:]]
    assert done == ["series.reset", "exclusions.add", "limits.propose", "exclusions.remove"]


def test_history_between_bounds(line: TestLine) -> None:
    fill(line)
    args = ("propose", "-s", S0, "--author", "ada", "--reason", "r")

    def span(*bounds: str) -> tuple[int, int, int]:
        new = ask(*args, *bounds)
        return new["rows"], new["first_offset"], new["last_offset"]

    assert span("--from", "30") == (25, 30, 78)
    assert span("--from", "30", "--to", "40") == (6, 30, 40)
    assert span("--rows", "5", "--to", "40") == (5, 32, 40)
    assert span("--from", "2023-11-14T22:13:20.030Z", "--to", "2023-11-14T22:13:20.034+00:00") == (5, 60, 68)
    assert span("--rows", "5", "--exclude", "78", "--partition", "1")[0] == 5


def test_bad_input_is_one_clear_line(line: TestLine) -> None:
    fill(line)
    who = ("--author", "ada", "--reason", "r")
    near = S0.replace("s0", "s00")
    assert refused("propose", "-s", near, *who) == f"no row of series {near} was found in {line.input}; is it {S0}?"
    assert refused("propose", "-s", S0, *who, "--sigma", "-1") == f"{S0}: sigma = -1.0 is below 0"
    assert refused("propose", "-s", S0, *who, "--mu", "nan") == "--mu nan: a number, or none, is wanted"
    assert refused("propose", "-s", S0, *who, "--lsl", "3", "--usl", "2") == f"{S0}: lsl = 3.0 is not below usl = 2.0"
    assert refused("propose", "-s", S0, *who, "--rows", "9", "--from", "1") == "--rows and --from exclude each other"
    assert refused("propose", "-s", S0, *who, "--from", "noon").startswith("--from noon: no time as ISO 8601 has it")
    assert refused("propose", "-s", S0, *who, "--rules", "x") == "--rules x: numbers of Nelson rules, e.g. 1,2, or none"
    assert "guess" in refused("propose", "-s", S0, *who, "--estimator", "guess")
    assert refused("propose", "-s", S0, *who, "--partition", "7") == f"{line.input} has no partition 7"
    assert refused("propose", "-s", S0, "--author", "", "--reason", "r") == "author is empty"
    assert refused("apply", "nope", "--author", "bo").startswith("no change nope: ")
    at = ("exclude", "-s", S0, "--author", "ada", "--comment", "c", "--offset")
    assert refused(*at, "21") == f"offset 21 of {line.input} is no row of {S0}: there is {OTHER}"
    assert refused(*at, "999") == f"offset 999 of {line.input} is no row of {S0}: nothing is there"
    line.write(0, [line.measurement("s0", 10.0, 1)])
    both = f"{S0} stands in partitions [0, 1] of {line.input}: name one of them"
    assert refused("propose", "-s", S0, *who) == both
    assert call("list").output == "No changes.\n"


def test_a_pipeline_that_does_not_run_is_told(line: TestLine) -> None:
    fill(line)
    new = ask("propose", "-s", S0, "--author", "ada", "--reason", "r")
    told = refused("apply", new["change_id"], "--author", "bo", "--timeout-s", "0.2", code=FAILED)
    assert told == "partition 1 has not made it after 0.2 s; it will when the pipeline runs: does it?"
    assert "partition 1: waits" in call("list").output
    late = ask("propose", "-s", S0, "--author", "ada", "--reason", "r", "--usl", "12")
    from_time = ("--effective-from", "2030-01-01T00:00:00Z")
    assert ask("apply", late["change_id"], "--author", "bo", "--timeout-s", "0", *from_time)["not_made"] == [1]
    with running(line) as loop:
        line.wait_done()
        wait_for(lambda: loop.status()["changes"] == 1, "the first is made")
    assert "partition 1: waits, for event time 2030-01-01T00:00:00Z" in call("list").output


def test_a_proposal_that_was_overtaken(line: TestLine) -> None:
    fill(line)
    args = ("propose", "-s", S0, "--author", "ada", "--reason", "r", "--usl")
    slow, quick = ask(*args, "12")["change_id"], ask(*args, "13")["change_id"]
    ask("apply", quick, "--author", "bo", "--timeout-s", "0")
    told = refused("apply", slow, "--author", "bo")
    assert (
        told == f"change {slow} was proposed as version 1 of {S0}; change {quick} has become that since: propose again"
    )


def test_a_demo_on_this_machine_is_found_and_so_is_what_local_up_left(
    stack: Endpoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    kafka_port = urlsplit(f"//{stack.bootstrap_servers}").port
    monkeypatch.setenv("CHIPQUALITY_LOCAL__KAFKA_PORT", str(kafka_port))
    found = cluster_of(load())
    assert (found.bootstrap_servers, found.registry_url) == (f"127.0.0.1:{kafka_port}", url(18081))
    monkeypatch.setenv("CHIPQUALITY_LOCAL__DIRECTORY", str(tmp_path))
    Running("java", "h:1", "http://h:2", keep_data=False, data="", processes=()).save(tmp_path)
    found = cluster_of(load())
    assert (found.bootstrap_servers, found.registry_url) == ("h:1", "http://h:2")


def test_no_kafka_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHIPQUALITY_LOCAL__KAFKA_PORT", "1")
    assert refused("list").startswith("kafka.bootstrap_servers is not set, and no local broker runs")
    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    assert refused("list").startswith("registry.url is not set")
