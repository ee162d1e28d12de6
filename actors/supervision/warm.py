"""Processes started ahead on nodes where a pipeline has no slot: where owners go if a node is lost, or if there are more slots.

Ray starts no process before something wants one. Its raylets can be asked to (`PrestartWorkers` of their gRPC service): a process
that nobody has had yet is for any actor, and with `RAY_preload_python_modules=actors.preload` in Ray's environment it has loaded
what an owner or a detector needs. One at a time, because a raylet starts as many at once as the machine has cores and forgets
the rest without a word: the next one is asked for when there is one more, or after a while in which there is not.

How many there are is seen on the node itself, so nothing has to be remembered, and pipelines share them: one for each process
of a slot costs some 260 MB, most of it shared, and a hundredth of a core. Nothing depends on any of it: a start without such
processes takes seconds of a core longer.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import grpc
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated import common_pb2, node_manager_pb2, node_manager_pb2_grpc

from actors.pipeline import Pipeline

_LOG = logging.getLogger("chipquality.supervisor")

EVERY_S = 1.0  # between two looks at a node, while one lacks a process
CALM_S = 5.0  # and else
KEEP_ALIVE_S = 24 * 3600  # for which a raylet keeps a process that nobody has had
REFUSED_S = 60.0  # to a raylet that did not answer, or refused
COMES_S = 10.0  # for a process that was asked for to be there; after that it was forgotten, and is asked for again
CALL_TIMEOUT_S = 2.0
NODES_MAX = 4  # that are kept warm: more than may be lost at once
_NIL = {0, 0xFF}  # bytes of an id that says that there is none


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

    def idle(self, raylet: str) -> int:
        """Return how many of its processes nobody has had yet."""
        messages: Any = node_manager_pb2
        common: Any = common_pb2
        stats = self._call(raylet, "GetNodeStats", messages.GetNodeStatsRequest(include_memory_info=False))
        workers = [each for each in stats.core_workers_stats if each.worker_type == common.WorkerType.WORKER]
        return sum(set(each.actor_id) <= _NIL and each.num_executed_tasks == 0 for each in workers)

    @staticmethod
    def _call(raylet: str, method: str, request: Any) -> Any:
        service: Any = node_manager_pb2_grpc.NodeManagerServiceStub
        with init_grpc_channel(raylet) as channel:  # with Ray's token and TLS, where it has them
            return getattr(service(channel), method)(request, timeout=CALL_TIMEOUT_S)


class _Awaited(NamedTuple):
    """A process that was asked for."""

    before: int  # how many were idle
    until: float


class Warmer:
    """Has processes of one slot ready on other nodes. Call `tend` now and then while there is time."""

    def __init__(self, pipeline: Pipeline, raylets: Raylets | None = None) -> None:
        self.pipeline = pipeline
        self.processes = 1 + (len(pipeline.families) if pipeline.hosting == "actor" else 0)  # of one slot
        self._raylets = raylets or Raylets()
        self._idle: dict[str, int] = {}  # by node, as of the last look
        self._awaited: dict[str, _Awaited] = {}
        self._refused: dict[str, float] = {}  # until when a node is left alone
        self._order: deque[str] = deque()  # of the next looks
        self._due = 0.0

    def ready(self) -> dict[str, int]:
        """Return how many processes wait on each node, as of the last look at it."""
        return self._idle.copy()

    def tend(self, nodes: Mapping[str, str], now: float) -> None:
        """Look at one node, if it is time, and ask it for a process if it lacks one.

        nodes: id → address of the raylet, of those without a slot of ours.
        """
        kept = sorted(nodes)[:NODES_MAX]
        self._idle = {node: self._idle.get(node, 0) for node in kept}
        self._awaited = {node: awaited for node, awaited in self._awaited.items() if node in kept}
        self._refused = {node: until for node, until in self._refused.items() if node in kept and now < until}
        self._order = deque([*(n for n in self._order if n in kept), *(n for n in kept if n not in self._order)])
        asked = [node for node in self._order if node not in self._refused]
        if now < self._due or not asked:
            return
        self._look(asked[0], nodes[asked[0]], now)
        self._order.remove(asked[0])
        self._order.append(asked[0])
        lacking = any(self._idle[node] < self.processes for node in asked)
        self._due = now + (EVERY_S if lacking else CALM_S)

    def _look(self, node: str, raylet: str, now: float) -> None:
        awaited = self._awaited.pop(node, None)
        try:
            idle = self._idle[node] = self._raylets.idle(raylet)
            if idle >= self.processes:
                return
            if awaited is not None and idle <= awaited.before and now < awaited.until:
                self._awaited[node] = awaited
                return
            self._raylets.start_process(raylet)
            self._awaited[node] = _Awaited(idle, now + COMES_S)
        except grpc.RpcError as error:  # a node that is going, or a Ray that does not let us
            self._refused[node] = now + REFUSED_S
            _LOG.warning("node %s starts no process ahead: %s", node, error)
