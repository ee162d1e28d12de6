"""Starting, scaling, watching and stopping pipelines in Ray: what programs and people call.

A pipeline has one supervisor actor, which starts an owner for each of its slots (actors/supervision/). Safety does not depend on
any of this: whoever opens a slot fences every other (actors/slot.py).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError

from actors.calls import answer
from actors.deal import check_slots
from actors.engine.judge import assigned
from actors.names import NAMESPACE
from actors.packages.packaged import check_hosting
from actors.partition_owner import STOP_TIMEOUT_S
from actors.pipeline import Pipeline
from actors.supervision import places
from actors.supervision.actor import Supervisor

_LOG = logging.getLogger("chipquality.supervisor")

LIVE_TIMEOUT_S = 90.0  # for all slots to open: processes, kernels, state
CALL_TIMEOUT_S = 10.0
ASK_AGAIN_S = 0.05


def supervisor_name(pipeline: str) -> str:
    """Return the name of a pipeline's supervisor actor."""
    return f"supervisor:{pipeline}"


def start_pipeline(pipeline: Pipeline, slots: int | None = None) -> ActorHandle[Any]:
    """Start the pipeline's supervisor, or get the one that runs; with `slots`, have so many. Does not wait for them to be live.

    Raises ConfigError for a number of slots that cannot be, for detectors that a family cannot hold, since their processes would
    fail at every start, and for detectors of packages that are to run elsewhere than in processes of their own.
    """
    check_slots(slots or 1, len(pipeline.partitions))
    for detectors in pipeline.families.values():
        assigned(detectors)
    check_hosting(pipeline.families.values(), hosted_apart=pipeline.guest is not None and pipeline.hosting == "actor")
    supervisor: ActorHandle[Any] = Supervisor.options(  # type: ignore[attr-defined]
        name=supervisor_name(pipeline.name),
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_task_retries=0,
        max_concurrency=4,
        num_cpus=0,
        label_selector=places.not_on_the_head(),
    ).remote(pipeline)
    if slots is not None:
        supervisor.scale.remote(slots)
    return supervisor


def status(pipeline: str) -> dict[str, Any]:
    """Return the deal of a pipeline and what each of its owners said last. Raises ValueError if it does not run."""
    return dict(answer(_supervisor(pipeline).status.remote(), CALL_TIMEOUT_S))


def statuses(pipelines: Iterable[str], timeout_s: float) -> dict[str, dict[str, Any]]:
    """Return the status of each of these pipelines whose supervisor answers in time."""
    calls: dict[Any, str] = {}
    for name in pipelines:
        with contextlib.suppress(ValueError):
            calls[_supervisor(name).status.remote()] = name
    found: dict[str, dict[str, Any]] = {}
    answered = ray.wait(list(calls), num_returns=len(calls), timeout=timeout_s)[0] if calls else []
    for call in answered:
        with contextlib.suppress(RayActorError):
            found[calls[call]] = dict(answer(call, timeout_s))
    return found


def pipeline_of(pipeline: str) -> Pipeline:
    """Return a pipeline that runs, as its owners have it. Raises ValueError if it does not run."""
    found: Pipeline = answer(_supervisor(pipeline).pipeline.remote(), CALL_TIMEOUT_S)
    return found


def running() -> list[str]:
    """Return the names of the pipelines that have a supervisor."""
    return [name.partition(":")[2] for name in places.named("supervisor:")]


def scale(pipeline: str, slots: int, timeout_s: float = LIVE_TIMEOUT_S) -> dict[str, Any]:
    """Have so many slots, and wait until all of them are live; return the status.

    Raises ConfigError for a number that cannot be, ValueError if the pipeline does not run, TimeoutError with what was last said.
    """
    want_slots(pipeline, slots)
    return wait_status(pipeline, lambda said: said["slots"] == slots and all_live(said), timeout_s)


def want_slots(pipeline: str, slots: int) -> None:
    """Have so many slots; does not wait. Raises ConfigError for a number that cannot be, ValueError if it does not run."""
    try:
        answer(_supervisor(pipeline).scale.remote(slots), CALL_TIMEOUT_S)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error


def all_live(said: dict[str, Any]) -> bool:
    """Say whether every slot is live, and has all that the deal gives it."""
    if not said["balanced"]:
        return False  # new slots are starting; nothing has moved to them yet
    live = [owner["state"] == "live" and owner.get("deal") == said["deal"] for owner in said["owners"]]
    return bool(live) and all(live) and not any(owner.get("arriving") for owner in said["owners"])


def wait_live(pipeline: str, timeout_s: float = LIVE_TIMEOUT_S) -> dict[str, Any]:
    """Wait until every slot is live; return the status. Raises TimeoutError with what was last said."""
    return wait_status(pipeline, all_live, timeout_s)


def wait_status(pipeline: str, until: Callable[[dict[str, Any]], bool], timeout_s: float) -> dict[str, Any]:
    """Ask the supervisor until its status is as wanted. Raises TimeoutError with what it last said."""
    deadline = time.monotonic() + timeout_s
    said: dict[str, Any] = {}
    while time.monotonic() < deadline:
        try:
            said = status(pipeline)
            if until(said):
                return said
        except (RayActorError, GetTimeoutError, ValueError) as error:
            said = {"trouble": f"the supervisor cannot be reached: {error}"}
        time.sleep(ASK_AGAIN_S)
    raise TimeoutError(f"pipeline {pipeline} after {timeout_s} s: {said}")


def stop_pipeline(pipeline: str) -> list[dict[str, Any]]:
    """Let every owner commit a snapshot, then end them and their supervisor; return their last statuses."""
    try:
        supervisor = _supervisor(pipeline)
    except ValueError:
        return places.stop_owners(pipeline, STOP_TIMEOUT_S + CALL_TIMEOUT_S)
    stopped: list[dict[str, Any]] | None = None
    try:
        stopped = list(answer(supervisor.stop.remote(), STOP_TIMEOUT_S + 3 * CALL_TIMEOUT_S))
    except (RayActorError, GetTimeoutError):
        _LOG.warning("the supervisor of %s cannot be reached: its owners are stopped without it", pipeline)
    finally:
        ray.kill(supervisor)  # before its owners: it would replace them
    return places.stop_owners(pipeline, STOP_TIMEOUT_S + CALL_TIMEOUT_S) if stopped is None else stopped


def kill_pipeline(pipeline: str) -> None:
    """End a pipeline at once, whatever its processes do; what they have not committed is folded again by whoever comes next."""
    try:
        ray.kill(_supervisor(pipeline))  # before its owners: it would replace them
    except ValueError:
        _LOG.debug("%s has no supervisor", pipeline)
    places.kill_detectors(pipeline)
    for seat in {member.seat for member in places.members(pipeline)} | places.placed(pipeline):
        places.end(pipeline, seat)
    places.kill_detectors(pipeline)  # an owner may have started another


def list_pipelines() -> list[dict[str, Any]]:
    """Return the status of every pipeline that runs; of one whose supervisor does not answer, that it does not."""
    return [_status_or_why(name) for name in running()]


def _status_or_why(name: str) -> dict[str, Any]:
    try:
        return status(name)
    except (RayActorError, GetTimeoutError, ValueError) as error:
        trouble = f"the supervisor cannot be reached: {str(error).splitlines()[0]}"
        return {"pipeline": name, "deal": 0, "slots": 0, "balanced": False, "trouble": trouble, "owners": []}


def _supervisor(pipeline: str) -> ActorHandle[Any]:
    return ray.get_actor(supervisor_name(pipeline), NAMESPACE)
