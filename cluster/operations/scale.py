"""Spreading a running pipeline over another number of slots, without a stop."""

from __future__ import annotations

import time
from typing import Any

from ray.exceptions import GetTimeoutError, RayActorError

from actors import supervisor
from actors.deal import check_slots
from actors.errors import ConfigError
from actors.names import SATELLITE
from cluster.operations.errors import Absent, Invalid, shown
from cluster.operations.plans import Plan
from cluster.operations.running import Work

LOOK_S = 0.2


def scale_plan(pipeline: str, slots: int) -> Plan:
    """Return the plan. Raises Absent if no such pipeline runs, Invalid for a number of slots that cannot be."""
    if pipeline.startswith(SATELLITE):
        raise Invalid(f"{shown(pipeline)} is a deployed detector, and has one slot")
    try:
        running = supervisor.pipeline_of(pipeline)
        before = supervisor.status(pipeline)["slots"]
    except ValueError as error:
        raise Absent(f"no pipeline {shown(pipeline)} runs") from error
    try:
        check_slots(slots, len(running.partitions))
    except ConfigError as error:
        raise Invalid(str(error)) from error
    return Plan("scale", f"pipeline {pipeline}", {"pipeline": pipeline, "slots": slots, "from": before})


def run_scale(work: Work) -> str:
    """Have so many slots, and wait until they are live. Raises ConfigError, TimeoutError with what was last said."""
    name, slots = work.plan["pipeline"], work.plan["slots"]
    supervisor.want_slots(name, slots)
    deadline = time.monotonic() + supervisor.LIVE_TIMEOUT_S
    said: dict[str, Any] = {"trouble": "it does not answer"}
    while time.monotonic() < deadline:
        try:
            said = supervisor.status(name)
        except (RayActorError, GetTimeoutError) as error:
            said = {"trouble": f"the supervisor cannot be reached: {error}"}
        else:
            live = sum(owner["state"] == "live" for owner in said["owners"])
            work.tell(min(live, slots), slots, f"{live} slots are live")
            if said["slots"] == slots and supervisor.all_live(said):
                return f"{name} has {slots} slots, all live"
        work.pause(LOOK_S, f"{name} goes on to have {slots} slots")
    why = said.get("trouble") or "not all are live yet"
    raise TimeoutError(f"{name} after {supervisor.LIVE_TIMEOUT_S:g} s: {why}; its slots go on trying")
