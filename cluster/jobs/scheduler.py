"""The scheduler at work: it keeps the book in the topic, asks the planner what is next, and asks Ray to do it.

Theory of operation
-------------------
One thread turns once a second, and after every change: it asks Ray how the runs stand, plans (cluster/jobs/planner.py), writes
what has changed, and only then submits and stops. What people and runs want is written before it is answered; how far a run is,
every KEEP_S. What cannot be written is not so: the book is read from the topic again, which fences any other writer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from actors.errors import FencedError, ReopenError
from cluster.jobs.book import NOTHING, Book, Change
from cluster.jobs.job import Job
from cluster.jobs.journal import Journal
from cluster.jobs.planner import Seen, plan
from cluster.jobs.run import WITH_RAY, Run
from schemas.registry import RegistryUnavailable, SchemaRefused

_LOG = logging.getLogger("chipquality.jobs")

TURN_S = 1.0
KEEP_S = 5.0  # between two records of how far runs are
READY_S = 20.0  # for the topic to be read after a start
LOST = (ReopenError, FencedError, RegistryUnavailable, SchemaRefused)


class RayUnavailableError(RuntimeError):
    """Ray's Jobs API does not answer; the message says why."""


class Submissions(Protocol):
    """Ray's Jobs API, as the scheduler needs it. Every call ends, and may raise RayUnavailableError."""

    def look(self, submission_ids: Sequence[str]) -> Mapping[str, Seen]:
        """Return how submissions stand."""
        ...

    def submit(self, run: Run) -> None:
        """Have the newest attempt of a run begin; of one whose id is taken nothing comes."""
        ...

    def stop(self, submission_id: str) -> None:
        """Have it end."""
        ...


class Scheduler:
    """The jobs of one pipeline. Thread-safe."""

    def __init__(
        self,
        journal: Callable[[], Journal],
        submissions: Submissions,
        now_ms: Callable[[], int],
        check: Callable[[Job], None] = lambda _: None,
    ) -> None:
        self.trouble = "its topic is not read yet"
        self._make_journal = journal
        self._submissions = submissions
        self._now_ms = now_ms
        self._check = check  # raises Invalid for parameters that its kind does not know
        self._journal: Journal | None = None
        self._book = Book()
        self._progress: dict[str, Run] = {}  # newer than what is written, by id
        self._kept_ms = 0
        self._lock = threading.RLock()  # over all of these
        self._ready = threading.Event()
        self._wake = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go, name="scheduler", daemon=True)

    def run(self) -> None:
        """Begin to turn."""
        self._thread.start()

    def stop(self) -> None:
        """End; what Ray has goes on, and is found again."""
        self._over.set()
        self._wake.set()
        self._thread.join()

    # ---- what people want

    def schedule(self, job: Job) -> dict[str, Any]:
        """Have a job. Raises Invalid, TooMany; ReopenError if it cannot be kept."""
        self._check(job)
        with self._ready_book() as book:
            self._commit(book.schedule(job, self._now_ms()))
            return book.shown(book.job(job.name), self._now_ms())

    def remove(self, name: str) -> dict[str, Any]:
        """Have a job no more; return it as it was. Raises Absent, Conflict."""
        with self._ready_book() as book:
            told = book.job(name).told()
            self._commit(book.remove(name))
            return told

    def start(self, name: str, by: str) -> dict[str, Any]:
        """Run a job now; return the run. Raises Absent, Conflict."""
        with self._ready_book() as book:
            run = book.run(name, by, self._now_ms())
            self._commit(Change((run,)))
            return run.told()

    def cancel(self, name: str) -> dict[str, Any]:
        """Have a run end, named by its id or its job; return it. Raises Absent."""
        with self._ready_book() as book:
            run_id = name if name in book.runs else getattr(book.active(name), "id", name)
            self._commit(book.cancel(name, self._now_ms()))
            return book.runs[run_id].told()

    def page(self, limit: int, cursor: str | None = None) -> dict[str, Any]:
        """Return a page of jobs, and what stands in the scheduler's way."""
        with self._ready_book() as book:
            return {**book.page(limit, cursor, self._now_ms()), "trouble": self.trouble}

    def get(self, name: str) -> dict[str, Any]:
        """Return a job. Raises Absent."""
        with self._ready_book() as book:
            return book.shown(book.job(name), self._now_ms())

    def history(self, name: str, limit: int, cursor: str | None = None) -> dict[str, Any]:
        """Return a page of a job's runs, the newest first. Raises Absent, ValueError."""
        with self._ready_book() as book:
            return book.history(name, limit, cursor)

    def current(self, name: str) -> dict[str, Any]:
        """Return which version of what a job makes is the current one. Raises Absent."""
        with self._ready_book() as book:
            return book.alias(name).told()

    # ---- what runs say; all raise NotWanted for an attempt that is not wanted any more

    def assignment(self, submission_id: str) -> Run:
        """Return the run that an attempt is of."""
        with self._ready_book() as book:
            return book.at_ray(submission_id)

    def note(self, submission_id: str, notes: Mapping[str, Any]) -> None:
        """Keep what the attempts after this one have to know."""
        with self._ready_book() as book:
            self._commit(book.note(submission_id, notes))

    def swap(self, submission_id: str, made: Mapping[str, Any], keep: int) -> Run:
        """Have what a run has made be the current version; return the run, with what is dropped among its notes."""
        with self._ready_book() as book:
            self._commit(book.swap(submission_id, made, keep, self._now_ms()))
            return book.at_ray(submission_id)

    def tell(self, submission_id: str, done: int, of: int, what: str) -> None:
        """Say how far a run is."""
        with self._ready_book() as book:
            run = book.told(submission_id, done, of, what)
            book.apply(Change((run,)))
            self._progress[run.id] = run

    def finished(self, submission_id: str, what: str, result: Mapping[str, Any]) -> None:
        """Have a run be done."""
        with self._ready_book() as book:
            self._commit(book.finished(submission_id, what, result, self._now_ms()))

    def failing(self, submission_id: str, error: str) -> None:
        """Know why an attempt is about to end."""
        with self._ready_book() as book:
            self._commit(book.failing(submission_id, error))

    # ---- turning

    def turn(self) -> None:
        """Look, plan, write, do: once. Raises ReopenError and the like if it cannot be written."""
        with self._lock:
            looked_at = [run.submission_id for run in self._book.runs.values() if run.state in WITH_RAY]
        seen: Mapping[str, Seen] | None
        try:
            seen = self._submissions.look(looked_at) if looked_at else {}
            self.trouble = ""
        except RayUnavailableError as error:
            seen, self.trouble = None, str(error)
            _LOG.warning("scheduler: %s", error)
        with self._lock:
            now_ms = self._now_ms()
            planned = plan(self._book.jobs.values(), self._book.runs.values(), seen, now_ms)
            self._commit(self._with_progress(Change(tuple(planned.runs)), now_ms))
            self._commit(self._book.surplus())
        for do in planned.does:
            try:
                if do.what == "submit":
                    self._submissions.submit(do.run)
                else:
                    self._submissions.stop(do.run.submission_id)
            except RayUnavailableError as error:  # it is wanted at the next turn too
                self.trouble = str(error)
                _LOG.warning("scheduler: %s %s: %s", do.what, do.run.submission_id, error)

    def boot(self) -> bool:
        """Read what there is; return whether that was possible."""
        with self._lock:
            try:
                self._journal = self._journal or self._make_journal()
                self._book = Book(self._journal.load())
            except LOST as error:
                self.trouble = str(error)
                _LOG.warning("scheduler: %s", error)
                return False
            self._progress.clear()
            self.trouble = ""
            self._ready.set()
            return True

    def _go(self) -> None:
        while not self._over.is_set():
            try:
                if self._ready.is_set() or self.boot():
                    self.turn()
            except LOST as error:
                _LOG.warning("scheduler: it cannot be written just now: %s", error)
            except Exception as error:  # noqa: BLE001 - a thread that ends would end all jobs, unseen: it is told, and goes on
                self.trouble = f"{type(error).__name__}: {error}"
                _LOG.exception("scheduler: a turn failed")
            self._wake.wait(TURN_S)
            self._wake.clear()
        with self._lock:
            if self._journal is not None:
                self._journal.close()

    def _with_progress(self, change: Change, now_ms: int) -> Change:
        """Return a change with how far runs are, if it is time to write that."""
        if now_ms - self._kept_ms < KEEP_S * 1000:
            return change
        self._kept_ms = now_ms
        changed = {run.id for run in change.put if isinstance(run, Run)}
        told = [self._book.runs[name] for name in self._progress if name in self._book.runs and name not in changed]
        self._progress.clear()
        return change._replace(put=(*change.put, *told))

    def _commit(self, change: Change) -> None:
        """Write a change, then have it. Raises ReopenError and the like: then the topic says what there is."""
        if change == NOTHING:
            return
        assert self._journal is not None  # noqa: S101 - for mypy: it is ready
        try:
            self._journal.write(change)
        except LOST as error:
            self.trouble = str(error)
            self._ready.clear()
            self._wake.set()
            raise
        self._book.apply(change)
        self._wake.set()

    @contextmanager
    def _ready_book(self) -> Iterator[Book]:
        """Give the book, while nobody else has it. Raises ReopenError if it cannot be read."""
        if not self._ready.wait(READY_S):
            raise ReopenError(f"jobs: {self.trouble}")
        with self._lock:
            yield self._book
