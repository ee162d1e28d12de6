"""What outlives its killed parent is killed; what is not ours is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cluster.local import reaper

pytestmark = pytest.mark.processes

PARENT = """
import subprocess, sys, time
from cluster.local.reaper import start_reaper
start_reaper()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_an_orphan_of_a_killed_parent_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    orphan = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait(10)
    gone, alive = psutil.wait_procs([orphan], timeout=20)
    assert (gone, alive) == ([orphan], [])


def test_only_marked_processes_are_found(tmp_path: Path) -> None:
    for pid, environment in {"11": b"A=1\0CHIPQUALITY_RUN=me\0", "12": b"CHIPQUALITY_RUN=other\0"}.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "environ").write_bytes(environment)
    (tmp_path / "13").mkdir()  # has ended
    assert reaper.bearing("me", tmp_path) == {11}


def test_reaping_ends_when_nothing_bears_the_mark() -> None:
    environment = os.environ | {reaper.MARK: "test-reap"}
    child = psutil.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment)
    reaper.reap("test-reap", set())
    assert child.wait(10) < 0


def test_what_was_noted_is_killed_with_its_children_without_a_mark() -> None:
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    child = psutil.Popen([sys.executable, "-c", program])
    while not child.children():
        assert child.is_running()
    (grandchild,) = child.children()
    noted = {born for born in reaper.descendants({os.getpid()}, reaper.processes()) if born[0] == child.pid}
    reaper.reap("nobody", noted)
    gone, alive = psutil.wait_procs([child, grandchild], timeout=20)
    assert (len(gone), alive) == (2, [])


def test_descendants_are_found_over_generations() -> None:
    now = {1: (0, "a"), 2: (1, "b"), 3: (2, "c"), 4: (1, "d"), 5: (0, "e")}
    assert reaper.descendants({1}, now) == {(2, "b"), (3, "c"), (4, "d")}


def test_a_process_id_that_was_given_again_is_left_alone() -> None:
    child = psutil.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    reaper.reap("nobody", {(child.pid, "another start time")})
    assert child.is_running()
    (born,) = [(pid, start) for pid, (_, start) in reaper.processes().items() if pid == child.pid]
    reaper.reap("nobody", {born})
    assert child.wait(10) < 0
