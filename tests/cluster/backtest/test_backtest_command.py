"""`chipquality backtest --local` on a real topic: its report, and clear errors."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from cluster.backtest.tasks import Failed, Task, judge_task
from cluster.backtest.verdicts import described, rows_around
from cluster.local.stack import Endpoints
from models import judge
from models.anomaly import RobustZ
from models.pca import PcaChart
from tests.actors.packages.made import RAISES_AT_IMPORT, project
from tests.cluster.backtest.backtest_line import BEGIN, MINUTE, ROWS, BacktestLine, run, said, under_way
from tests.integration.line import TestLine, series_of
from tests.integration.test_vectors import MODEL, correlated, records

DETECTOR = ("spc.individuals", "--parameters", '{"phase_one_rows": 50}')

RAISES = """
import os
from dataclasses import dataclass
import numpy as np
from models.detector import Column, Rule, Verdicts
@dataclass(frozen=True)
class Raises:
    name, version, statistics = "mine.raises", 1, ("x",)
    state = {"n": Column("i8")}
    rules = (Rule("never", "it never fires"),)
    def update(self, state, batch):
        if len(batch) and batch.offset[-1] >= 700:
            raise ArithmeticError("seven hundred")
        zero = np.zeros((len(batch), 1))
        return Verdicts(batch.value[:, None].copy(), zero, zero, zero, np.zeros(len(batch), np.uint32), np.ones(len(batch), bool))
class Loops(Raises):
    name = "mine.loops"
    def update(self, state, batch):
        while len(batch) > 2:
            pass
        return super().update(state, batch)
class Dies(Raises):
    name = "mine.dies"
    def update(self, state, batch):
        if len(batch) > 2:
            os._exit(3)
        return super().update(state, batch)
class Nothing:
    pass
NUMBER = 5
"""


@pytest.fixture(scope="module")
def line(stack: Endpoints) -> BacktestLine:
    return BacktestLine(stack)


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of somebody's own in the working directory."""
    name = f"mine_{os.getpid()}"
    (tmp_path / f"{name}.py").write_text(RAISES)
    (tmp_path / f"{name}_broken.py").write_text("raise OSError('no licence')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


def test_a_report_with_labels(line: BacktestLine, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    labels = line.labels(tmp_path / "labels.csv")
    report = said(run(line, *DETECTOR, "--local", "--labels", labels, "--report", folder, "-o", "json"))
    found = report["labels"]
    assert (found["labels"], found["judged"], found["found"], found["not_judged"]) == (5, 4, 4, 1)
    assert found["recall"] == 1.0
    assert found["precision"] == found["true_alerts"] / report["alerts"] > 0.2, "eight run rules"
    assert found["delay_rows"]["max"] <= 5, "a shift of 6 sigma is seen at once"
    assert {kind["kind"]: kind["found"] for kind in found["kinds"]} == {"drift": 0, "shift": 4}
    assert (report["rows"], report["series"]) == (2 * ROWS, 6)
    assert report == json.loads((folder / "report.json").read_text())
    assert sorted(path.name for path in folder.iterdir()) == ["alerts", "report.html", "report.json", "verdicts"]
    opened = sum(
        row["state"] == "OPEN"
        for p in range(2)
        for row in pq.read_table(folder / f"alerts/partition-000{p}.parquet").to_pylist()
    )
    assert opened == report["alerts"] == sum(day["alerts"] for day in report["by_day"])
    assert sum(x["alerts"] for x in report["series_with_most_alerts"]) == opened
    page = (folder / "report.html").read_text()
    assert [text for text in ("http", "src=", "<script", "@import", "url(") if text in page] == [], "it fetches nothing"
    file = folder / "verdicts/partition-0000.parquet"
    assert described(file)["spc.individuals"]["statistics"] == ["x", "MR"]
    example = next(x for x in report["examples"] if x["partition"] == 0)
    around = rows_around(file, example["series"], example["offset"], 5)
    assert around.table["offset"].to_pylist()[around.at] == example["offset"]
    assert example["fired"][example["at"]]


def test_a_report_without_labels_of_some_series_warmed_up(line: BacktestLine, tmp_path: Path) -> None:
    begin, end = (datetime.fromtimestamp((BEGIN + n * MINUTE) / 1000, UTC).isoformat() for n in (250, 350))
    began = f"--event-time --from {begin} --to {end}".split()
    wish = [*DETECTOR, "--local", *began, "--series", series_of("s00"), "--series", series_of("s1*")]
    cold = said(run(line, *wish, "--report", tmp_path / "cold", "-o", "json"))
    text = run(line, *wish, "--warm-from", "earliest", "--report", tmp_path / "warm")
    assert text.exit_code == 0, text.output
    report = json.loads((tmp_path / "warm/report.json").read_text())
    assert [(p["warm_from"], p["from"], p["to"]) for p in report["backtest"]["partitions"]] == [(0, 750, 1050)] * 2
    assert (report["rows"], report["judged"]) == (600, 400), "from --from on, of the series that it judges"
    assert cold["judged"] < 400, "Phase I"
    assert report["labels"] is None
    assert report["alerts"] > 0
    assert "alerts, " in text.stdout
    assert "100%" in text.stderr, "how far it is"


def test_a_detector_that_raises_is_told_with_its_traceback(line: BacktestLine, tmp_path: Path, mine: str) -> None:
    result = run(line, f"{mine}:Raises", "--local", "--report", "out", "-o", "json")
    assert result.exit_code == 1, result.output
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert {failure["partition"] for failure in report["failures"]} == {0, 1}
    assert "ArithmeticError: seven hundred" in report["failures"][0]["detail"]
    assert "The detector raised on partition 0 at offset" in report["notes"][-2]
    assert "ArithmeticError" in (tmp_path / "out/report.html").read_text()


def test_a_detector_of_a_package(line: BacktestLine, tmp_path: Path) -> None:
    folder = project(tmp_path / "above")
    wish = ("--local", "--package", folder, "--parameters", '{"limit": 14.0}', "-o", "json")
    report = said(run(line, "above", *wish, "--report", tmp_path / "report"))
    assert report["backtest"]["detector"].startswith("mine.above@1-")
    (rule,) = report["rules"]
    table = pq.read_table(tmp_path / "report/verdicts", columns=["value"])["value"].to_numpy()
    assert rule["signals"] == (table > 14.0).sum() > 0
    broken = project(tmp_path / "broken", RAISES_AT_IMPORT, name="broken")
    refused = run(line, "above", "--local", "--package", broken, "--report", tmp_path / "other")
    assert (refused.exit_code, "no licence" in refused.stderr) == (2, True)
    refused = run(line, "below", *wish, "--report", tmp_path / "other")
    assert (refused.exit_code, "it has no detector 'below'" in refused.stderr) == (2, True)


def test_a_detector_that_ends_its_process(line: BacktestLine, tmp_path: Path, mine: str) -> None:
    result = run(line, f"{mine}:Dies", "--local", "--report", "out")
    assert (result.exit_code, list(Path().glob("out*"))) == (1, [])
    assert "a process that judged has ended with 3" in result.stderr


def test_what_hinders_a_task_is_its_last_word(line: BacktestLine, tmp_path: Path) -> None:
    pipeline = replace(line.pipeline(), families={"spc": ()})
    (word,) = judge_task(Task(pipeline, 0, 0, str(tmp_path), ()))
    assert isinstance(word, Failed)
    assert word.why.startswith("partition 0: Traceback")
    topic = replace(line.pipeline(), families={"spc": (RobustZ(), RobustZ())})
    (word,) = judge_task(Task(topic, 0, 0, str(tmp_path), ()))
    assert isinstance(word, Failed)
    assert "stands twice in a family" in word.why


def test_vectors(stack: Endpoints, tmp_path: Path) -> None:
    line = TestLine(stack)
    values = correlated(60, 2)
    values[40, 2] += 4.0
    line.write(0, records(line, values))
    MODEL.save(tmp_path / "model.npz")
    wish = (
        "multivariate.pca",
        "--parameters",
        json.dumps({"model": str(tmp_path / "model.npz")}),
        "--local",
        "-o",
        "json",
    )
    asked = run(line, *wish)
    assert (asked.exit_code, "say which of" in asked.stderr) == (2, True)
    report = said(run(line, *wish, "--vector", "trace", "--report", tmp_path / "r"))
    signal = pq.read_table(tmp_path / "r/verdicts")["multivariate.pca/signal"].to_numpy()
    assert signal.tolist() == judge(PcaChart(MODEL), values).signal.tolist()
    assert report["rows"] == 60


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["spc.none"], "no detector 'spc.none'"),
        (["absent_module:X"], "No module named 'absent_module'"),
        (["{mine}_broken:X"], "importing it raises OSError: no licence"),
        (["{mine}:Absent"], "has no class Absent"),
        (["{mine}:NUMBER"], "has no class NUMBER"),
        (["{mine}:Nothing"], "is no detector"),
        (["{mine}:Raises", "--parameters", '{"x": 1}'], "making it raises TypeError"),
        (["spc.ewma", "--parameters", "[1]"], "must be a JSON object"),
        (["spc.ewma", "--parameters", "{"], "is no JSON"),
        (["spc.ewma", "--topic", "absent"], "there is no topic absent"),
        (["spc.ewma", "--from", "latest"], "a stretch begins at the earliest"),
        (["spc.ewma", "--from", "1500"], "nothing of"),
        (["spc.ewma", "--from", "20", "--to", "20"], "its partitions hold 0: 0 to 1500, 1: 0 to 1500"),
        (["spc.ewma", "--from", "noon"], "is no time"),
        (["spc.ewma", "--labels", "absent.csv"], "absent.csv: labels cannot be read"),
        (["spc.ewma", "--missed-cost", "-1"], "a missed label costs -1"),
        (["spc.ewma", "--report", "."], "is there already"),
        (["spc.ewma", "--package", "absent"], "absent: "),
        (["spc.ewma", "--address", "127.0.0.1:1"], "--local needs no Ray"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(line: BacktestLine, mine: str, arguments: list[str], why: str) -> None:
    local = [] if why.startswith("--local") else ["--local"]
    result = run(line, *(text.replace("{mine}", mine) for text in arguments), *local)
    assert result.exit_code == 2, result.output
    said = result.stderr.strip()
    assert why in said
    assert said.startswith("chipquality: ")
    assert not list(Path().glob("*.part"))


def test_what_is_not_retained_is_refused_and_what_goes_meanwhile_is_told(stack: Endpoints, tmp_path: Path) -> None:
    line = BacktestLine(stack)
    line.delete_input(1, 100)
    refused = run(line, "spc.ewma", "--local", "--from", "50", "--report", tmp_path / "a")
    assert refused.exit_code == 2
    assert "offset 50 is not retained any more in partition 1 (from 100 on): say a later one" in refused.stderr
    report = said(run(line, "spc.ewma", "--local", "--report", tmp_path / "b", "-o", "json"))
    assert [p["from"] for p in report["backtest"]["partitions"]] == [0, 100]


def test_records_that_are_none_are_told(line: BacktestLine, tmp_path: Path) -> None:
    for value in (b"garbage", b"more"):
        line.producer.produce(line.topics.dead_letters, value, partition=0)
    assert line.producer.flush(20) == 0
    topic = ("--topic", line.topics.dead_letters)
    report = said(run(line, "spc.ewma", "--local", *topic, "--report", tmp_path / "r", "-o", "json"))
    note = "No record could be read as what this detector judges (2 not_avro): is it the right topic?"
    assert (report["notes"], report["dead_letters"]) == ([note], {"not_avro": 2})


@pytest.mark.processes
def test_control_c_leaves_nothing(line: BacktestLine, tmp_path: Path, mine: str) -> None:
    with under_way(line, f"{mine}:Loops", "--local") as process:
        children = psutil.Process(process.pid).children(recursive=True)
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "stopped; nothing is left of it" in err
    assert time.monotonic() - began < 10
    psutil.wait_procs(children, 5)
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    assert not list(Path().glob("backtest*"))
