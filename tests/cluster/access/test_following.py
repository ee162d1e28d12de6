"""Following the keys: whatever goes wrong it begins again, and it says how it does."""

from __future__ import annotations

import logging
import threading

import pytest

from cluster.access import following as module
from cluster.access.book import Book
from cluster.access.following import Following
from cluster.access.secret import Secret
from cluster.api.problems import Unavailable
from tests.cluster.access.conftest import NothingRuns

SECRET = Secret("0123456789abcdef0123456789abcdef")


class Scripted(Following):
    """Reads nothing; the first time it does that wrongly."""

    def __init__(self) -> None:
        super().__init__(NothingRuns.cluster, SECRET, clock=lambda: self.now_s)
        self.now_s = 100.0
        self.read = threading.Event()
        self.times = 0

    def _follow(self) -> None:
        self.times += 1
        if self.times == 1:
            raise KeyError("a bug")
        self._book, self._proved_s, self.trouble = Book(SECRET), self.now_s, None
        self.read.set()
        self._over.wait(20)


def test_what_nobody_thought_of_does_not_end_it_unseen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    following = Scripted()
    with pytest.raises(Unavailable, match="keys are not read yet"):
        following.how()
    with caplog.at_level(logging.ERROR):
        following.start()
        assert following.read.wait(20)
    assert "KeyError: 'a bug'" in caplog.text
    following.now_s += 7
    following.trouble = "no broker"
    assert following.how() == "0 keys, all read 7 s ago; no broker"
    following.stop()
    with pytest.raises(Unavailable, match="nobody follows the keys any more"):
        following.how()
    following.now_s += module.STALE_S
    with pytest.raises(Unavailable, match=r"nothing heard of quality\.access for 60 s"):
        following.how()
