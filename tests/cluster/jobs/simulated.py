"""A Ray that runs jobs as a script says, and a clock that goes where the test puts it: what the planner is driven with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cluster.jobs.job import Job
from cluster.jobs.planner import Do, Seen, Sight, plan
from cluster.jobs.run import Run

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


@dataclass
class ModelRay:
    """What Ray's Jobs API promises: an id is taken once, and is known until its Ray ends."""

    takes_ms: Callable[[str], int] = lambda _: 10 * SECOND
    fails: Callable[[str], bool] = lambda _: False
    now_ms: int = 0
    started: dict[str, int] = field(default_factory=dict)
    stopped: dict[str, int] = field(default_factory=dict)
    submitted: list[str] = field(default_factory=list)  # all, whatever has become of the Ray that took them
    lives: int = 0  # Rays before this one

    def submit(self, submission_id: str) -> None:
        if submission_id not in self.started:
            alive = [one for one, seen in self.look(list(self.started)).items() if seen.sight is Sight.alive]
            assert submission_id.split("-", maxsplit=1)[0] not in [one.split("-")[0] for one in alive], (
                "two attempts of one job at once"
            )
            self.started[submission_id] = self.now_ms
            self.submitted.append(submission_id)

    def stop(self, submission_id: str) -> None:
        self.stopped.setdefault(submission_id, self.now_ms)

    def look(self, submission_ids: list[str]) -> dict[str, Seen]:
        return {one: self._seen(one) for one in submission_ids}

    def _seen(self, submission_id: str) -> Seen:
        if submission_id not in self.started:
            return Seen(Sight.absent)
        ends = self.started[submission_id] + self.takes_ms(submission_id)
        if submission_id in self.stopped and self.stopped[submission_id] < min(ends, self.now_ms):
            return Seen(Sight.stopped)
        if ends > self.now_ms:
            return Seen(Sight.alive)
        return Seen(Sight.failed, "exit code 1") if self.fails(submission_id) else Seen(Sight.succeeded)

    def ends(self) -> None:
        """The head is gone, and with it all it knew."""
        self.lives += 1
        self.started.clear()
        self.stopped.clear()


@dataclass
class World:
    """Jobs, runs as the topic has them, and a Ray; `step` is one turn of the scheduler."""

    jobs: dict[str, Job]
    ray: ModelRay
    done: Callable[[Run, int], Run]  # what a run that Ray has seen through becomes: it has told its result
    runs: dict[str, Run] = field(default_factory=dict)
    answers: bool = True  # Ray does
    crash: bool = False  # before the next effects
    past: list[Run] = field(default_factory=list)  # every state that a run was in

    def step(self, now_ms: int) -> list[Do]:
        self.ray.now_ms = now_ms
        at_ray = [run for run in self.runs.values() if run.state in ("starting", "running", "stopping")]
        seen: Mapping[str, Seen] | None = self.ray.look([run.submission_id for run in at_ray]) if self.answers else None
        for run in at_ray if seen is not None else ():
            if seen[run.submission_id].sight is Sight.succeeded:
                self.keep(self.done(run, now_ms))
        planned = plan(self.jobs.values(), self.runs.values(), seen, now_ms)
        for run in planned.runs:
            self.keep(run)
        if self.crash:
            self.crash = False
            return []
        for do in planned.does if self.answers else ():
            if do.what == "submit":
                self.ray.submit(do.run.submission_id)
            else:
                self.ray.stop(do.run.submission_id)
        return planned.does

    def keep(self, run: Run) -> None:
        self.runs[run.id] = run
        self.past.append(run)
        active = [one.job for one in self.runs.values() if one.active]
        assert len(set(active)) == len(active), "two runs of one job"
