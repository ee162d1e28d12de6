"""The planner against a simulated clock: what is due, missed, retried, stopped, lost; and as properties, beside an oracle."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.jobs.cron import when
from cluster.jobs.job import CatchUp, Job, checked
from cluster.jobs.planner import ATTEMPTS_MAX, GRACE_S, LOST_MAX
from cluster.jobs.run import Run, State, Trigger, Why
from cluster.operations.errors import Invalid
from tests.cluster.jobs.simulated import DAY, HOUR, MINUTE, SECOND, ModelRay, World

NOON = when("2026-06-01T12:00Z")


def job(name: str = "nightly", cron: str = "0 * * * *", **further: object) -> Job:
    return replace(Job(name, "train", {"a": 1}, cron, since_ms=NOON, by="ada"), **further)  # type: ignore[arg-type]


def done(run: Run, now_ms: int) -> Run:
    return replace(run, state=State.done, ended_ms=now_ms)


def world(*jobs: Job, **ray: object) -> World:
    return World({one.name: one for one in jobs}, ModelRay(**ray), done)  # type: ignore[arg-type]


def told(found: World) -> list[tuple[str, int]]:
    return [
        (run.state.value, (run.due_ms - NOON) // MINUTE) for run in sorted(found.runs.values(), key=lambda r: r.due_ms)
    ]


def go(found: World, until_ms: int, step_ms: int = 5 * SECOND) -> None:
    now = max(found.ray.now_ms, NOON)
    while now < until_ms:
        now += step_ms
        found.step(now)


def test_it_is_run_when_it_is_due_and_only_once() -> None:
    found = world(job())
    go(found, NOON + 3 * HOUR + MINUTE)
    assert told(found) == [("done", 60), ("done", 120), ("done", 180)]
    assert len(found.ray.submitted) == 3
    assert found.ray.submitted[0] == "nightly-20260601T130000Z-1"
    assert [run.number for run in found.runs.values()] == [1, 2, 3]
    assert {run.trigger for run in found.runs.values()} == {Trigger.schedule}


@pytest.mark.parametrize(
    ("policy", "most", "found"),
    [
        (CatchUp.none, 10, [("skipped", 300), ("done", 360)]),
        (CatchUp.last, 10, [("skipped", 240), ("done", 300), ("done", 360)]),
        (CatchUp.all, 3, [("skipped", 120), ("done", 180), ("done", 240), ("done", 300), ("done", 360)]),
        (CatchUp.all, 10, [("done", n) for n in (60, 120, 180, 240, 300, 360)]),
    ],
)
def test_times_that_nobody_was_there_for(policy: CatchUp, most: int, found: list[tuple[str, int]]) -> None:
    late = world(job(catch_up=policy, catch_up_max=most))
    late.step(NOON)
    late.ray.now_ms = NOON + 5 * HOUR + 10 * MINUTE
    go(late, NOON + 6 * HOUR + MINUTE)
    assert told(late) == found


def test_a_run_within_the_grace_is_on_time() -> None:
    late = world(job(catch_up=CatchUp.none))
    late.step(NOON + HOUR + round(GRACE_S * 1000))
    assert told(late) == [("starting", 60)]


def test_what_becomes_due_while_a_run_is_not_over_is_missed() -> None:
    long = world(job(catch_up=CatchUp.last, timeout_s=9999), takes_ms=lambda _: 150 * MINUTE)
    go(long, NOON + 4 * HOUR, MINUTE)
    assert told(long)[:3] == [("done", 60), ("skipped", 120), ("running", 180)]
    never = world(job(catch_up=CatchUp.none, timeout_s=99999), takes_ms=lambda _: 150 * MINUTE)
    go(never, NOON + 4 * HOUR + 10 * MINUTE, MINUTE)
    assert told(never) == [("done", 60), ("skipped", 180), ("running", 240)]


def test_one_that_fails_is_tried_again_with_longer_and_longer_waits() -> None:
    found = world(job(retries=2, backoff_s=30), fails=lambda _: True)
    go(found, NOON + HOUR + 30 * MINUTE)
    run = next(iter(found.runs.values()))
    assert (run.state, run.failures, run.attempt, run.error) == (State.failed, 3, 3, "exit code 1")
    assert found.ray.submitted == [f"nightly-20260601T130000Z-{n}" for n in (1, 2, 3)]
    waits = [one.at_ms - (one.started_ms or 0) for one in found.past if one.state is State.waiting and one.failures]
    assert waits == [40 * SECOND, 70 * SECOND]
    assert told(found) == [("failed", 60)]


def test_one_that_ends_well_without_a_result_has_failed() -> None:
    silent = World({"nightly": job(retries=0)}, ModelRay(), lambda run, _: run)
    go(silent, NOON + HOUR + MINUTE)
    assert next(iter(silent.runs.values())).error == "it ended without saying what has come of it"


def test_an_attempt_that_takes_too_long_is_stopped_and_tried_again() -> None:
    slow = world(job(retries=1, timeout_s=60), takes_ms=lambda one: HOUR if one.endswith("-1") else SECOND)
    go(slow, NOON + HOUR + 5 * MINUTE)
    run = next(iter(slow.runs.values()))
    assert (run.state, run.failures, run.why) == (State.done, 1, Why.none)
    assert slow.ray.stopped
    stopping = next(one for one in slow.past if one.state is State.stopping)
    assert stopping.why is Why.timeout
    assert next(one for one in slow.past if one.failures).error == "not done within 60 s"


def test_one_that_is_to_be_stopped_is_asked_again_until_it_has_and_is_cancelled() -> None:
    found = world(job(), takes_ms=lambda _: HOUR)
    go(found, NOON + HOUR + MINUTE)
    run = next(iter(found.runs.values()))
    found.keep(replace(run, state=State.stopping, why=Why.cancelled))
    assert [do.what for do in found.step(NOON + HOUR + 2 * MINUTE)] == ["stop"]
    found.step(NOON + HOUR + 3 * MINUTE)
    assert told(found) == [("cancelled", 60)]


def test_one_that_somebody_stopped_in_ray_is_cancelled() -> None:
    found = world(job(), takes_ms=lambda _: HOUR)
    go(found, NOON + HOUR + MINUTE)
    found.ray.stop(next(iter(found.ray.started)))
    go(found, NOON + HOUR + 2 * MINUTE)
    assert told(found) == [("cancelled", 60)]


def test_a_run_of_a_ray_that_has_ended_is_lost_and_goes_on_as_a_further_attempt() -> None:
    found = world(job(), takes_ms=lambda _: 10 * MINUTE)
    go(found, NOON + HOUR + 5 * MINUTE)
    found.ray.ends()
    go(found, NOON + HOUR + 30 * MINUTE)
    run = next(iter(found.runs.values()))
    assert (run.state, run.attempt, run.failures, run.lost) == (State.done, 2, 0, 1)
    assert found.ray.submitted == ["nightly-20260601T130000Z-1", "nightly-20260601T130000Z-2"]


def test_one_that_is_lost_again_and_again_is_given_up() -> None:
    found = world(job(), takes_ms=lambda _: DAY)
    now = NOON + HOUR
    for _ in range(3 * (LOST_MAX + 2)):
        now += SECOND
        found.step(now)
        found.step(now + 1)
        found.ray.ends()
    assert told(found)[0] == ("failed", 60)


def test_a_scheduler_that_dies_between_the_record_and_the_submission_submits_once() -> None:
    found = world(job())
    found.crash = True
    found.step(NOON + HOUR)
    assert (told(found), found.ray.submitted) == ([("starting", 60)], [])
    found.step(NOON + HOUR + SECOND)
    found.step(NOON + HOUR + 2 * SECOND)
    assert found.ray.submitted == ["nightly-20260601T130000Z-1"]


def test_while_ray_does_not_answer_nothing_is_taken_for_lost() -> None:
    found = world(job(), takes_ms=lambda _: 10 * MINUTE)
    go(found, NOON + HOUR + 5 * MINUTE)
    found.answers = False
    go(found, NOON + HOUR + 20 * MINUTE)
    assert told(found) == [("running", 60)]
    found.answers = True
    go(found, NOON + HOUR + 21 * MINUTE)
    assert (told(found), len(found.ray.submitted)) == ([("done", 60)], 1)


def test_one_that_ray_does_not_take_fails_in_the_end() -> None:
    found = world(job(retries=0))
    found.ray.submit = lambda _: None  # type: ignore[method-assign]
    go(found, NOON + HOUR + 6 * MINUTE)
    assert next(iter(found.runs.values())).error == "Ray has not taken it within 300 s"


def test_only_so_many_run_at_once_and_the_others_wait() -> None:
    many = world(*(job(f"j{n}") for n in range(ATTEMPTS_MAX + 2)), takes_ms=lambda _: MINUTE)
    many.step(NOON + HOUR)
    assert sorted(state for state, _ in told(many)) == ["starting"] * ATTEMPTS_MAX + ["waiting"] * 2
    go(many, NOON + HOUR + 5 * MINUTE)
    assert {state for state, _ in told(many)} == {"done"}


def test_through_daylight_saving_both_ways_the_nightly_job_runs_every_night() -> None:
    for first, hours in (("2026-03-28", [1.5, 1, 0.5]), ("2026-10-24", [0.5, 0.5, 1.5])):
        day = when(f"{first}T00:00Z")
        nightly = world(job(cron="30 2 * * *", zone="Europe/Berlin", since_ms=day))
        for now in range(day, day + 3 * DAY, 10 * MINUTE):
            nightly.step(now)
        assert [(run.due_ms - day) / HOUR % 24 for run in nightly.runs.values()] == hours
        assert {run.state for run in nightly.runs.values()} == {State.done}


@pytest.mark.slow
@settings(max_examples=150)
@given(st.integers(0, 2**32), st.sampled_from(list(CatchUp)), st.integers(1, 4), st.booleans())
def test_every_time_is_run_or_passed_over_once_whatever_happens(
    seed: int, policy: CatchUp, most: int, far: bool
) -> None:
    """Steps at odd times, long pauses, crashes between record and effect, a Ray that ends or does not answer, failures."""
    random = Random(seed)
    zone = "Europe/Berlin"
    start = when("2026-03-28T18:00Z") if far else when("2026-10-24T18:00Z")
    defined = job(
        cron=random.choice(["*/15 * * * *", "10,40 * * * *", "30 1-3 * * *"]), zone=zone, since_ms=start,
        catch_up=policy, catch_up_max=most, retries=1, timeout_s=3600.0,
    )  # fmt: skip
    found = world(
        defined,
        takes_ms=lambda one: 1 + crc32(one.encode()) % (40 * MINUTE),
        fails=lambda one: crc32(one.encode()) % 7 == 0,
    )
    now = start
    while now < start + 14 * HOUR:
        now += random.choice([SECOND, MINUTE, 10 * MINUTE] + [3 * HOUR] * (random.random() < 0.1))
        found.answers = random.random() > 0.05
        found.crash = random.random() < 0.05
        if random.random() < 0.02:
            found.ray.ends()
        found.step(now)
    assert defined.schedule is not None
    times = set(defined.schedule.newest(start, now, 10_000))
    runs = sorted(found.runs.values(), key=lambda run: run.due_ms)
    dues = [run.due_ms for run in runs]
    assert set(dues) <= times
    twice = len(found.ray.submitted) - len(set(found.ray.submitted))
    assert twice <= found.ray.lives, "an attempt was submitted twice to the same Ray"
    begun = [run for run in runs if run.state is not State.skipped]
    assert [run.number for run in begun] == list(range(1, len(begun) + 1))
    order = [run.id for run in found.past if run.attempt == 1 and run.state is State.starting]
    assert list(dict.fromkeys(order)) == [run.id for run in begun], "in the order of their times"
    for one, after in pairwise(runs):  # between two records that follow each other nothing is left out
        if after.state is not State.skipped:
            assert not [time for time in times if one.due_ms < time < after.due_ms], (
                "a time is neither run nor passed over"
            )
    if policy is CatchUp.all and most == 4 and not any(run.state is State.skipped for run in runs):
        assert set(dues) | {time for time in times if time > max(dues, default=0)} == times


def test_a_job_that_cannot_be_is_refused() -> None:
    good = job()
    assert checked(good, NOON) == good
    assert Job.of_record(good.to_record()) == good
    for wrong, said in (
        ({"name": "No"}, "name 'No'"),
        ({"cron": "x"}, "five fields"),
        ({"retries": 21}, "retries = 21: from 0 to 20"),
        ({"timeout_s": 0.5}, "timeout_s"),
        ({"parameters": {"x": "y" * 70_000}}, "bytes, more than"),
        ({"parameters": {"x": float("nan")}}, "parameters"),
        ({"parameters": {"x": object()}}, "parameters"),
    ):
        with pytest.raises(Invalid, match=said):
            checked(replace(good, **wrong), NOON)  # type: ignore[arg-type]


def test_a_run_goes_there_and_back() -> None:
    found = world(job(retries=0), fails=lambda _: True)
    go(found, NOON + HOUR + MINUTE)
    for run in found.past:
        assert Run.of_record(run.to_record()) == run
    told = found.past[-1].told()
    assert (told["id"], told["state"], told["error"]) == ("nightly-20260601T130000Z", "failed", "exit code 1")
