"""An examination says what a package is, and whatever it does to the process in which it is tried is a value."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet
import pytest

from actors.packages import Limits, Packaged, PackageRefused, examine, examining
from actors.packages.examine import time_limit_s
from actors.packages.examined import Examined, Failure
from actors.packages.recorded import read_rows, recorded
from actors.packages.store import PackageStore
from models.checks import CHECKS
from models.detector import identity
from models.ewma import Ewma
from tests.actors.packages import made
from tests.actors.packages.made import package_of, stored

TIGHT = Limits(load_s=2.0, step_s=1.0, memory_bytes=128 * 2**20)
GONE_S = 10.0  # within which whoever hangs is gone, its process's start included


def examined(tmp_path: Path, code: str, **how: Any) -> Examined:
    package = package_of(code)
    store = stored(tmp_path, package)
    return examine.examine(store, package.digest, limits=TIGHT, cache=tmp_path / "cache", **how)


def rows(n: int = 400) -> pa.Table:
    value = np.where(np.arange(n) == n - 3, 20.0, 10.0)
    series = [f"E{i % 2}" for i in range(n)]
    return pa.table({"series": series, "value": value, "partition": np.full(n, 1), "offset": np.arange(n) + 7})


@pytest.mark.processes
def test_a_good_package_is_described_measured_and_tried(tmp_path: Path) -> None:
    file = io.BytesIO()
    pa.parquet.write_table(rows(), file)
    found = examined(tmp_path, made.ABOVE, parameters={"limit": 11.5}, stretch=file.getvalue())
    assert found.failure is None
    assert found.ok
    assert [check.name for check in found.checks if check.passed] == list(CHECKS)
    assert found.packaged is not None
    assert found.packaged.given == {"limit": 11.5}
    assert found.packaged.described.parameters == {"limit": 11.5}
    assert found.batch_cuts == "exact"
    assert found.cost is not None
    assert found.cost.state_bytes_per_series == 16
    assert 0 < found.cost.us_per_row < 1000
    assert found.cost.memory_bytes < TIGHT.memory_bytes
    assert found.stretch is not None
    assert (found.stretch.rows, found.stretch.series, found.stretch.judged, found.stretch.signals) == (400, 2, 400, 1)
    (example,) = found.stretch.examples
    assert (example.series, example.partition, example.offset, example.rule) == ("E1", 1, 404, "above")
    assert found.stretch.rate("above") == 2.5
    again = Examined.of_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert again == found


@pytest.mark.processes
@pytest.mark.parametrize(
    ("code", "phase", "reason", "traced"),
    [
        (made.HANGS_AT_IMPORT, "load", "load: not done within 2 s; the process was ended", "above_all.py"),
        (made.HANGS_IN_UPDATE, "first step", "first step: not done within 2 s; the process was ended", "in update"),
        (made.LEAKS, "check batch cuts", "raised MemoryError", "in update"),
        (made.DIES, "first step", "first step: the process ended with exit code 3", "about to die"),
        (made.RAISES_LATER, "check batch cuts", "raised ZeroDivisionError('row 100') on 1 rows", "in update"),
    ],
)
def test_what_a_package_does_is_contained_and_told(
    tmp_path: Path, code: str, phase: str, reason: str, traced: str
) -> None:
    began = time.monotonic()
    found = examined(tmp_path, code)
    assert found.failure is not None
    assert (found.failure.phase, found.ok) == (phase, False)
    assert reason in found.failure.reason
    assert traced in found.failure.traceback
    if "not done" in reason:
        assert time.monotonic() - began < GONE_S
    assert not [each for each in psutil.Process().children(recursive=True) if "examining" in " ".join(each.cmdline())]


@pytest.mark.processes
def test_a_suite_that_fails_says_all_that_is_wrong(tmp_path: Path) -> None:
    found = examined(tmp_path, made.DEPENDS_ON_CUTS)
    failed = {check.name for check in found.checks if not check.passed}
    assert {"batch cuts", "series do not leak", "state round trip", "missing values"} <= failed
    assert len(found.checks) == len(CHECKS)
    assert found.failure is not None
    assert found.failure.phase == "check batch cuts"
    assert "gives another ucl when the log is cut into 960 batches" in found.failure.reason
    assert (found.batch_cuts, found.ok, found.cost) == ("no", False, None)


def test_what_is_refused_before_any_process_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "_Watch", None)
    store = stored(tmp_path, package_of(), package_of(requires=("numpy==1.0",)))
    for digest, target, parameters, phase, reason in (
        ("0" * 64, None, {}, "package", "has no package"),
        (package_of().digest, "below", {}, "package", "it has no detector 'below'"),
        (package_of().digest, None, {"limit": object()}, "package", "not JSON serializable"),
        (package_of(requires=("numpy==1.0",)).digest, None, {}, "requirements", "the product runs with numpy"),
    ):
        found = examine.examine(store, digest, target, parameters, cache=tmp_path)
        assert found.failure is not None
        assert (found.failure.phase, found.packaged) == (phase, None)
        assert reason in found.failure.reason
        assert Examined.of_json(found.to_json()) == found
    assert found.batch_cuts == ""
    assert replace(found, failure=None).ok is False
    with pytest.raises(PackageRefused, match="not an examination"):
        Examined.of_json({})


class Said:
    """Messages as the process says them."""

    def __init__(self, tmp_path: Path) -> None:
        job = examining.Job("file:///s", "d", "x:Y", {}, TIGHT, "c", str(tmp_path / "hangs"))
        assert examining.Job.of_json(job.to_json()) == job
        self.watch = examine._Watch(Examined("d", "x:Y"), job, tmp_path)

    def follow(self, *lines: str | None) -> Failure | None:
        for line in lines:
            self.watch._messages.put(line)
        self.watch._follow()
        return self.watch._found.failure


def test_a_process_that_says_what_cannot_be_read(tmp_path: Path) -> None:
    for line in ("no json", "[]", '{"a": 1, "b": 2}', '{"phase": {}}', '{"check": {"evil": 1}}', '{"packaged": {}}'):
        failed = Said(tmp_path).follow(line, None)
        assert failed is not None, line
        assert failed.reason.startswith("the process says what cannot be read"), line
    twice = Said(tmp_path)
    first = {"failure": {"phase": "a", "reason": "b", "traceback": ""}}
    assert twice.follow(json.dumps(first), "no json", None) == Failure("a", "b")
    assert time_limit_s(TIGHT, with_stretch=True) > time_limit_s(TIGHT, with_stretch=False) > TIGHT.load_s


def test_a_process_that_says_nothing_is_waited_for_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "START_S", 0.05)
    assert Said(tmp_path).watch._follow() is False


# ---- the process's own part, without a process


class Spoken(list[dict[str, Any]]):
    """What an examination says."""

    def write(self, line: str) -> None:
        self.append(json.loads(line))

    def flush(self) -> None:
        """Nothing is kept back."""


@pytest.mark.parametrize("detector", [Ewma()])
def test_an_examination_says_phases_and_what_it_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detector: Ewma
) -> None:
    for name in ("confine", "relieve"):
        monkeypatch.setattr(examining, name, lambda *_: None)
    monkeypatch.setattr(examining, "load", lambda *_: detector)
    monkeypatch.setattr(examining, "COST_ROUNDS", 2)
    monkeypatch.setattr(examining, "CHECKS", {"declaration": CHECKS["declaration"]})
    limits = Limits(load_s=60.0, step_s=60.0)
    job = examining.Job(PackageStore(str(tmp_path)).url, "0" * 64, "x:Y", {}, limits, "c", str(tmp_path / "hangs"))
    csv = b"series,value\nA,10\nA,\nB,11\n"
    for rows_given, last in ((csv, "done"), (b"PAR1 no parquet", "failure")):
        said = Spoken()
        with (tmp_path / "hangs").open("w") as hangs:
            examining._Examination(job, said, hangs).run(rows_given)  # type: ignore[arg-type]
        names = [next(iter(message)) for message in said if "phase" not in message]
        assert names[:3] == ["packaged", "check", "cost"]
        assert names[-1] == last
        assert Packaged.of_json(said[1]["packaged"]).identity == identity(detector)
    assert "neither Parquet nor CSV" in said[-1]["failure"]["reason"]
    assert (tmp_path / "hangs").read_text() == ""


def test_recorded_rows() -> None:
    table = rows(5).append_column("excluded", pa.array([None, True, False, None, None]))
    table = table.append_column("lsl", pa.array([1.0, None, 3.0, 4.0, 5.0]))
    found = recorded(table, None)
    assert found.keys == ["E0", "E1"]
    assert np.isnan(found.batch.value).tolist() == [False, True, False, False, False]
    assert found.batch.event_time_ms.tolist() == [0, 1000, 2000, 3000, 4000]
    assert (found.batch.offset[0], found.batch.subgroup[0], found.partition[0]) == (7, -1, 1)
    ((start, step),) = found.steps()
    assert (start, len(step)) == (0, 5)
    assert not step.value.flags.writeable
    vectors = pa.table({"series": ["A", "A"], "value": [[1.0, 2.0], [3.0, None]]})
    assert recorded(vectors, 2).batch.value.shape == (2, 2)
    for bad, p, why in (
        (pa.table({"value": [1.0]}), None, "have no column series"),
        (pa.table({"series": ["A"], "value": ["x"]}), None, "cannot be read"),
        (vectors, 3, "the detector judges vectors of 3, and value is"),
    ):
        with pytest.raises(PackageRefused, match=why):
            recorded(bad, p)
    assert len(read_rows(b"series,value\nA,1\n", "it")) == 1


def test_a_stretch_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.packages.recorded.ROWS_MAX", 4)
    with pytest.raises(PackageRefused, match="5 recorded rows; 4 at most are tried"):
        recorded(rows(5), None)
