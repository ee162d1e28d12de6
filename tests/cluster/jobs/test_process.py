"""The process of an attempt: what it says, and to whom, by how the work ends."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from pydantic import BaseModel

from actors.errors import ReopenError
from actors.kafka.client import Cluster
from cluster.jobs import process
from cluster.jobs.actor import Assignment, Settings
from cluster.jobs.book import NotWanted
from cluster.jobs.job import Job
from cluster.jobs.kinds import KINDS, Kind, check
from cluster.jobs.kinds.rejudge import RejudgeParameters
from cluster.jobs.run import Run, State, Trigger
from cluster.jobs.stage import Outcome, Stage, end_in_order
from cluster.operations.bounds import EARLIEST, LATEST
from cluster.operations.errors import Conflict, Invalid
from cluster.ray_address import own_signal_handlers

ATTEMPT = "nightly-20260601T130000Z-1"
RUN = Run("nightly", 1_780_318_800_000, 1, Trigger.hand, "scripted", {}, "ada", State.running, attempt=1)


class Desk(process.RemoteDesk):
    """A scheduler that the test holds in its hand."""

    def __init__(self, wanted: bool = True) -> None:
        super().__init__("quality")
        self.wanted = wanted
        self.said: list[tuple[Any, ...]] = []

    def ask(self, method: str, *arguments: Any) -> Any:
        self.said.append((method, *arguments))
        if not self.wanted:
            raise NotWanted(f"{ATTEMPT} is not wanted any more")
        return {"assignment": Assignment(Settings(Cluster(""), "quality", ""), RUN), "swap": RUN}.get(method)


def attempt(monkeypatch: pytest.MonkeyPatch, desk: Desk, run: Any) -> int:
    monkeypatch.setattr(process, "KINDS", {"scripted": Kind(BaseModel, run)})
    return process.attempt(desk, ATTEMPT)


def test_what_has_come_of_it_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(stage: Stage) -> Outcome:
        stage.tell(1, 2, "half")
        stage.note(a=1)
        assert (stage.notes, stage.author) == ({"a": 1}, "job nightly")
        assert stage.swap({"m": 1}, 3) == []
        return Outcome("all of it", {"rows": 1})

    desk = Desk()
    assert attempt(monkeypatch, desk, run) == 0
    assert desk.said == [
        ("assignment", ATTEMPT),
        ("tell", ATTEMPT, 1, 2, "half"),
        ("note", ATTEMPT, {"a": 1}),
        ("swap", ATTEMPT, {"m": 1}, 3),
        ("finished", ATTEMPT, "all of it", {"rows": 1}),
    ]
    assert capsys.readouterr().out == "all of it\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Conflict("it is there already"), "it is there already"),
        (ReopenError("no broker"), "no broker"),
        (KeyError("a bug"), "KeyError: 'a bug'"),
    ],
)
def test_why_it_failed_is_said(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    def run(_: Stage) -> Outcome:
        raise error

    desk = Desk()
    assert attempt(monkeypatch, desk, run) == process.FAILED
    assert desk.said[-1] == ("failing", ATTEMPT, said)


def test_an_attempt_that_is_not_wanted_any_more_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert attempt(monkeypatch, Desk(wanted=False), lambda _: Outcome("", {})) == process.NOT_WANTED


def test_a_process_that_is_told_to_end_unwinds() -> None:
    with own_signal_handlers():
        end_in_order()
        with pytest.raises(SystemExit, match="143"):
            os.kill(os.getpid(), signal.SIGTERM)


def test_the_stretch_of_a_run_may_follow_from_when_it_is_due() -> None:
    def bounds(**given: Any) -> Any:
        return RejudgeParameters.model_validate(given).bounds(100_000)

    assert bounds() == (EARLIEST, LATEST)
    assert [bound.time_ms for bound in bounds(last_s=60)] == [40_000, 100_000]
    assert [bound.event_time_ms for bound in bounds(last_s=600, event_time=True)] == [0, 100_000]
    assert bounds(**{"from": "7", "to": "9"})[0].offset == 7


def test_a_kind_checks_its_parameters() -> None:
    check(Job("x", "limits", {"series": ["*"]}))
    assert sorted(KINDS) == ["limits", "rejudge", "train"]
    for kind, parameters, said in (
        ("dance", {}, "there are rejudge, limits, train"),
        ("limits", {"series": []}, "limits: series: "),
        ("rejudge", {"limits": "none", "more": 1}, "rejudge: more: "),
        ("rejudge", {"to": "5", "last_s": 5}, "either last_s"),
        ("train", {"model": "pca"}, "either vector or series"),
        ("train", {"model": "pca", "series": "s"}, "fitted to a vector"),
        ("train", {"model": "pca", "vector": "v", "rows": 5, "last_s": 5}, "either rows or last_s"),
        ("train", {"model": "pca", "vector": "v", "parameters": {"x": 1}}, "x: pca has"),
        ("train", {"model": "isolation-forest", "vector": "v"}, "wants a seed"),
        ("rejudge", {"limits": [{"series": "s", "sigma": -1}]}, "limits.*sigma"),
    ):
        with pytest.raises(Invalid, match=said):
            check(Job("x", kind, parameters))
