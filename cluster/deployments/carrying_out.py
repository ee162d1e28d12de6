"""The operations on deployments: deploy, promote, rollback, remove. Each can be run again after its process has ended.

What is under way stands in the records (cluster/deployments/record.py), and they are written before what they say is begun. So an
operation that is resumed looks at them, and goes on from there; what it did not get to write, it does again, which does no harm:
a pipeline that runs is not started twice, what was stopped is stopped, topics that are there are there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from actors.packages.examine import examine_on
from actors.packages.limits import Limits
from actors.packages.store import PackageStore
from cluster.deployments.containing import Failure
from cluster.deployments.desk import Deployments
from cluster.deployments.record import (
    NOTHING,
    RUNNING,
    STANDING,
    Deployment,
    Offsets,
    Phase,
    Switch,
    mode_of,
    mode_text,
    phase_of,
)
from cluster.deployments.switching import (
    Turn,
    behind,
    catches_up_as,
    judged_before,
    promotion,
    rollback,
    switch_at,
)
from cluster.deployments.telling import tell_mode, tell_off
from cluster.operations.errors import Conflict, Refused
from cluster.operations.running import Cancelled, Kind, Work

LOOK_S = 0.25  # between two looks at how far it is
STALL_S = 300.0  # without a record more judged; then it is given up
LIVE_S = 120.0  # for a pipeline to be live after a switch; then it goes on trying, and the operation says so


def kinds(deployments: Deployments) -> Mapping[str, Kind]:
    """Return the kinds of operations on these deployments."""
    return {
        "deploy": Kind(lambda work: run_deploy(deployments, work), resumes=True),
        "promote": Kind(lambda work: run_promote(deployments, work), resumes=True),
        "rollback": Kind(lambda work: run_rollback(deployments, work), resumes=True),
        "remove": Kind(lambda work: run_remove(deployments, work), resumes=True),
    }


# ---- deploy


def run_deploy(deployments: Deployments, work: Work) -> str:
    """Examine a package, warm its detector up, and have it in the mode that was wanted. Raises Refused with why not."""
    plan = work.plan
    name, known = plan["deployment"], deployments.find(plan["deployment"])
    if known is None or not work.resumed:
        if known is not None:
            raise Conflict(f"there is a deployment {name} by now: take another name")
        deployments.crew.base()
        known = _new(deployments, work)
        deployments.keep(known)
    if known.phase is Phase.checking:
        work.tell(0, 0, "examines the package")
        known = _examined(deployments, known)
        known = _begun(deployments, work, known)
        tell_mode(deployments.cluster, known)
    to = mode_of(known.wanted)
    if known.phase is Phase.warming:
        deployments.begin(name)
        _warm(deployments, work, known)
        if to == NOTHING:
            deployments.keep(replace(deployments.get(name), phase=Phase.shadow, changed_ms=deployments.now_ms()))
    if to != NOTHING and deployments.get(name).phase not in STANDING:
        switch(deployments, work, promotion(known, deployments.find(known.replaces), to))
    return f"{name} is in {mode_text(deployments.get(name).share)} beside {deployments.pipeline}"


def _new(deployments: Deployments, work: Work) -> Deployment:
    plan, now_ms = work.plan, deployments.now_ms()
    return Deployment(
        name=plan["deployment"],
        pipeline=plan["pipeline"],
        store=plan["store"],
        digest=plan["package"],
        target=plan["target"],
        parameters=plan["parameters"],
        limits=plan["limits"],
        series=tuple(plan["series"]),
        label=plan["label"],
        by=work.by,
        created_ms=now_ms,
        changed_ms=now_ms,
        replaces=plan["replaces"],
        wanted=plan["mode"],
    )


def _examined(deployments: Deployments, known: Deployment) -> Deployment:
    """Have the package examined in a process of its own. Raises Refused if it cannot be deployed; then it is off."""
    limits = Limits.of_json(known.limits)
    found = examine_on(PackageStore(known.store), known.digest, known.target, known.parameters, limits)
    said = found.to_json()
    described = said.pop("packaged")
    if found.failure is not None or found.packaged is None:
        reason, detail = (found.failure.reason, found.failure.traceback) if found.failure else ("it says nothing", "")
        off = known.off(None, reason, detail, deployments.now_ms())
        off = replace(off, examined=said)
        deployments.keep(off)
        tell_off(deployments.cluster, off)
        raise Refused(f"{known.name} is not deployed: {reason}")
    return replace(known, description=described, examined=said, target=found.target)


def _begun(deployments: Deployments, work: Work, known: Deployment) -> Deployment:
    """Make the topics, and have it warm up from the offset that was wanted."""
    work.tell(0, 0, "makes topics")
    deployments.crew.make_topics(known.name, resumed=work.resumed)
    bounds = deployments.crew.bounds()
    wished: Mapping[str, int] = work.plan["from"]
    starts = {p: min(max(low, wished.get(str(p), low)), end) for p, (low, end) in bounds.items()}
    begun = known.began(starts, {p: end for p, (_, end) in bounds.items()}, deployments.now_ms())
    deployments.keep(begun)
    return begun


def _warm(deployments: Deployments, work: Work, known: Deployment) -> None:
    try:
        _until(deployments, work, known, known.warm, {Phase.warming}, "warms up")
    except Cancelled:
        _stopped(deployments, known.name)
        raise


def _stopped(deployments: Deployments, name: str) -> None:
    """Stop what somebody does not want any more, where it is."""
    record = deployments.get(name)
    deployments.keep(record.switching(Switch(None, record.phase), deployments.now_ms()))
    deployments.crew.stop([name])
    deployments.watch_anew([name])
    at = switch_at([deployments.crew.committed(name)], record.starts)
    deployments.keep(deployments.get(name).switched(at, None, deployments.now_ms(), record.by))


# ---- promote, roll back


def run_promote(deployments: Deployments, work: Work) -> str:
    """Let a deployment judge live, all series or a share of them, from a logged offset on."""
    name, to = work.plan["deployment"], mode_of(work.plan["mode"])
    record = deployments.get(name)
    if work.resumed and record.phase is phase_of(to) and record.share == to:
        deployments.begin(name)
        return _done(deployments, name)
    if record.phase is not Phase.switching:
        check_promotion(record, to, deployments.find(record.replaces))
    switch(deployments, work, promotion(record, deployments.find(record.replaces), to))
    return _done(deployments, name)


def check_promotion(record: Deployment, to: Any, over: Deployment | None) -> None:
    """Raise Conflict if a deployment cannot be promoted as it stands."""
    if record.phase not in STANDING | {Phase.stopped}:
        why = f": {record.reason}" if record.reason else ""
        raise Conflict(f"{record.name} is {record.phase}, and cannot be promoted{why}")
    if record.phase is Phase.live:
        raise Conflict(f"{record.name} is live: what it judges is given back by a rollback")
    if record.phase is not Phase.stopped and record.share == to:
        raise Conflict(f"{record.name} is in {mode_text(to)} already")
    if over is not None and over.phase in {Phase.live, Phase.canary} and over.share.high != 10_000:
        raise Conflict(
            f"{over.name}, which it replaces, is itself a canary of {mode_text(over.share)}: promote that first"
        )


def run_rollback(deployments: Deployments, work: Work) -> str:
    """Stop a deployment at a logged offset; the version that it replaced judges live from there on."""
    name = work.plan["deployment"]
    record = deployments.get(name)
    over = deployments.find(record.replaces)
    if work.resumed and record.phase in {Phase.stopped, Phase.off} and (over is None or over.phase is Phase.live):
        return _done(deployments, name)
    if Phase.switching not in {record.phase, over.phase if over is not None else None}:
        check_rollback(record, over)
    switch(deployments, work, rollback(record, over), judged_before(record))
    return _done(deployments, name)


def check_rollback(record: Deployment, over: Deployment | None) -> None:
    """Raise Conflict if a deployment cannot be rolled back as it stands."""
    if record.phase not in {Phase.live, Phase.canary, Phase.off}:
        raise Conflict(
            f"{record.name} is {record.phase}: only what judges live, or was switched off, can be rolled back"
        )
    if record.phase is Phase.off and (over is None or over.phase not in STANDING | {Phase.stopped}):
        raise Conflict(f"{record.name} is off, and there is no version before it that could judge: remove it")


def _done(deployments: Deployments, name: str) -> str:
    told = deployments.get(name).told()
    spell = told["history"][-1]
    at = ", ".join(f"{p}:{offset}" for p, offset in (spell["to"] or spell["from"]).items())
    return (
        f"{name} is {told['phase']} ({spell['mode']}) from offsets {at}"
        if spell["to"] is None
        else f"{name} is stopped at {at}"
    )


def switch(deployments: Deployments, work: Work, turns: list[Turn], floor: Offsets | None = None) -> None:
    """Change the modes of deployments at one offset of each partition (cluster/deployments/switching.py).

    Not before `floor`. If it does not come to pass all go on as before, but one that failed meanwhile, which is off. Raises why
    it did not.
    """
    records = [deployments.get(turn.name) for turn in turns]
    if any(record.phase is Phase.switching for record in records):  # resumed: as it was begun
        label = records[0].label
        records = [r for r in deployments.all() if r.phase is Phase.switching and r.label == label]
    else:
        wanted = {turn.name: turn.to for turn in turns}
        records = [r.switching(Switch(wanted[r.name], r.phase), deployments.now_ms()) for r in records]
        deployments.keep(*records)
    try:
        at = _at_rest(deployments, work, records, floor or {})
    except Exception:
        _go_back(deployments, [record.name for record in records])
        raise
    now_ms, to = deployments.now_ms(), {record.name: record.switch.to for record in records if record.switch}
    records = [deployments.get(name).switched(at, share, now_ms, work.by) for name, share in to.items()]
    deployments.keep(*records)
    for record in records:
        if record.phase in STANDING:
            deployments.begin(record.name)
    for record in records:
        tell_mode(deployments.cluster, record)
    _live(deployments, work, [record.name for record in records if record.phase in STANDING])


def _at_rest(deployments: Deployments, work: Work, records: list[Deployment], floor: Offsets) -> dict[int, int]:
    """Stop them, have all judge up to the same offsets, and return those. Raises Refused if one fails on the way."""
    crew, names = deployments.crew, [record.name for record in records]
    work.tell(0, 0, f"stops {', '.join(names)}")
    crew.stop(names)
    deployments.watch_anew(names)
    starts = {p: max(record.starts[p] for record in records) for p in records[0].starts}
    known = records[0].switch.at if records[0].switch is not None else None
    at = dict(known) if known is not None else switch_at([*(crew.committed(name) for name in names), floor], starts)
    if known is None:
        records = [
            record.switching(record.switch._replace(at=at), deployments.now_ms()) for record in records if record.switch
        ]
        deployments.keep(*records)
    late = [record for record in records if behind(crew.committed(record.name), at, record.starts)]
    for record in late:
        crew.start(record, catches_up_as(record), at)
    for record in late:
        _until(deployments, work, record, at, {Phase.switching}, "judges up to the switch")
    crew.stop([record.name for record in late])
    deployments.watch_anew(names)
    return at


def _go_back(deployments: Deployments, names: Iterable[str]) -> None:
    """Have those that still are switching go on as before."""
    for name in names:
        record = deployments.get(name)
        if record.phase is not Phase.switching:
            continue
        deployments.crew.stop([name])
        deployments.watch_anew([name])
        before = record.unswitched(deployments.now_ms())
        deployments.keep(before)
        if before.phase in RUNNING:
            deployments.begin(name)


def _live(deployments: Deployments, work: Work, names: list[str]) -> None:
    """Wait until they are live; the watch looks after them."""
    until = time.monotonic() + LIVE_S
    while time.monotonic() < until:
        for name in names:
            _check_on(deployments.get(name), STANDING)
        said = deployments.said()
        live = [n for n in names if any(owner.get("state") == "live" for owner in said.get(n, {}).get("owners", ()))]
        work.tell(len(live), len(names), f"{len(live)} of {len(names)} are live")
        if len(live) == len(names):
            return
        time.sleep(LOOK_S)
    raise TimeoutError(f"{', '.join(names)}: switched, and not live within {LIVE_S:g} s; they go on trying")


def _until(
    deployments: Deployments, work: Work, known: Deployment, ends: Offsets, phases: set[Phase], doing: str
) -> None:
    """Wait until a deployment has judged up to these offsets. Raises Refused if it fails, TimeoutError, Cancelled."""
    name, crew = known.name, deployments.crew
    total = sum(end - known.starts[p] for p, end in ends.items())
    before, since = -1, time.monotonic()
    while True:
        committed = crew.committed(name)
        done = sum(
            min(at or 0, end) - known.starts[p] for p, end in ends.items() if (at := committed.get(p)) is not None
        )
        work.tell(done, total, f"{name} {doing}: {done} of {total} records")
        if not behind(committed, ends, known.starts):
            return
        if Phase.switching in phases:  # the watch leaves it to us
            _fail_if(deployments, name, deployments.look([name]).get(name))
        _check_on(deployments.get(name), phases)
        if done > before:
            before, since = done, time.monotonic()
        elif time.monotonic() - since > STALL_S:
            raise TimeoutError(f"{name}: no record more is judged for {STALL_S:g} s")
        work.pause(LOOK_S, f"{name}: {done} of {total} records judged")


def _fail_if(deployments: Deployments, name: str, failure: Failure | None) -> None:
    if failure is not None:
        deployments.switch_off(name, failure)


def _check_on(record: Deployment, phases: Iterable[Phase]) -> None:
    """Raise Refused if a deployment is not in one of these phases any more: it was switched off."""
    if record.phase not in phases:
        raise Refused(f"{record.name} is {record.phase}: {record.reason or 'somebody has changed it'}")


# ---- remove


def run_remove(deployments: Deployments, work: Work) -> str:
    """Delete what a deployment has: processes, topics, group, record."""
    name = work.plan["deployment"]
    record = deployments.find(name)
    if record is None:
        return f"{name} is gone"
    check_removal(record)
    deployments.keep(replace(record, phase=Phase.stopped, changed_ms=deployments.now_ms()))  # nobody starts it again
    deployments.crew.kill(name)
    deployments.watch_anew([name])
    gone = deployments.crew.forget(name)
    deployments.forget(name)
    return f"{name} is gone, and with it {', '.join(gone) or 'no topic'}"


def check_removal(record: Deployment) -> None:
    """Raise Conflict if a deployment cannot be removed as it stands."""
    if record.phase in {Phase.live, Phase.canary, Phase.switching}:
        raise Conflict(f"{record.name} is {record.phase}: roll it back first")
