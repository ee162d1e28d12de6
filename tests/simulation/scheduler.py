"""Many processes in one, under one seed: who runs next, and what breaks, is decided by one random; time is virtual.

Theory of operation
-------------------
A *task* is a greenlet: plain blocking code, as in production. It gives way only where it does something with the log (a *phase*,
`Process.at`) or waits. Then the scheduler picks the next task among those that are ready; if none is, time jumps to the next that
will be. A *process* is a set of tasks that live, freeze and die together: an owner and the thread that commits for it.

What a process does at a phase may fail: `chances` by name, several times larger at the phases in `HOT`. `crash`: the process is
gone at once, in all its tasks. `broken`: the call raises ReopenError. `freeze`: nothing of the process runs for a while, then it
goes on as if nothing had been (SIGSTOP, a long pause, a node that is cut off). Everything is written down in `trace`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, TypeVar

from greenlet import getcurrent, greenlet

from actors.errors import ReopenError
from tests.simulation.model import Crash, Runtime

SWITCH_CHANCE = 0.4  # of a phase to let others run first
PHASE_S = 0.002  # that it takes then, at most
FREEZE_MAX_S = 40.0
HOT = {
    "init": 6.0,
    "end of deals": 3.0,
    "end of state": 3.0,
    "flush": 3.0,
    "before commit": 5.0,
    "commit answered": 5.0,
}

T = TypeVar("T")


class Event(NamedTuple):
    """A line of the trace."""

    time: float
    process: str
    what: str

    def __str__(self) -> str:
        return f"{self.time:9.3f}  {self.process:<18}  {self.what}"


class Awaited(Future[T]):
    """The result of a task. Whoever asks for it waits in virtual time."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler

    def result(self, timeout: float | None = None) -> T:
        if not self.done():
            self._scheduler.wait(math.inf if timeout is None else timeout, self)
        if not self.done():
            raise TimeoutError
        return super().result(0)


@dataclass(eq=False, slots=True)
class Task:
    process: Process
    greenlet: greenlet
    wake_at: float = 0.0
    future: Future | None = None  # it waits for this, at most until wake_at


class Process(Runtime):
    """An operating system's process."""

    def __init__(self, scheduler: Scheduler, name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen_until = 0.0
        self._scheduler = scheduler

    def at(self, phase: str) -> None:
        self._scheduler.phase(self, phase)

    def spawn(self, work: Callable[[], T]) -> Future[T]:
        return self._scheduler.spawn(self, work)

    def kill(self) -> None:
        """End it, at once."""
        if not self.dead:
            self.dead = True
            self._scheduler.note(self.name, "is dead")


@dataclass
class Scheduler:
    """The one that decides. It is the clock of all processes, too."""

    random: Random
    chances: Mapping[str, float] = field(default_factory=dict)
    time: float = 0.0
    trace: list[Event] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)  # fault and phase → how often
    switches: int = 0
    _tasks: list[Task] = field(default_factory=list)
    _running: Task | None = None

    # ---- what processes call

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.wait(seconds)

    def phase(self, process: Process, phase: str) -> None:
        """Let a process do its next thing, or let it fail."""
        if process.dead:
            raise Crash(process.name)
        self.note(process.name, phase)
        random, chances = self.random, self.chances
        if chances:
            draw = random.random() / HOT.get(phase, 1.0)
            for fault in ("crash", "broken", "freeze"):
                draw -= chances.get(fault, 0.0)
                if draw < 0:
                    self._fail(process, phase, fault)
                    break
        if random.random() < SWITCH_CHANCE:
            self.wait(PHASE_S * random.random())

    def _fail(self, process: Process, phase: str, fault: str) -> None:
        self.met[f"{fault} at {phase.partition(':')[0]}"] += 1
        if fault == "crash":
            process.kill()
            raise Crash(process.name)
        self.note(process.name, fault)
        if fault == "broken":
            raise ReopenError(f"{phase}: the connection broke")
        process.frozen_until = self.time + self.random.choice((0.5, 5.0, FREEZE_MAX_S)) * self.random.random()

    def wait(self, seconds: float, future: Future | None = None) -> None:
        """Let others run until so much time has passed, or the future is done."""
        task = self._running
        assert task is not None, "only tasks wait"
        task.wake_at, task.future = self.time + seconds, future
        task.greenlet.parent.switch()
        if task.process.dead:
            raise Crash(task.process.name)
        task.future = None

    def spawn(self, process: Process, work: Callable[[], T]) -> Future[T]:
        """Run something as a task of a process; return what will come of it."""
        future: Awaited[T] = Awaited(self)

        def run() -> None:
            try:
                future.set_result(work())
            except Crash:
                return
            except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
                future.set_exception(error)

        self._tasks.append(Task(process, greenlet(run), self.time))
        return future

    def note(self, process: str, what: str) -> None:
        self.trace.append(Event(self.time, process, what))

    # ---- what drives it

    def run(self, until: Callable[[], bool], time_max: float) -> bool:
        """Let tasks run until a condition holds; return whether it did before the time was over."""
        while not until():
            task = self._next()
            if task is None or self.time > time_max:
                return False
            self._resume(task)
        return True

    def _next(self) -> Task | None:
        """Pick one of the tasks that are ready; if none is, let time jump to the next that will be."""
        ready, nearest = self._ready()
        if not ready:
            if nearest == math.inf:
                return None
            self.time = nearest
            ready, _ = self._ready()
        return ready[int(self.random.random() * len(ready))]

    def _ready(self) -> tuple[list[Task], float]:
        """Return the tasks that are ready now, and when the next of the others will be."""
        now, nearest = self.time, math.inf
        ready = []
        for task in self._tasks:
            process, future = task.process, task.future
            at = now if process.dead or (future is not None and future.done()) else task.wake_at
            if process.frozen_until > at and not process.dead:
                at = process.frozen_until
            if at <= now:
                ready.append(task)
            elif at < nearest:
                nearest = at
        return ready, nearest

    def _resume(self, task: Task) -> None:
        self.switches += 1
        self._running = task
        task.greenlet.parent = getcurrent()
        task.greenlet.switch()
        self._running = None
        if task.greenlet.dead:
            self._tasks.remove(task)

    def close(self) -> None:
        """End every task."""
        for task in self._tasks:
            task.process.dead = True
        while self._tasks:
            self._resume(self._tasks[0])
