"""What the witness notes of a process that writes, and how one is held."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from tests.faults import steering
from tests.faults.witness import Witness

WAIT_S = 10.0


def test_steps_are_noted_with_what_they_raised(tmp_path: Path) -> None:
    witness, since = Witness(str(tmp_path)), time.monotonic()
    with witness.during("produce"):
        witness.delivered(None)
        witness.delivered(KafkaError(KafkaError._PURGE_QUEUE))
    with pytest.raises(ValueError, match="fenced"), witness.during("commit"):
        raise ValueError("fenced")
    attempts = witness.attempts(os.getpid(), since)
    assert [(attempt.step, attempt.raised, attempt.succeeded) for attempt in attempts] == [
        ("produce", "", False),  # what is handed over is not written yet
        ("record", "", True),
        ("record", "_PURGE_QUEUE", False),
        ("commit", "ValueError: fenced", False),
    ]
    assert witness.attempts(os.getpid() + 1, since) == []


def test_what_had_ended_before_is_left_out_and_what_has_not_ended_is_not(tmp_path: Path) -> None:
    witness = Witness(str(tmp_path))
    with witness.during("produce"):
        pass
    since = time.monotonic()
    with witness.during("commit"):
        (attempt,) = witness.attempts(os.getpid(), since)
        assert (attempt.step, attempt.ended, attempt.succeeded) == ("commit", None, False)
    (attempt,) = witness.attempts(os.getpid(), since)
    assert attempt.succeeded


def test_the_first_that_comes_to_a_step_is_held_until_it_is_released(tmp_path: Path) -> None:
    witness, passed = Witness(str(tmp_path)), threading.Event()

    def write() -> None:
        for step in ("produce", "commit", "produce", "commit"):
            with witness.during(step):
                pass
        passed.set()

    witness.hold("commit")
    assert witness.held() is None
    writer = threading.Thread(target=write)
    writer.start()
    steering.wait(lambda: witness.held() is not None, "one is held", WAIT_S)
    assert witness.held() == os.getpid()
    assert [attempt.step for attempt in witness.attempts(os.getpid(), 0.0)] == ["produce"]
    assert not passed.is_set()
    witness.release()
    writer.join(WAIT_S)
    assert passed.is_set()
