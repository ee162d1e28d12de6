"""What the cases ask of a running pipeline, in one place: its owners, their processes, its supervisor."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import psutil
import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from actors import supervisor
from actors.hosts import InOwner
from actors.kafka.log import KafkaLog, SystemClock
from actors.names import NAMESPACE
from actors.partition_owner import STANDBY
from actors.pipeline import Pipeline
from actors.repair import apply, plan
from actors.surroundings import Codec, Surroundings

CALL_TIMEOUT_S = 3.0
LIVE_TIMEOUT_S = 120.0
IDLE_PROCESS = "ray::IDLE"  # title of a process of Ray that nobody has had yet
LOOK_S, REST_S, REST_SHARE = 0.25, 1.0, 0.1
SLOTTED = hasattr(supervisor, "scale")  # several slots under a supervisor actor; before that, one owner
HAS_LOG = any(field.name == "log" for field in fields(Pipeline))
UNREACHABLE = (RayActorError, RayTaskError, GetTimeoutError, ValueError, TimeoutError)


def start(pipeline: Pipeline) -> None:
    """Start the pipeline and wait until it is live, and ready for the next fault."""
    supervisor.start_pipeline(pipeline)
    supervisor.wait_live(pipeline.name, LIVE_TIMEOUT_S)
    if pipeline.standby:
        supervisor.wait_status(pipeline.name, lambda said: prepared(pipeline, said), LIVE_TIMEOUT_S)
        wait(AtRest(), "processes that were started ahead have loaded what they load", LIVE_TIMEOUT_S)


def prepared(pipeline: Pipeline, said: dict[str, Any]) -> bool:
    """Say whether all is there that is started ahead: what a fault meets after some calm."""
    in_actors = pipeline.hosting == "actor"
    processes = 1 + (len(pipeline.families) if in_actors else 0)
    beside = all(owner["standby"] and (owner.get("spare") or not in_actors) for owner in said["owners"])
    return beside and all(count >= processes for count in said["warm"].values())


class AtRest:
    """Says whether Ray's idle processes on this machine have used next to no processor time for a while."""

    def __init__(self) -> None:
        self._since = self._looked = time.monotonic()
        self._used = float("-inf")

    def __call__(self) -> bool:
        if time.monotonic() - self._looked < LOOK_S:
            return False
        used, self._looked = 0.0, time.monotonic()
        for process in psutil.process_iter(["cmdline"]):
            if (process.info["cmdline"] or [""])[0].strip() == IDLE_PROCESS:
                with contextlib.suppress(psutil.NoSuchProcess):
                    used += process.cpu_times().user
        if abs(used - self._used) > REST_SHARE * REST_S:  # one more, or one that is busy
            self._since, self._used = self._looked, used
        return self._looked - self._since > REST_S


def stop(name: str) -> None:
    """Stop the pipeline."""
    supervisor.stop_pipeline(name)


def owners(name: str) -> list[dict[str, Any]]:
    """Return the status of every owner as they say it themselves; of those that answer. Processes that stand by are left out."""
    return [said for _, said in _working(name)]


def _working(name: str) -> list[tuple[str, dict[str, Any]]]:
    return [(actor, said) for actor, said in _statuses(name) if said["state"] != STANDBY]


def _statuses(name: str) -> list[tuple[str, dict[str, Any]]]:
    statuses = []
    for actor in [*_named(f"owner:{name}:"), *_named(f"standby:{name}:")]:
        try:
            said = dict(ray.get(ray.get_actor(actor, NAMESPACE).status.remote(), timeout=CALL_TIMEOUT_S))
        except UNREACHABLE as error:
            said = {"name": actor, "state": "unreachable", "last_error": str(error)[:500]}
        statuses.append((actor, said))
    return statuses


def pids(name: str) -> dict[int, int]:
    """Return the process id of every live slot's owner."""
    return {said["slot"]: said["pid"] for said in owners(name) if said.get("state") == "live"}


def detector_pids(name: str) -> dict[str, int]:
    """Return the process ids of the detector actors of the first owner, by family."""
    return _detector_pids(_working(name)[0][0])


def _detector_pids(owner: str) -> dict[str, int]:
    return dict(ray.get(ray.get_actor(owner, NAMESPACE).detector_pids.remote(), timeout=CALL_TIMEOUT_S))


def processes(name: str) -> dict[str, int]:
    """Return the process id of all that a pipeline runs, and that answers: of "supervisor", "owner 0", "standby 0", "spc 0", …"""
    found = {"supervisor": supervisor_pid(name)}
    for actor, said in _statuses(name):
        slot = said.get("slot")
        if said["state"] == STANDBY:
            found[f"standby {slot}"] = said["pid"]
        elif slot is not None:
            found[f"owner {slot}"] = said["pid"]
            found |= {f"{family} {slot}": pid for family, pid in _detector_pids(actor).items()}
            found |= {f"spare {slot}": said["spare"]} if said["spare"] else {}
    return found


def supervisor_pid(name: str) -> int:
    """Return the process id of the supervisor."""
    handle = ray.get_actor(supervisor.supervisor_name(name), NAMESPACE)
    return int(ray.get(handle.pid.remote(), timeout=CALL_TIMEOUT_S))


def deal(name: str) -> dict[str, Any]:
    """Return what the supervisor says of the deal, and of what it cannot do."""
    try:
        said = supervisor.status(name)
    except UNREACHABLE as error:
        return {"trouble": f"the supervisor cannot be reached: {error}"}
    return {"deal": said["deal"], "slots": said["slots"], "trouble": said["trouble"]}


def quarantined(name: str) -> dict[int, str]:
    """Return why partitions are in quarantine, as the owners say."""
    return {p: why for said in owners(name) for p, why in said.get("quarantined", {}).items()}


def repair(pipeline: Pipeline) -> list[str]:
    """Do what `chipquality pipeline repair --apply` does; return what it says of each partition."""
    around = Surroundings(KafkaLog(pipeline.cluster), SystemClock(), Codec.of(pipeline))
    hosts = InOwner(pipeline.name, pipeline.families, pipeline.clean_rows)
    try:
        plans = apply(pipeline, around, hosts, plan(pipeline, around, hosts))
    finally:
        around.log.close()
    return [f"{each.partition}: {each.diagnosis.cure}: {each.diagnosis.why}" for each in plans]


def second_supervisor(pipeline: Pipeline) -> Callable[[], None]:
    """Start another supervisor of the same pipeline beside the first, until it has read the deal; the returned call ends it."""
    from actors.supervision.actor import Supervisor

    other = Supervisor.options(namespace=NAMESPACE, num_cpus=0, max_concurrency=4).remote(pipeline)
    wait(lambda: ray.get(other.status.remote(), timeout=LIVE_TIMEOUT_S)["deal"], "the other has a deal", LIVE_TIMEOUT_S)
    return lambda: ray.kill(other)


def scale(name: str, slots: int) -> None:
    """Have so many slots; return when the supervisor says that all are live."""
    supervisor.scale(name, slots, LIVE_TIMEOUT_S)


def shares(name: str) -> dict[int, int]:
    """Return partition → slot, as the owners say."""
    return {
        int(partition): said["slot"]
        for said in owners(name)
        if said.get("state") == "live"
        for partition in said["partitions"]
    }


def wait(condition: Callable[[], object], what: str, timeout_s: float) -> float:
    """Wait until a condition holds; return how long that took. Raises TimeoutError."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout_s:
            raise TimeoutError(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(0.02)
    return time.monotonic() - began


def _named(prefix: str) -> list[str]:
    every = ray.util.list_named_actors(all_namespaces=True)
    return sorted(a["name"] for a in every if a["namespace"] == NAMESPACE and a["name"].startswith(prefix))
