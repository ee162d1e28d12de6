"""How far a process stands back: threads that are begun afterwards do too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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


SESSION = """
import os
from pathlib import Path
from actors.priority import take_what_is_left
take_what_is_left()
take_what_is_left()
print(os.getsid(0) == os.getpid() == os.getpgid(0), Path("/proc/self/autogroup").read_text().split()[-2:])
"""


def said(program: str, **how: Any) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, **how
    ).stdout


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="Linux has it")
def test_what_is_left() -> None:
    assert said(SAID).splitlines() == ["2", f"{os.SCHED_IDLE} 2"]


def test_without_the_class_it_is_as_nice_as_can_be() -> None:
    assert said(ELSEWHERE) == "19\n"


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel shares nothing out among sessions")
@pytest.mark.parametrize("group", [None, 0])
def test_it_is_a_session_as_nice_as_can_be(group: int | None) -> None:
    """Also where it leads a group, as Ray's workers do."""
    assert said(SESSION, process_group=group) == "True ['nice', '19']\n"
