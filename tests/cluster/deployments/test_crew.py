"""Asking again where Kafka does not say yet."""

from __future__ import annotations

import pytest

from actors.errors import ReopenError
from cluster.deployments.crew import answered


class Coordinator:
    """One that moves: it does not answer `silent` times."""

    def __init__(self, silent: int) -> None:
        self.silent = silent

    def ask(self) -> dict[int, int]:
        if self.silent:
            self.silent -= 1
            raise ReopenError("NOT_COORDINATOR")
        return {0: 7}


def test_a_coordinator_that_moves_is_asked_again() -> None:
    assert answered(Coordinator(3).ask, again_s=0) == {0: 7}


def test_one_that_stays_silent_is_given_up() -> None:
    silent = Coordinator(10**9)
    with pytest.raises(ReopenError, match="NOT_COORDINATOR"):
        answered(silent.ask, within_s=0, again_s=0)
    assert 10**9 - silent.silent <= 2
