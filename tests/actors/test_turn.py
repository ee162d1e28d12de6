"""A turn passes on whatever becomes of the process that has it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

from actors.turn import Turn

pytestmark = pytest.mark.processes

CHILD = "import sys, time; from actors.turn import Turn; turn = Turn(sys.argv[1]); print(turn.take(), flush=True); time.sleep(99)"
PATIENCE_S = 60.0


@pytest.fixture
def place() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def holder(place: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", CHILD, place], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "True\n"
        yield child
        child.kill()


def test_a_process_that_is_stopped_is_ended_by_who_stands_by(holder: subprocess.Popen[str], place: str) -> None:
    ours = Turn(place)
    assert not ours.take()
    os.kill(holder.pid, signal.SIGSTOP)
    assert ours.holder() == holder.pid
    assert ours.end_holder() == holder.pid
    assert holder.wait(PATIENCE_S) == -signal.SIGKILL
    assert ours.take()
    ours.leave()


def test_a_death_frees_the_turn(holder: subprocess.Popen[str], place: str) -> None:
    ours = Turn(place)
    holder.kill()
    holder.wait(PATIENCE_S)
    assert ours.holder() is None
    assert ours.end_holder() is None
    assert ours.take()
    ours.leave()


def test_who_has_the_turn_does_not_end_itself(place: str) -> None:
    ours = Turn(place)
    assert ours.take()
    assert ours.end_holder() is None
    ours.leave()


def test_more_looks_than_are_kept_waiting_tell_nothing_and_hang_nobody(place: str) -> None:
    ours, theirs = Turn(place), Turn(place)
    assert ours.take()
    told = [theirs.holder() for _ in range(200)]
    assert told[0] == os.getpid()
    assert told[-1] is None
    ours.leave()
