"""Which operations there are, and which may begin. Pure: time and ids are arguments, and nothing is done here.

Rules of this file: at most RUNNING_MAX run at once and one on each subject; at most KEPT_MAX are kept, and those that run are
always among them; the same idempotency key of the same person is the same operation, or an error if it asks for something else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from actors import cursors
from cluster.operations.errors import Absent, Conflict, Invalid, TooMany, shown
from cluster.operations.operation import Operation, Request, State, one_line

RUNNING_MAX = 4  # at once; each has a thread
KEPT_MAX = 200  # the ended ones among them are forgotten from the oldest on


class Board:
    """All operations of one pipeline's actor."""

    def __init__(self, pipeline: str, operations: Iterable[Operation] = ()) -> None:
        self.pipeline = pipeline
        self._by_id = {operation.id: operation for operation in operations}

    def known(self, by: str, key: str, request_hash: str) -> Operation | None:
        """Return the operation that this key has begun, if any. Raises Invalid if it was for another request."""
        if not key:
            return None
        found = next((op for op in self._by_id.values() if (op.by, op.key) == (by, key)), None)
        if found is not None and found.request_hash != request_hash:
            raise Invalid(f"this Idempotency-Key has begun operation {found.id} with another request: take a new key")
        return found

    def begin(self, request: Request, operation_id: str, now_ms: int) -> Operation:
        """Have a new operation. Raises TooMany, Conflict."""
        running = self.running()
        wanted = _touched(request)
        same = next((op for op in running if _touched(op) & wanted), None)
        if same is not None:
            raise Conflict(
                f"operation {same.id} ({same.kind}) works on that ({same.subject}): wait for it, or cancel it"
            )
        if len(running) >= RUNNING_MAX:
            raise TooMany(f"{len(running)} operations run, which is as many as may: wait for one, or cancel one")
        begun = Operation(
            id=operation_id,
            pipeline=self.pipeline,
            kind=request.kind,
            subject=request.subject,
            started_ms=now_ms,
            by=request.by,
            plan=request.plan,
            plan_hash=request.plan_hash,
            key=request.key,
            request_hash=request.request_hash,
        )
        self._by_id[operation_id] = begun
        return begun

    def moved(self, operation_id: str, done: int, of: int, what: str) -> Operation:
        """Note how far an operation is."""
        return self._put(replace(self.get(operation_id), done=done, of=of, what=one_line(what)))

    def ended(
        self, operation_id: str, state: State, now_ms: int, *, what: str | None = None, error: str | None = None
    ) -> Operation:
        """Note how an operation ended."""
        before = self.get(operation_id)
        return self._put(
            replace(
                before,
                state=state,
                ended_ms=now_ms,
                what=before.what if what is None else one_line(what),
                error=None if error is None else one_line(error),
            )
        )

    def unkeyed(self, operation_id: str) -> Operation:
        """Have an operation that was never begun give its idempotency key back: whoever asks again with it begins one."""
        return self._put(replace(self.get(operation_id), key="", request_hash=""))

    def get(self, operation_id: str) -> Operation:
        """Return an operation. Raises Absent."""
        found = self.find(operation_id)
        if found is None:
            raise Absent(f"no operation {shown(operation_id)}; GET /operations lists those that are kept")
        return found

    def find(self, operation_id: str) -> Operation | None:
        """Return an operation, None if there is none."""
        return self._by_id.get(operation_id)

    def running(self) -> list[Operation]:
        """Return the operations that run."""
        return [operation for operation in self._by_id.values() if operation.state is State.running]

    def forget_surplus(self) -> list[str]:
        """Forget the oldest of the ended operations that are too many; return their ids."""
        ended = sorted((op for op in self._by_id.values() if op.state is not State.running), key=_age)
        surplus = [op.id for op in ended[: max(0, len(self._by_id) - KEPT_MAX)]]
        for operation_id in surplus:
            del self._by_id[operation_id]
        return surplus

    def page(self, limit: int, cursor: str | None = None, state: str | None = None) -> dict[str, Any]:
        """Return a page of operations, the newest first. Raises ValueError for a cursor that is none of ours."""
        before = None if cursor is None else cursors.decode(cursor, cursors.number_and_text)
        chosen = [
            op
            for op in sorted(self._by_id.values(), key=_age, reverse=True)
            if state in (None, op.state.value) and (before is None or _age(op) < before)
        ]
        more = cursors.encode(_age(chosen[limit - 1])) if len(chosen) > limit else None
        return {"items": [op.told() for op in chosen[:limit]], "next": more}

    def _put(self, operation: Operation) -> Operation:
        self._by_id[operation.id] = operation
        return operation


def _touched(asked: Operation | Request) -> set[str]:
    """Return what nobody else may work on meanwhile: the subject, and the topics that are made."""
    return {asked.subject, *(f"topic {topic}" for topic in asked.plan.get("topics", ()))}


def _age(operation: Operation) -> tuple[int, str]:
    return operation.started_ms, operation.id
