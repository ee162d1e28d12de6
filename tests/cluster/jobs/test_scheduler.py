"""The scheduler on the model of the log (tests/simulation) and one of Ray's Jobs API: written first, done then, found again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

import pytest

from actors.engine.position import Record
from actors.errors import FencedError, ReopenError
from cluster.jobs import book as book_module
from cluster.jobs import scheduler as module
from cluster.jobs.book import JOBS_MAX, NotWanted
from cluster.jobs.cron import when
from cluster.jobs.job import Job
from cluster.jobs.journal import RECORDS, Journal
from cluster.jobs.planner import Seen
from cluster.jobs.run import Run
from cluster.jobs.scheduler import RayUnavailableError, Scheduler
from cluster.operations.errors import Absent, Conflict, Invalid, TooMany
from tests.cluster.jobs.simulated import HOUR, MINUTE, SECOND, ModelRay
from tests.cluster.served import wait_for
from tests.simulation.broker import Broker
from tests.simulation.line import Plain, read
from tests.simulation.model import ModelLog, VirtualClock

TOPIC = "jobs"
NOON = when("2026-06-01T12:00Z")


class Submissions:
    """The Jobs API over the model of Ray."""

    def __init__(self, ray: ModelRay) -> None:
        self.ray, self.away, self.deaf = ray, False, False

    def look(self, submission_ids: Sequence[str]) -> Mapping[str, Seen]:
        self._check(self.away)
        return self.ray.look(list(submission_ids))

    def submit(self, run: Run) -> None:
        self._check(self.away or self.deaf)
        self.ray.submit(run.submission_id)

    def stop(self, submission_id: str) -> None:
        self._check(self.away or self.deaf)
        self.ray.stop(submission_id)

    @staticmethod
    def _check(away: bool) -> None:
        if away:
            raise RayUnavailableError("nobody there")


class Desk:
    """A broker in memory, a Ray, and schedulers that come and go between them; time goes where the test puts it."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.broker = Broker(self.clock, Random(1))
        self.broker.create(TOPIC, 1)
        self.ray = ModelRay(takes_ms=lambda _: 10 * MINUTE)
        self.submissions = Submissions(self.ray)
        self.away: Exception | None = None
        self.set(NOON)

    def set(self, now_ms: int) -> None:
        self.now_ms = self.ray.now_ms = now_ms

    def journal(self, pipeline: str = "quality") -> Journal:
        if self.away is not None:
            raise self.away
        encoders = dict.fromkeys(RECORDS.values(), Plain())
        return Journal(ModelLog(self.broker, self.clock), pipeline, TOPIC, encoders, read)  # type: ignore[arg-type]

    def start(self, pipeline: str = "quality") -> Scheduler:
        made = Scheduler(lambda: self.journal(pipeline), self.submissions, lambda: self.now_ms)
        assert made.boot()
        return made

    def turn(self, scheduler: Scheduler, minutes: float = 0.0) -> None:
        self.set(self.now_ms + round(minutes * MINUTE))
        scheduler.turn()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def job(name: str = "nightly", cron: str = "0 * * * *") -> Job:
    return Job(name, "train", {"x": 1}, cron, by="ada")


def newest(scheduler: Scheduler, name: str = "nightly") -> dict[str, Any]:
    found: dict[str, Any] = scheduler.history(name, 1)["items"][0]
    return found


def test_from_defined_to_done(desk: Desk) -> None:
    scheduler = desk.start()
    told = scheduler.schedule(job())
    assert (told["next_ms"], told["revision"], told["newest"], told["current"]) == (NOON + HOUR, 1, None, None)
    desk.turn(scheduler, 60)
    attempt = "nightly-20260601T130000Z-1"
    assert list(desk.ray.started) == [attempt]
    desk.turn(scheduler, 1)
    assert newest(scheduler)["state"] == "running"
    assert scheduler.assignment(attempt).parameters == {"x": 1}
    scheduler.tell(attempt, 1, 4, "fits\na model")
    assert (newest(scheduler)["progress"], newest(scheduler)["what"]) == (0.25, "fits a model")
    scheduler.note(attempt, {"a": 1})
    scheduler.note(attempt, {"b": 2})
    assert scheduler.swap(attempt, {"artefact": "d"}, 3).notes == {"a": 1, "b": 2, "dropped": []}
    assert scheduler.swap(attempt, {"artefact": "e"}, 3).notes == {"a": 1, "b": 2, "dropped": []}, "once"
    scheduler.finished(attempt, "all of it", {"rows": 3})
    done = newest(scheduler)
    assert (done["state"], done["progress"], done["what"], done["result"]) == ("done", 1.0, "all of it", {"rows": 3})
    current = scheduler.current("nightly")
    assert (current["version"], current["made"], current["run"]) == (1, {"artefact": "d"}, done["id"])
    for say in (lambda: scheduler.tell(attempt, 1, 1, ""), lambda: scheduler.finished(attempt, "", {})):
        with pytest.raises(NotWanted):
            say()
    page = scheduler.page(5)
    assert [(item["name"], item["newest"]["state"]) for item in page["items"]] == [("nightly", "done")]
    assert page["trouble"] == ""


def test_another_scheduler_goes_on_from_the_topic(desk: Desk) -> None:
    first = desk.start()
    first.schedule(job())
    first.schedule(job("by-hand", ""))
    desk.turn(first, 60)
    desk.turn(first, 1)
    other = desk.start("vectors")
    assert other.page(5)["items"] == [], "another pipeline's are not its"
    second = desk.start()
    assert [item["name"] for item in second.page(5)["items"]] == ["by-hand", "nightly"]
    desk.turn(second, 1)
    assert newest(second)["state"] == "running"
    assert len(desk.ray.submitted) == 1, "the run is found again, not submitted again"
    with pytest.raises(FencedError):
        first.schedule(job("late"))
    assert first.boot(), "one that was fenced reads the topic again"


def test_a_scheduler_that_could_not_tell_ray_does_it_when_it_can(desk: Desk) -> None:
    scheduler = desk.start()
    scheduler.schedule(job())
    desk.submissions.deaf = True
    desk.turn(scheduler, 60)
    assert (newest(scheduler)["state"], scheduler.trouble) == ("starting", "nobody there")
    second = desk.start()
    desk.submissions.deaf = False
    desk.turn(second)
    desk.turn(second)
    assert desk.ray.submitted == ["nightly-20260601T130000Z-1"]
    desk.submissions.away = True
    desk.turn(second, 1)
    assert (newest(second)["state"], second.trouble) == ("running", "nobody there")


def test_what_cannot_be_written_is_not_so(desk: Desk) -> None:
    scheduler = desk.start()
    desk.away = ReopenError("no broker")
    thief = ModelLog(desk.broker, desk.clock).writer("quality-jobs")
    thief.open()
    with pytest.raises(FencedError):
        scheduler.schedule(job())
    assert scheduler.boot()
    assert scheduler.page(5)["items"] == []
    unread = Scheduler(desk.journal, desk.submissions, lambda: desk.now_ms)
    assert (unread.boot(), unread.trouble) == (False, "no broker")


def test_it_is_not_ready_before_the_topic_is_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READY_S", 0.01)
    with pytest.raises(ReopenError, match="not read yet"):
        Scheduler(desk.journal, desk.submissions, lambda: desk.now_ms).page(1)


def test_by_hand_and_cancelled(desk: Desk) -> None:
    scheduler = desk.start()
    scheduler.schedule(job("by-hand", ""))
    run = scheduler.start("by-hand", "bob")
    assert (run["trigger"], run["by"], run["state"], run["number"]) == ("hand", "bob", "waiting", 1)
    with pytest.raises(Conflict, match="is waiting: wait for it"):
        scheduler.start("by-hand", "bob")
    with pytest.raises(Conflict, match="cancel it first"):
        scheduler.remove("by-hand")
    assert scheduler.cancel("by-hand")["state"] == "cancelled"
    second = scheduler.start("by-hand", "bob")
    assert (second["id"], second["number"]) == (f"{run['id'][:-1]}001Z", 2)
    desk.turn(scheduler)
    desk.turn(scheduler, 1)
    assert scheduler.cancel(second["id"])["state"] == "stopping"
    desk.turn(scheduler, 1)
    desk.turn(scheduler, 1)
    assert newest(scheduler, "by-hand")["state"] == "cancelled"
    assert scheduler.cancel(second["id"])["state"] == "cancelled", "it stays"
    with pytest.raises(Absent, match="no run of by-hand"):
        scheduler.cancel("by-hand")
    with pytest.raises(Absent, match="no job nothing"):
        scheduler.cancel("nothing")
    with pytest.raises(Absent, match="made nothing whole"):
        scheduler.current("by-hand")
    page = scheduler.history("by-hand", 1)
    assert [item["id"] for item in scheduler.history("by-hand", 5, page["next"])["items"]] == [run["id"]]
    for cursor in ("x", "1" * 16):
        with pytest.raises(ValueError, match="none of this list"):
            scheduler.history("by-hand", 1, cursor)
    assert scheduler.remove("by-hand")["name"] == "by-hand"
    with pytest.raises(Absent):
        desk.start().get("by-hand")


def test_an_attempt_says_why_it_fails_and_the_next_knows_what_it_noted(desk: Desk) -> None:
    desk.ray.fails = lambda one: one.endswith("-1")
    scheduler = desk.start()
    scheduler.schedule(job())
    desk.turn(scheduler, 60)
    attempt = "nightly-20260601T130000Z-1"
    scheduler.note(attempt, {"half": True})
    scheduler.failing(attempt, "no rows")
    desk.turn(scheduler, 11)
    waiting = newest(scheduler)
    assert (waiting["state"], waiting["error"], waiting["next_attempt_ms"]) == (
        "waiting",
        "no rows",
        desk.now_ms + 30_000,
    )
    desk.turn(scheduler, 1)
    assert scheduler.assignment("nightly-20260601T130000Z-2").notes == {"half": True}
    with pytest.raises(NotWanted, match="not wanted any more"):
        scheduler.assignment(attempt)


def test_versions_beyond_those_that_are_kept_are_dropped(desk: Desk) -> None:
    scheduler = desk.start()
    scheduler.schedule(job("by-hand", ""))
    dropped = []
    for _ in range(4):
        scheduler.start("by-hand", "bob")
        desk.turn(scheduler, 1)
        attempt = newest(scheduler, "by-hand")["submission_id"]
        dropped.append(scheduler.swap(attempt, {}, 2).notes["dropped"])
        scheduler.finished(attempt, "", {})
        desk.ray.started.clear()  # its process has ended too
    assert dropped == [[], [], [1], [2]]
    assert scheduler.current("by-hand")["versions"] == [3, 4]
    scheduler.remove("by-hand")
    scheduler.schedule(job("by-hand", ""))
    assert scheduler.start("by-hand", "bob")["number"] == 5, "what was made under that name stays"
    assert scheduler.get("by-hand")["current"]["version"] == 4


def test_limits_of_what_is_kept(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "RUNS_MAX", 3)
    monkeypatch.setattr(book_module, "JOBS_MAX", 2)
    scheduler = desk.start()
    scheduler.schedule(job())
    scheduler.schedule(job("other"))
    assert scheduler.schedule(job("other"))["revision"] == 2
    with pytest.raises(TooMany):
        scheduler.schedule(job("third"))
    assert JOBS_MAX > 2
    for _ in range(6):
        desk.turn(scheduler, 60)
        scheduler.finished(newest(scheduler)["submission_id"], "", {})
    desk.turn(scheduler, 60)
    assert len(scheduler.history("nightly", 10)["items"]) == 3
    assert len(desk.start().history("nightly", 10)["items"]) == 3
    with pytest.raises(Invalid, match="bytes, more than"):
        scheduler.note(newest(scheduler)["submission_id"], {"x": "y" * 300_000})
    with pytest.raises(Invalid, match="plain JSON"):
        scheduler.note(newest(scheduler)["submission_id"], {"x": float("nan")})


def test_progress_is_written_now_and_then(desk: Desk) -> None:
    scheduler = desk.start()
    scheduler.schedule(job())
    desk.turn(scheduler, 60)
    attempt = newest(scheduler)["submission_id"]
    desk.turn(scheduler, 1)
    for n in range(5):
        scheduler.tell(attempt, n, 10, "")
        desk.set(desk.now_ms + SECOND)
        scheduler.turn()
    scheduler.tell(attempt, 5, 10, "")
    desk.turn(scheduler, 1)
    assert newest(desk.start())["progress"] == 0.5


def test_a_record_that_cannot_be_read_is_left_where_it_is(desk: Desk) -> None:
    desk.start().schedule(job())
    writer = ModelLog(desk.broker, desk.clock).writer("other")
    writer.open()
    records = [
        Record(TOPIC, 0, key, Plain().encode({"pipeline": "quality"})) for key in (b"job|quality|x", b"new|quality|y")
    ]
    writer.commit(records, "", {}, None).result()
    assert [item["name"] for item in desk.start().page(5)["items"]] == ["nightly"]


@pytest.fixture
def turning(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scheduler]:
    monkeypatch.setattr(module, "TURN_S", 0.005)
    made = Scheduler(desk.journal, desk.submissions, lambda: desk.now_ms)
    made.run()
    yield made
    made.stop()


def test_its_thread_turns_by_itself_and_comes_back_from_a_broker_that_was_away(desk: Desk, turning: Scheduler) -> None:
    turning.schedule(job("by-hand", ""))
    turning.start("by-hand", "bob")
    wait_for(lambda: newest(turning, "by-hand")["state"] == "running", "it runs", 20)
    thief = ModelLog(desk.broker, desk.clock).writer("quality-jobs")
    thief.open()
    desk.set(desk.now_ms + 11 * MINUTE)
    wait_for(
        lambda: newest(turning, "by-hand")["state"] == "waiting", "it ended without a word, and is tried again", 20
    )


@pytest.mark.slow
def test_a_turn_that_fails_is_told_and_the_next_one_is_turned(
    desk: Desk, turning: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    turning.schedule(job("by-hand", ""))
    monkeypatch.setattr(desk.submissions, "submit", lambda _: {}["a bug"])
    turning.start("by-hand", "bob")
    wait_for(lambda: turning.page(1)["trouble"] == "KeyError: 'a bug'", "it is told", 20)
    monkeypatch.undo()
    wait_for(lambda: newest(turning, "by-hand")["state"] == "running", "it runs", 20)
