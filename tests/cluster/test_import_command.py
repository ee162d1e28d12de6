"""`chipquality import`, on the real broker: what is told, what is published, a second import, and what is refused."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.inputs import before, feed, sources
from actors.inputs.before import known_before
from actors.inputs.opened import InputError
from actors.inputs.rows import csv_rows
from actors.inputs.sources import StdfSource, TableSource, planned
from actors.inputs.stdf_events import StdfOptions
from actors.inputs.tables import Mapped
from actors.kafka.client import Cluster
from actors.kafka.consumer import Offsets, read_to_end
from cluster import cli
from cluster.commands.imports_text import Progress, lines_of
from cluster.local import Endpoints
from schemas.decode import decode_event
from schemas.registry import Registry
from schemas.topics import INSPECTION, MEASUREMENTS
from tests.actors.inputs.lots import HERE, File
from tests.cluster.audit_trail import actions
from tests.fixtures_stack import prepared

NOON_MS = 1_777_888_800_000
HEAD = "equipment,characteristic,timestamp,value\n"
runner = CliRunner()


def imported(*arguments: object, code: int = 0) -> str:
    """Run the command; return what it says on stdout if that is well, on stderr if not."""
    done = runner.invoke(cli.app, ["import", *map(str, arguments)])
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def lot(tmp_path: Path) -> Path:
    """A small lot of a tester of its own."""
    file = File(NODE_NAM=tmp_path.name).wafer().add("PIR", **HERE)
    file.ptr(1, 1.5, TEST_TXT="Vth", OPT_FLAG=14, LO_LIMIT=1.0, HI_LIMIT=2.0, UNITS="V").prr(
        PART_ID="1", X_COORD=1, Y_COORD=2
    )
    file.part((1, 2.5), PART_ID="2", PART_FLG=8, HARD_BIN=5, X_COORD=2, Y_COORD=2).add("PIR", **HERE)
    pins = {"TEST_NUM": 2, **HERE, "TEST_FLG": 0, "PARM_FLG": 0, "RTN_ICNT": 0, "RSLT_CNT": 2, "RTN_RSLT": (0.25, 0.5)}
    file.add("MPR", **pins, TEST_TXT="sweep").prr(PART_ID="3").wafer_ends()
    path = tmp_path / "lot.stdf"
    path.write_bytes(file.bytes())
    return path


# ---- without a broker


def test_a_dry_run_tells_what_a_lot_has(lot: Path) -> None:
    said = json.loads(imported("stdf", lot, "--dry-run", "--output", "json"))
    assert (said["found"]["parts"], said["found"]["good"]) == (3, 2)
    assert (said["series"], said["dry_run"], said["delivered"]) == (2, True, None)
    assert said["found"]["records"]["PTR"] == 2
    assert imported("stdf", lot, "--dry-run").splitlines() == [
        "lot L1, wafer W1",
        "3 parts, 2 good; 4 results of 2 tests",
        "hard bins  1: 2, 5: 1",
        "would publish 3 measurements of 2 series, 5 inspection events",
    ]


@pytest.mark.slow
def test_a_file_that_is_wrong_is_refused_in_one_line(lot: Path, tmp_path: Path) -> None:
    whole = lot.read_bytes()
    lot.write_bytes(whole[:-20])
    line = imported("stdf", lot, code=2)
    assert line.count("\n") == 1
    assert "byte " in line
    assert "the file is cut off" in line
    assert "--partial imports the 3 whole parts before that" in line
    told = json.loads(
        runner.invoke(cli.app, ["import", "stdf", str(lot), "--partial", "--dry-run", "-o", "json"]).stdout
    )
    assert told["found"]["parts"] == 3
    assert "cut off" in told["found"]["error"]
    lot.write_bytes(whole[:30])
    assert "--partial" not in imported("stdf", lot, code=2)
    lot.write_bytes(File().bytes())
    assert "no part was tested in it" in imported("stdf", lot, code=2)
    long = tmp_path / "long"
    long.write_bytes(File().add("PIR", **HERE).ptr(1, 1.5, TEST_TXT="ü" * 200).prr().bytes())
    assert "characteristic: longer than 256 bytes" in imported("stdf", long, code=2)
    assert "No such file" in imported("stdf", tmp_path / "none", code=2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "unit=nm"], "--set unit: of STDF one of equipment, chamber"),
        (["--set", "lot"], "--set lot: a name, =, and a value"),
        (["--set", "lot=a", "--set", "lot=b"], "--set lot: it is said twice"),
        (["--timezone", "Mars/Olympus"], "--timezone Mars/Olympus: no time zone"),
    ],
)
def test_wrong_options_are_refused(arguments: list[str], says: str, lot: Path) -> None:
    assert says in imported("stdf", lot, "--dry-run", *arguments, code=2)


def test_bad_rows_stop_a_table_or_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    good = f"E1\tCD\t{NOON_MS}\t1.5\tx\n"
    file.write_text(
        "tool\tcharacteristic\ttimestamp\tvalue\tshift\n" + good + f"E1\tCD\t{NOON_MS}\tbad\tx\n" * 30 + good
    )
    how = ("csv", file, "--delimiter", "\\t", "--map", "tool=equipment", "--dry-run")
    done = runner.invoke(cli.app, ["import", *map(str, how)])
    assert done.exit_code == 2
    assert "30 bad rows: nothing was published; --on-error skip leaves them out" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] == ["columns  tool → equipment", "left out  shift", "line 3: value: 'bad' is no number"]
    assert lines[-2:] == ["… and 10 more bad rows", "would publish 2 measurements of 1 series"]
    skipping = runner.invoke(cli.app, ["import", *map(str, how), "--on-error", "skip", "--output", "json"])
    assert skipping.exit_code == 1
    said = json.loads(skipping.stdout)
    assert (said["bad_rows"]["count"], len(said["bad_rows"]["items"])) == (30, sources.BAD_ROWS_TOLD)
    assert said["bad_rows"]["items"][0] == {"row": 2, "line": 3, "field": "value", "why": "'bad' is no number"}
    assert "--delimiter '||': one character" in imported("csv", file, "--delimiter", "||", code=2)
    assert "nothing says equipment" in imported("csv", file, "--delimiter", "\\t", code=2)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(f"{HEAD}E1,CD,{NOON_MS},1.5\n")
    source = TableSource(file, csv_rows, Mapped())
    with pytest.raises(InputError, match="changes while it is read"):
        planned(source, lambda _: file.write_text("more"))
    file.unlink()
    with pytest.raises(InputError, match="No such file"):
        planned(source, lambda _: None)


def test_progress_is_told_once_a_second() -> None:
    told: list[str] = []
    times = iter([0.0, 0.5, 1.1, 1.2, 2.5])
    progress = Progress("published", 200, clock=lambda: next(times), echo=told.append)
    for done in (10, 50, 60, 100):
        progress(done)
    assert told == ["published 50 of 200  25%", "published 100 of 200  50%"]


def test_a_lot_that_has_everything_is_told_in_words(lot: Path) -> None:
    found = StdfSource(lot, StdfOptions()).facts()
    more = {
        "superseded": 2,
        "not_executed": 3,
        "without_part": 4,
        "missing": {"alarm": 5},
        "error": "byte 7: …",
        "lot": None,
    }
    counts = {"count": 0, "items": []}
    said = {"kind": "stdf", "found": found | more, "events": {"measurement": 1, "inspection": 0}, "series": 1}
    lines = lines_of(said | {"bad_rows": counts, "dry_run": False, "before": "no", "delivered": None}, [])
    assert lines[0] == "lot –, wafer W1"
    assert lines[3:] == [
        "2 parts were tested again",
        "3 tests were not executed",
        "4 results stand outside of a part that ended, and are left out",
        "5 results are missing: alarm",
        "the file breaks off: byte 7: …",
    ]


LATER = {
    "ray",
    "pandas",
    "pyarrow.parquet",
    "scipy.stats",
    "scipy.optimize",
    "actors.inputs",
}  # long, and few want them


@pytest.mark.processes
def test_the_command_line_stays_light() -> None:
    code = f"import sys, cluster.cli; print(sorted(sys.modules.keys() & {LATER}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


# ---- on the broker


@pytest.fixture(scope="module")
def cluster(stack: Endpoints) -> Cluster:
    prepared(stack)
    return Cluster(stack.bootstrap_servers, stack.registry_url)


@pytest.fixture
def _there(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", cluster.bootstrap_servers)
    monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", cluster.registry_url)


@pytest.fixture
def since(cluster: Cluster) -> Callable[[str], list[dict[str, Any]]]:
    """What came to the two topics since the test began, decoded, in each partition's order."""
    offsets, registry = Offsets(cluster), Registry(cluster.registry_url)

    def ends(topic: str) -> dict[int, int]:
        return offsets.end(topic, range(len(prepared_partitions(cluster, topic))))

    begun = {topic: ends(topic) for topic in (MEASUREMENTS, INSPECTION)}

    def read(topic: str) -> list[dict[str, Any]]:
        found = read_to_end(cluster, "test-import", topic, ends(topic), 20.0, begun[topic])
        return [decode_event(value or b"", registry.schema) for records in found.values() for _, value in records]

    return read


def prepared_partitions(cluster: Cluster, topic: str) -> list[Any]:
    from actors.kafka.admin import Admin

    (told,) = Admin(cluster.bootstrap_servers).topics([topic])
    return list(told["partitions"])


@pytest.mark.usefixtures("_there")
def test_a_lot_is_published_once(lot: Path, stack: Endpoints, since: Any) -> None:
    trail = f"file {lot.name}"
    told = len(actions(stack, trail))
    assert imported("stdf", lot).splitlines()[-1] == "published 3 measurements of 2 series, 5 inspection events"
    measured, inspected = since(MEASUREMENTS), since(INSPECTION)
    assert {(e["characteristic"], e.get("value"), *e.get("values", ())) for e in measured} == {
        ("1 Vth", 1.5), ("1 Vth", 2.5), ("2 sweep", None, 0.25, 0.5),
    }  # fmt: skip
    assert [e["event_type"] for e in inspected] == [
        "INSPECTION_STARTED", "QUALITY_ASSESSED", "QUALITY_ASSESSED", "QUALITY_ASSESSED", "INSPECTION_COMPLETED",
    ]  # fmt: skip
    packed = lot.with_suffix(".gz")
    packed.write_bytes(gzip.compress(lot.read_bytes()))  # under another name, packed
    again = json.loads(imported("stdf", packed, "--output", "json"))
    assert (again["before"], again["delivered"]) == ("whole", {"measurement": 0, "inspection": 0})
    assert "imported before: nothing was published" in imported("stdf", lot)
    assert (len(since(MEASUREMENTS)), len(since(INSPECTION))) == (3, 5)
    forced = json.loads(imported("stdf", lot, "--again", "--output", "json"))
    assert (forced["before"], forced["delivered"]) == ("no", {"measurement": 3, "inspection": 5})
    ids = [e["event_id"] for e in since(MEASUREMENTS)]
    assert (len(ids), len(set(ids))) == (6, 3)  # what comes twice has its id
    assert actions(stack, trail)[told:] == ["events.import", "events.import"]  # what published nothing changed nothing


@pytest.mark.usefixtures("_there")
@pytest.mark.parametrize("window", ["", "1000"])
def test_an_import_that_was_broken_off_is_taken_up_again(
    window: str, tmp_path: Path, since: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if window:
        monkeypatch.setenv("CHIPQUALITY_PIPELINE__DEDUPE_WINDOW", window)
    file = tmp_path / "rows.csv"
    rows = [f"{tmp_path.name},CD,{NOON_MS + n},{n}\n" for n in range(4)]
    file.write_text(HEAD + "".join(rows[:2]))
    imported("csv", file)
    file.write_text(HEAD + "".join(rows))
    done = runner.invoke(cli.app, ["import", "csv", str(file)])
    assert (done.exit_code, done.stdout) == (0, "published 4 measurements of 1 series\n")
    assert "an import of this file before was broken off" in done.stderr
    assert ("(1,000) recognises" if window else "is judged twice") in done.stderr
    assert len({event["event_id"] for event in since(MEASUREMENTS)}) == 4


@pytest.mark.usefixtures("_there")
def test_rows_that_are_left_out_are_not_published(tmp_path: Path, since: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr(feed, "BATCH_ROWS", 2)
    file = tmp_path / "rows.parquet"
    columns = {"equipment": [tmp_path.name] * 5, "characteristic": ["CD", "CD", None, "CD", "CD"]}
    pq.write_table(pa.table({**columns, "timestamp": [NOON_MS] * 5, "value": [1.0, 2.0, 3.0, None, 5.0]}), file)
    done = runner.invoke(cli.app, ["import", "parquet", str(file), "--on-error", "skip"])
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "published 4 measurements of 1 series"
    assert [event["value"] for event in since(MEASUREMENTS)] == [1.0, 2.0, None, 5.0]


@pytest.mark.usefixtures("_there")
def test_nothing_that_answers_is_one_line_and_code_1(
    lot: Path, cluster: Cluster, since: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(before, "LOOK_S", 0.0)
    imported("stdf", lot, "--again")
    assert "were not read within 0 s" in imported("stdf", lot, code=1)
    assert known_before(cluster, "no.such.topic", {"x"}) == set()
    monkeypatch.setattr(feed, "DELIVERY_S", 0.0)
    line = imported("stdf", lot, "--again", code=1)
    assert "have no outcome within 0 s; acknowledged before: 0 measurements" in line
