"""Operations at work: each on a thread, its progress and its end told, all of it kept in the journal.

Theory of operation
-------------------
An operation is kept before it begins, so that it is known whatever happens after. Further records are written by one thread, the
keeper: at once when an operation ends, else every KEEP_S; what cannot be written now is written later. When the process
starts again the keeper reads the journal first: an operation that was running goes on, if its kind can do that
without doing anything twice, or is told as failed.

A kind of operation is a function of a `Work`. It tells how far it is, looks whether it is cancelled wherever it can stop in
order, and returns what was done. What it raises is why it failed; RefusedError, ReopenError and the like in their own words.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from actors.errors import ConfigError, FencedError, ReopenError
from actors.kafka.client import Cluster
from cluster.operations.board import Board
from cluster.operations.errors import Refused
from cluster.operations.journal import Journal
from cluster.operations.operation import Operation, Request, State
from schemas.registry import RegistryUnavailable, SchemaRefused

_LOG = logging.getLogger("chipquality.operations")

KEEP_S = 5.0  # between two records of an operation's progress
RETRY_S = 1.0  # after the journal could not be read or written
READY_S = 20.0  # for the journal to be read after a start
LOST = (ReopenError, FencedError, RegistryUnavailable, SchemaRefused)
TOLD = (*LOST, Refused, ConfigError, TimeoutError)  # errors that say all there is to say
INTERRUPTED = "interrupted: the process that ran it has ended; see what was done, and ask for the rest"


class Cancelled(Exception):  # noqa: N818 - nothing went wrong
    """Somebody wants the operation to end; the message says what was done until then."""


class Work:
    """What an operation is given."""

    def __init__(
        self, cluster: Cluster, operation: Operation, tell: Callable[[int, int, str], None], *, resumed: bool = False
    ) -> None:
        self.cluster = cluster
        self.plan = operation.plan
        self.by = operation.by
        self.resumed = resumed  # it ran before, in a process that has ended
        self._tell = tell
        self._cancel = threading.Event()

    def tell(self, done: int, of: int, what: str) -> None:
        """Say how much is done, and what is done just now."""
        self._tell(done, of, what)

    def cancel(self) -> None:
        """Want it to end."""
        self._cancel.set()

    def pause(self, seconds: float, done: str = "") -> None:
        """Wait. Raises Cancelled, with what is `done`, if it is to end."""
        if self._cancel.wait(seconds):
            raise Cancelled(done)


class Kind(NamedTuple):
    """A kind of operation."""

    run: Callable[[Work], str]  # returns what was done
    resumes: bool = False  # does nothing twice if it is run again


class Operations:
    """The operations of one pipeline's actor. Thread-safe."""

    def __init__(
        self,
        cluster: Cluster,
        pipeline: str,
        journal: Callable[[], Journal],
        kinds: Mapping[str, Kind],
        now_ms: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self.trouble = "its journal is not read yet"  # why nothing can begin; empty: it can
        self._cluster = cluster
        self._pipeline = pipeline
        self._make_journal = journal
        self._kinds = kinds
        self._now_ms = now_ms
        self._new_id = new_id
        self._board = Board(pipeline)
        self._works: dict[str, Work] = {}
        self._unwanted: set[str] = set()  # cancelled before they were launched
        self._journal: Journal | None = None
        self._unsaved: set[str] = set()
        self._forgotten: set[str] = set()
        self._lock = threading.Lock()  # over board, works, unwanted, unsaved, forgotten
        self._writing = threading.Lock()  # over the journal
        self._ready = threading.Event()
        self._wake = threading.Event()
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="operations-keeper", daemon=True)

    def run(self) -> None:
        """Start the keeper."""
        self._keeper.start()

    def stop(self) -> None:
        """End the keeper; what runs goes on until its process ends."""
        self._over.set()
        self._wake.set()
        self._keeper.join()

    # ---- what people ask

    def known(self, by: str, key: str, request_hash: str) -> dict[str, Any] | None:
        """Return the operation that this idempotency key has begun. Raises Invalid if it was for another request."""
        self._require_ready()
        with self._lock:
            found = self._board.known(by, key, request_hash)
        return None if found is None else found.told()

    def begin(self, request: Request) -> dict[str, Any]:
        """Begin an operation, or return the one that its idempotency key has begun.

        Raises Invalid, Conflict, TooMany; ReopenError and RegistryUnavailable if it cannot be kept: then nothing was begun.
        """
        self._require_ready()
        with self._lock:
            found = self._board.known(request.by, request.key, request.request_hash)
            if found is not None:
                return found.told()
            begun = self._board.begin(request, self._new_id(), self._now_ms())
            self._forgotten.update(self._board.forget_surplus())
        try:
            with self._writing:
                self._must_journal().write([begun])
        except LOST as error:
            with self._lock:
                self._board.unkeyed(begun.id)
            self._end(begun.id, State.failed, error=f"not begun: it could not be kept: {error}")
            raise
        self._launch(begun)
        return begun.told()

    def get(self, operation_id: str) -> dict[str, Any]:
        """Return an operation. Raises Absent."""
        self._require_ready()
        with self._lock:
            return self._board.get(operation_id).told()

    def page(self, limit: int, cursor: str | None = None, state: str | None = None) -> dict[str, Any]:
        """Return a page of operations, the newest first."""
        self._require_ready()
        with self._lock:
            return self._board.page(limit, cursor, state)

    def cancel(self, operation_id: str) -> dict[str, Any]:
        """Want an operation to end; return it as it is now. One that has ended stays as it is. Raises Absent."""
        self._require_ready()
        with self._lock:
            found = self._board.get(operation_id)
            work = self._works.get(operation_id)
            if work is None and found.state is State.running:
                self._unwanted.add(operation_id)
        if work is not None:
            work.cancel()
        return found.told()

    # ---- running

    def _launch(self, operation: Operation, *, resumed: bool = False) -> None:
        def tell(done: int, of: int, what: str) -> None:
            with self._lock:
                self._board.moved(operation.id, done, of, what)
                self._unsaved.add(operation.id)

        work = Work(self._cluster, operation, tell, resumed=resumed)
        with self._lock:
            self._works[operation.id] = work
            if operation.id in self._unwanted:
                work.cancel()
        run = self._kinds[operation.kind].run
        name = f"operation-{operation.id}"
        threading.Thread(target=self._run, args=(operation.id, run, work), name=name, daemon=True).start()

    def _run(self, operation_id: str, run: Callable[[Work], str], work: Work) -> None:
        """Run to the end, whatever it is: an operation whose thread has ended must not look as if it ran."""
        try:
            what = run(work)
        except Cancelled as cancelled:
            self._end(operation_id, State.cancelled, what=str(cancelled))
        except TOLD as error:
            self._end(operation_id, State.failed, error=str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and logged in full
            _LOG.exception("operation %s failed", operation_id)
            self._end(operation_id, State.failed, error=f"{type(error).__name__}: {error}")
        else:
            self._end(operation_id, State.done, what=what)

    def _end(self, operation_id: str, state: State, *, what: str | None = None, error: str | None = None) -> None:
        with self._lock:
            self._board.ended(operation_id, state, self._now_ms(), what=what or None, error=error)
            self._works.pop(operation_id, None)
            self._unwanted.discard(operation_id)
            self._unsaved.add(operation_id)
            self._forgotten.update(self._board.forget_surplus())
        self._wake.set()

    # ---- keeping

    def _require_ready(self) -> None:
        if not self._ready.wait(READY_S):
            raise ReopenError(f"operations: {self.trouble}")

    def _must_journal(self) -> Journal:
        assert self._journal is not None  # noqa: S101 - for mypy: it is ready
        return self._journal

    def _keep(self) -> None:
        while not self._over.is_set() and not self._boot():
            self._over.wait(RETRY_S)
        while not self._over.is_set():
            self._wake.wait(KEEP_S)
            self._wake.clear()
            if not self._save():
                self._over.wait(RETRY_S)
                self._wake.set()
        if self._journal is not None:
            with self._writing:
                self._journal.close()

    def _boot(self) -> bool:
        """Read what was there; resume or end what was running. Returns whether that was possible."""
        try:
            self._journal = self._journal or self._make_journal()
            found = self._journal.load()
        except LOST as error:
            self.trouble = str(error)
            _LOG.warning("operations of %s: %s", self._pipeline, error)
            return False
        with self._lock:
            self._board = Board(self._pipeline, found)
            running = self._board.running()
        for operation in running:
            kind = self._kinds.get(operation.kind)
            if kind is not None and kind.resumes:
                self._launch(operation, resumed=True)
            else:
                self._end(operation.id, State.failed, error=INTERRUPTED)
        self.trouble = ""
        self._ready.set()
        return True

    def _save(self) -> bool:
        """Write what has changed; return whether it is written."""
        with self._lock:
            names, forgotten = set(self._unsaved), set(self._forgotten)
            changed = [op for name in names - forgotten if (op := self._board.find(name)) is not None]
        try:
            with self._writing:
                self._must_journal().write(changed, forgotten)
        except LOST as error:
            _LOG.warning("operations of %s cannot be written just now: %s", self._pipeline, error)
            return False
        with self._lock:
            moved_on = {op.id for op in changed if op != self._board.find(op.id)}
            self._unsaved -= names - moved_on
            self._forgotten -= forgotten
        return True
