"""How far a process stands back: threads that are begun afterwards do too."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SAID = """
import os, threading
from actors.priority import be_nicer, take_what_is_left
before = os.nice(0)
be_nicer(2)
print(os.nice(0) - before)
take_what_is_left()
thread = threading.Thread(target=lambda: print(os.sched_getscheduler(0), os.nice(0) - before))
thread.start(); thread.join()
"""
ELSEWHERE = """
import os
del os.SCHED_IDLE
from actors.priority import take_what_is_left
take_what_is_left()
print(os.nice(0))
"""


def said(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux has it")
def test_what_is_left() -> None:
    assert said(SAID).splitlines() == ["2", f"{os.SCHED_IDLE} 2"]


def test_without_the_class_it_is_as_nice_as_can_be() -> None:
    assert said(ELSEWHERE) == "19\n"
