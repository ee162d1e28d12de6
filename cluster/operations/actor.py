"""The operations of a pipeline as a detached, named Ray actor: they outlive whoever asked for them.

It begins with the first question, and Ray starts it again if it dies. Its name is "operations:<pipeline>".
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import uuid
from typing import TYPE_CHECKING, Any

import ray
from ray.actor import ActorHandle

from actors.calls import answer
from actors.detached import connected, detached, end
from actors.kafka.client import Cluster
from actors.names import LOG_FORMAT
from cluster.operations.errors import Refused
from cluster.operations.journal import Form, Journal, journal
from cluster.operations.operation import Operation, Request
from cluster.operations.running import Operations
from schemas.topics import OPERATIONS

if TYPE_CHECKING:
    from cluster.deployments.record import Deployment

ANSWER_S = 30.0  # for an answer: more than a start takes, and than a record that cannot be written
CALLS_MAX = 16  # questions at once; further ones wait
STOP_S = 10.0


def operations_name(pipeline: str) -> str:
    """Return the actor's name.

    >>> operations_name("quality")
    'operations:quality'
    """
    return f"operations:{pipeline}"


class OperationsActor:
    """Operations, their threads, their journal."""

    def __init__(self, cluster: Cluster, pipeline: str) -> None:
        # who only asks does not need what they stand on
        from cluster.deployments.carrying_out import kinds  # noqa: PLC0415
        from cluster.deployments.desk import Deployments  # noqa: PLC0415
        from cluster.operations.kinds import KINDS  # noqa: PLC0415

        logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
        self._deployments = Deployments(cluster, pipeline, _now_ms)
        self._operations = Operations(
            cluster,
            pipeline,
            lambda: journal_of(cluster, pipeline),
            {**KINDS, **kinds(self._deployments)},
            _now_ms,
            lambda: uuid.uuid4().hex[:16],
        )
        self._deployments.run()
        self._operations.run()

    def begin(self, request: Request) -> dict[str, Any]:
        """Begin an operation; see Operations.begin."""
        return self._operations.begin(request)

    def known(self, by: str, key: str, request_hash: str) -> dict[str, Any] | None:
        """Return the operation that an idempotency key has begun."""
        return self._operations.known(by, key, request_hash)

    def get(self, operation_id: str) -> dict[str, Any]:
        """Return an operation."""
        return self._operations.get(operation_id)

    def page(self, limit: int, cursor: str | None = None, state: str | None = None) -> dict[str, Any]:
        """Return a page of operations, the newest first."""
        return self._operations.page(limit, cursor, state)

    def cancel(self, operation_id: str) -> dict[str, Any]:
        """Want an operation to end."""
        return self._operations.cancel(operation_id)

    def deployments(self) -> list[Deployment]:
        """Return the records of what is deployed beside the pipeline."""
        return self._deployments.all()

    def deployed(self) -> dict[str, dict[str, Any]]:
        """Return what the pipeline of each deployment that runs said of itself last."""
        return self._deployments.said()

    def pid(self) -> int:
        """Return the process id."""
        return os.getpid()

    def stop(self) -> None:
        """Write down what there is."""
        self._deployments.stop()
        self._operations.stop()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


OPERATION_FORM: Form[Operation] = Form(
    "operations", lambda operation: operation.id, Operation.to_record, Operation.of_record
)


def journal_of(cluster: Cluster, pipeline: str) -> Journal[Operation]:
    """Return the journal of a pipeline's operations in Kafka. Raises RegistryUnavailable, SchemaRefused."""
    return journal(cluster, pipeline, OPERATIONS, "operation", OPERATION_FORM)


def connect(cluster: Cluster, pipeline: str) -> ActorHandle[Any]:
    """Return the operations of a pipeline; they are started if they do not run."""
    with contextlib.suppress(ValueError):
        return connected(operations_name(pipeline))
    return detached(OperationsActor, operations_name(pipeline), cluster, pipeline, calls_max=CALLS_MAX)


def ask(handle: ActorHandle[Any], method: str, *arguments: Any) -> Any:
    """Ask, and wait for the answer. Raises Refused, ReopenError, RegistryUnavailable as the actor did; RayError."""
    try:
        return answer(getattr(handle, method).remote(*arguments), ANSWER_S)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, Refused | RuntimeError):
            raise error.cause from error
        raise


def stop(pipeline: str) -> None:
    """End the operations of a pipeline, if they run; what was under way is told as failed, or goes on, when they start again."""
    end(operations_name(pipeline), STOP_S)
