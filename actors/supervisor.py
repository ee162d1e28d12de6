"""Starting and stopping pipelines in Ray: the placement group of a slot, and its named, detached owner.

One slot per pipeline for now. Safety does not depend on this module: whoever opens a slot fences every other (actors/slot.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError
from ray.util import get_placement_group, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.calls import answer
from actors.errors import ConfigError
from actors.partition_owner import DETECTOR_CPUS, STOP_TIMEOUT_S, PartitionOwner
from actors.pipeline import NAMESPACE, Pipeline

OWNER_CPUS = 0.5
LIVE_TIMEOUT_S = 90.0  # for a slot to open: processes, kernels, state
CALL_TIMEOUT_S = 10.0


def owner_name(pipeline: str) -> str:
    """Return the name of a pipeline's owner actor."""
    return f"owner:{pipeline}:0"


def start_pipeline(pipeline: Pipeline) -> ActorHandle[Any]:
    """Start the slot's owner, or get the one that runs. Does not wait for it to be live."""
    bundle = {"CPU": OWNER_CPUS + DETECTOR_CPUS * len(pipeline.families)}
    group = placement_group([bundle], strategy="STRICT_PACK", name=_group_name(pipeline.name), lifetime="detached")
    if not group.wait(CALL_TIMEOUT_S):
        remove_placement_group(group)
        raise ConfigError(f"Ray has no node with {bundle['CPU']:g} free CPUs for pipeline {pipeline.name}")
    owner: ActorHandle[Any] = PartitionOwner.options(  # type: ignore[attr-defined]
        name=owner_name(pipeline.name),
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_task_retries=0,
        max_concurrency=4,
        num_cpus=OWNER_CPUS,
        scheduling_strategy=PlacementGroupSchedulingStrategy(group),
    ).remote(pipeline)
    return owner


def wait_live(pipeline: str, timeout_s: float = LIVE_TIMEOUT_S) -> dict[str, Any]:
    """Wait until the pipeline's slot is live; return its status. Raises TimeoutError with what it last said."""
    return wait_status(pipeline, lambda status: status["state"] == "live", timeout_s)


def wait_status(pipeline: str, until: Callable[[dict[str, Any]], bool], timeout_s: float) -> dict[str, Any]:
    """Ask the owner until its status is as wanted. Raises TimeoutError with what it last said."""
    deadline = time.monotonic() + timeout_s
    status: dict[str, Any] = {}
    while time.monotonic() < deadline:
        try:
            status = answer(ray.get_actor(owner_name(pipeline), NAMESPACE).status.remote(), CALL_TIMEOUT_S)
            if until(status):
                return status
        except (RayActorError, GetTimeoutError, ValueError) as error:
            status = {"state": "unreachable", "last_error": str(error)}
        time.sleep(0.05)
    raise TimeoutError(f"pipeline {pipeline} after {timeout_s} s: {status}")


def stop_pipeline(pipeline: str) -> dict[str, Any] | None:
    """Let the owner commit a snapshot, then end it and its placement group; None if there was none."""
    status: dict[str, Any] | None = None
    try:
        owner = ray.get_actor(owner_name(pipeline), NAMESPACE)
    except ValueError:
        owner = None
    if owner is not None:
        try:
            status = answer(owner.stop.remote(), STOP_TIMEOUT_S + CALL_TIMEOUT_S)
        except (RayActorError, GetTimeoutError) as error:
            status = {"state": "killed", "last_error": str(error)}
        ray.kill(owner)
    try:
        remove_placement_group(get_placement_group(_group_name(pipeline)))
    except ValueError:
        return status
    return status


def list_pipelines() -> list[dict[str, Any]]:
    """Return the status of every pipeline that runs."""
    names = [
        actor["name"]
        for actor in ray.util.list_named_actors(all_namespaces=True)
        if actor["namespace"] == NAMESPACE and actor["name"].startswith("owner:")
    ]
    calls = [ray.get_actor(name, NAMESPACE).status.remote() for name in names]
    return list(answer(calls, CALL_TIMEOUT_S))


def _group_name(pipeline: str) -> str:
    return f"slot:{pipeline}:0"
