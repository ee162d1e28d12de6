"""Processes started ahead on nodes where a pipeline has no slot: where owners go if a node is lost, or if there are more slots.

Ray starts no process before something wants one. Its raylets can be asked to (`PrestartWorkers` of their gRPC service): a process
that nobody has had yet is for any actor, and with `RAY_preload_python_modules=actors.preload` in Ray's environment it has loaded
what an owner or a detector needs. One at a time, because a raylet starts as many at once as the machine has cores and forgets
the rest without a word: the next one is asked for when the raylet knows a process that it did not know before. How many there are
is noted in Ray's own key-value store, for the next supervisor. Nothing depends on any of it: a start without such processes
takes seconds of a core longer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import grpc
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated import common_pb2, node_manager_pb2, node_manager_pb2_grpc
from ray.experimental import internal_kv

from actors.pipeline import Pipeline

_LOG = logging.getLogger("chipquality.supervisor")

EVERY_S = 1.0  # between two requests
KEEP_ALIVE_S = 24 * 3600  # for which a raylet keeps a process that nobody has had
COMES_S = 10.0  # for a process that was asked for to be there; after that it was forgotten, and is asked for again
CALL_TIMEOUT_S = 2.0
NODES_MAX = 4  # that are kept warm: more than may be lost at once


class Raylets:
    """The two calls of a raylet (host:port) that this needs. Both raise grpc.RpcError."""

    def start_process(self, raylet: str) -> None:
        """Have it start one idle process; it may forget to."""
        messages: Any = node_manager_pb2  # generated, without types
        languages: Any = common_pb2
        request = messages.PrestartWorkersRequest(
            language=languages.Language.PYTHON,
            runtime_env_info={"serialized_runtime_env": "{}"},
            keep_alive_duration_secs=KEEP_ALIVE_S,
            num_workers=1,
        )
        self._call(raylet, "PrestartWorkers", request)

    def processes(self, raylet: str) -> frozenset[int]:
        """Return the ids of the processes that have told it that they are there."""
        messages: Any = node_manager_pb2
        return frozenset(self._call(raylet, "GetWorkerPIDs", messages.GetWorkerPIDsRequest()).pids)

    @staticmethod
    def _call(raylet: str, method: str, request: Any) -> Any:
        service: Any = node_manager_pb2_grpc.NodeManagerServiceStub
        with init_grpc_channel(raylet) as channel:  # with Ray's token and TLS, where it has them
            return getattr(service(channel), method)(request, timeout=CALL_TIMEOUT_S)


class _Awaited(NamedTuple):
    """A process that was asked for."""

    node: str
    before: frozenset[int]  # processes that were there
    until: float


class Noted:
    """Node → how many processes were started ahead, as it outlives a supervisor."""

    def __init__(self, pipeline: str) -> None:
        self._key = f"chipquality/processes-ahead/{pipeline}"

    def recall(self) -> dict[str, int]:
        """Return what was noted last."""
        noted = internal_kv._internal_kv_get(self._key)
        return {str(node): int(count) for node, count in json.loads(noted).items()} if noted else {}

    def note(self, there: dict[str, int]) -> None:
        """Note this instead."""
        internal_kv._internal_kv_put(self._key, json.dumps(there))


class Warmer:
    """Has processes of one slot ready on other nodes. Call `tend` now and then while there is time."""

    def __init__(self, pipeline: Pipeline, raylets: Raylets | None = None, noted: Noted | None = None) -> None:
        self.pipeline = pipeline
        self.processes = 1 + (len(pipeline.families) if pipeline.hosting == "actor" else 0)  # of one slot
        self._raylets = raylets or Raylets()
        self._noted = noted or Noted(pipeline.name)
        self._there: dict[str, int] | None = None  # by node; None: not recalled yet
        self._awaited: _Awaited | None = None
        self._due = 0.0

    def ready(self) -> dict[str, int]:
        """Return how many processes were started ahead on each node."""
        return dict(self._there or {})

    def tend(self, nodes: Mapping[str, str], now: float) -> None:
        """See whether one has come; ask for one, where one is lacking.

        nodes: id → address of the raylet, of those without a slot of ours.
        """
        before = self._noted.recall() if self._there is None else self._there
        there = self._there = {node: before.get(node, 0) for node in sorted(nodes)[:NODES_MAX]}
        if now >= self._due:
            self._due = now + EVERY_S
            self._ask(nodes, there, now)
        if there != before:
            self._noted.note(there)

    def _ask(self, nodes: Mapping[str, str], there: dict[str, int], now: float) -> None:
        awaited = self._awaited if self._awaited is not None and self._awaited.node in there else None
        lacking = [node for node, count in there.items() if count < self.processes]
        node = awaited.node if awaited is not None else next(iter(lacking), None)
        self._awaited = None
        if node is None:
            return
        try:
            known = self._raylets.processes(nodes[node])
            if awaited is not None and known - awaited.before:
                there[node] += 1
            elif awaited is not None and now < awaited.until:
                self._awaited = awaited
            else:
                self._raylets.start_process(nodes[node])
                self._awaited = _Awaited(node, known, now + COMES_S)
        except grpc.RpcError as error:  # a node that is going, or a Ray that does not let us: not asked again
            there[node] = self.processes
            _LOG.warning("node %s starts no process ahead: %s", node, error)
