"""Processes started ahead on nodes where a pipeline has no slot: where owners go if a node is lost, or if there are more slots.

Ray starts no process before something wants one. Its raylets can be asked to (`PrestartWorkers` of their gRPC service): a process
that nobody has had yet is for any actor, and with `RAY_preload_python_modules=actors.preload` in Ray's environment it has loaded
what an owner or a detector needs. One at a time, because a raylet starts as many at once as the machine has cores and forgets
the rest. How many were asked for is noted in Ray's own key-value store, for the next supervisor. Nothing depends on any of it: a
start without such processes takes seconds of a core longer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated import common_pb2, node_manager_pb2, node_manager_pb2_grpc
from ray.experimental import internal_kv

from actors.pipeline import Pipeline

_LOG = logging.getLogger("chipquality.supervisor")

EVERY_S = 1.0  # between two requests
KEEP_ALIVE_S = 24 * 3600  # for which a raylet keeps a process that nobody has had
CALL_TIMEOUT_S = 2.0
NODES_MAX = 4  # that are kept warm: more than may be lost at once


def start_process(raylet: str) -> None:
    """Have a raylet (host:port) start one idle process. Raises grpc.RpcError."""
    messages: Any = node_manager_pb2  # generated, without types
    service: Any = node_manager_pb2_grpc.NodeManagerServiceStub
    languages: Any = common_pb2
    request = messages.PrestartWorkersRequest(
        language=languages.Language.PYTHON,
        runtime_env_info={"serialized_runtime_env": "{}"},
        keep_alive_duration_secs=KEEP_ALIVE_S,
        num_workers=1,
    )
    with init_grpc_channel(raylet) as channel:  # with Ray's token and TLS, where it has them
        service(channel).PrestartWorkers(request, timeout=CALL_TIMEOUT_S)


class Noted:
    """Node → how many processes were asked for, as it outlives a supervisor."""

    def __init__(self, pipeline: str) -> None:
        self._key = f"chipquality/processes-ahead/{pipeline}"

    def recall(self) -> dict[str, int]:
        """Return what was noted last."""
        noted = internal_kv._internal_kv_get(self._key)
        return {str(node): int(count) for node, count in json.loads(noted).items()} if noted else {}

    def note(self, asked: dict[str, int]) -> None:
        """Note this instead."""
        internal_kv._internal_kv_put(self._key, json.dumps(asked))


class Warmer:
    """Has processes of one slot ready on other nodes. Call `tend` now and then while there is time."""

    def __init__(
        self,
        pipeline: Pipeline,
        start: Callable[[str], None] = start_process,
        noted: Noted | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.processes = 1 + (len(pipeline.families) if pipeline.hosting == "actor" else 0)  # of one slot
        self._start = start
        self._noted = noted or Noted(pipeline.name)
        self._asked: dict[str, int] | None = None  # None: not recalled yet
        self._due = 0.0

    def ready(self) -> dict[str, int]:
        """Return how many processes were asked for on each node."""
        return dict(self._asked or {})

    def tend(self, nodes: Mapping[str, str], now: float) -> None:
        """Ask for one process, where one is lacking. nodes: id → address of the raylet, of those without a slot of ours."""
        before = self._noted.recall() if self._asked is None else self._asked
        asked = self._asked = {node: before.get(node, 0) for node in sorted(nodes)[:NODES_MAX]}
        lacking = [node for node, count in asked.items() if count < self.processes]
        if lacking and now >= self._due:
            self._due = now + EVERY_S
            asked[lacking[0]] += 1
            try:
                self._start(nodes[lacking[0]])
            except grpc.RpcError as error:  # a node that is going, or a Ray that does not let us: not asked again
                asked[lacking[0]] = self.processes
                _LOG.warning("node %s starts no process ahead: %s", lacking[0], error)
        if asked != before:
            self._noted.note(asked)
