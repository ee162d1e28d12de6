"""Actors that outlive whoever starts them, one of a name: started if there is none, ended in order, or else killed."""

from __future__ import annotations

import contextlib
from typing import Any

import ray
from ray.actor import ActorHandle

from actors.calls import answer
from actors.names import NAMESPACE


def detached(cls: type, name: str, *arguments: Any, calls_max: int, cpus: float = 0.0) -> ActorHandle[Any]:
    """Return the actor of this name; it is started if there is none, and again by Ray whenever it dies. Does not wait for it.

    calls_max: calls at once; further ones wait.
    """
    actor: Any = ray.remote(cls).options(
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=cpus,
        max_restarts=-1,
        max_task_retries=0,
        max_concurrency=calls_max,
    )
    handle: ActorHandle[Any] = actor.remote(*arguments)
    return handle


def connected(name: str) -> ActorHandle[Any]:
    """Return the actor of this name. Raises ValueError if it does not run."""
    return ray.get_actor(name, namespace=NAMESPACE)


def end(name: str, stop_s: float, method: str = "stop") -> None:
    """End the actor of this name, if it runs: by its method, which has `stop_s` for that, and then for good."""
    try:
        handle = connected(name)
    except ValueError:
        return
    with contextlib.suppress(ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):  # it is killed now anyway
        answer(getattr(handle, method).remote(), stop_s)
    ray.kill(handle, no_restart=True)
