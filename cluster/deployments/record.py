"""What is known of one deployment, as it is kept in `quality.deployments` and as it is told. Pure.

Theory of operation
-------------------
A deployment is a detector of a package that runs beside a pipeline, in a pipeline of its own. Its *mode* is the share of the
series whose verdicts go to the live topics: none (shadow), some (canary), all (live). Its `history` says in which mode it judged
which stretch of each input partition; the stretches follow each other without a gap. Its *phase* says what its processes do:

    CHECKING → WARMING → SHADOW ⇄ CANARY ⇄ LIVE        SWITCHING: between two modes, or on the way to STOPPED
                            ↓        ↓       ↓
                           STOPPED (by people: promoted over, rolled back)   OFF (by us: it failed; `reason` says how)

STOPPED and OFF run nothing; their state and group are kept until the deployment is removed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from actors.engine.share import EVERY_SERIES, PLACES, Share

Offsets = Mapping[int, int]  # by partition

NOTHING = Share(0, 0)  # of the series are live: shadow
HISTORY_MAX = 100  # spells that are kept; the oldest are forgotten first
REASON_MAX = 500
TRACEBACK_MAX = 8_000


class Phase(StrEnum):
    """What a deployment's processes do."""

    checking = "checking"
    warming = "warming"
    shadow = "shadow"
    canary = "canary"
    live = "live"
    switching = "switching"
    stopped = "stopped"
    off = "off"


RUNNING = frozenset({Phase.warming, Phase.shadow, Phase.canary, Phase.live})
STANDING = frozenset(
    {Phase.shadow, Phase.canary, Phase.live}
)  # that have a mode, and keep it until somebody changes it


def phase_of(share: Share) -> Phase:
    """Return the phase of a deployment that runs with this share of the series live.

    >>> phase_of(Share(0, 0)).value, phase_of(Share(0, 1000)).value, phase_of(Share(0, 10000)).value
    ('shadow', 'canary', 'live')
    """
    if share.high <= share.low:
        return Phase.shadow
    return Phase.live if share.whole else Phase.canary


def mode_of(text: str) -> Share:
    """Return the share that a person's word for a mode means: shadow, live, canary:10%. Raises ValueError.

    >>> mode_of("canary:2.5%"), mode_of("shadow") == NOTHING, mode_of("live") == EVERY_SERIES
    (Share(low=0, high=250), True, True)
    """
    if text in {"shadow", "live"}:
        return NOTHING if text == "shadow" else EVERY_SERIES
    kind, _, share = text.partition(":")
    try:
        places = round(float(share.removesuffix("%")) * PLACES / 100)
    except (ValueError, OverflowError):
        places = 0
    if kind != "canary" or not share.endswith("%") or not 0 < places < PLACES:
        raise ValueError(f"{text[:40]!r} is no mode: shadow, live, or canary:10% (more than 0, less than 100)")
    return Share(0, places)


def mode_text(share: Share) -> str:
    """Return the mode as it is told.

    >>> mode_text(Share(0, 250)), mode_text(Share(250, 10000)), mode_text(NOTHING)
    ('canary:2.5%', 'canary:97.5%', 'shadow')
    """
    phase = phase_of(share)
    return f"canary:{(share.high - share.low) * 100 / PLACES:g}%" if phase is Phase.canary else phase.value


class Spell(NamedTuple):
    """A stretch of the input in one mode."""

    share: Share
    began: Offsets
    ended: Offsets | None
    began_ms: int
    by: str


class Switch(NamedTuple):
    """A change of mode that is under way."""

    to: Share | None  # None: it is to be stopped
    from_phase: Phase
    at: Offsets | None = None  # None: not known yet


@dataclass(frozen=True)
class Deployment:
    """A deployment at one moment."""

    name: str
    pipeline: str
    store: str
    digest: str
    target: str
    parameters: Mapping[str, Any]
    limits: Mapping[str, Any]
    series: tuple[str, ...]
    label: str
    by: str
    created_ms: int
    changed_ms: int
    replaces: str | None = None
    wanted: str = "shadow"  # mode once it is warm
    description: Mapping[str, Any] | None = None
    examined: Mapping[str, Any] | None = None
    phase: Phase = Phase.checking
    starts: Offsets = ()  # type: ignore[assignment]
    warm: Offsets = ()  # type: ignore[assignment]
    history: tuple[Spell, ...] = ()
    switch: Switch | None = None
    reason: str = ""
    traceback: str = ""

    @property
    def share(self) -> Share:
        """Return the share of the series whose verdicts are live, as long as it runs; of one that does not, as it was last."""
        return self.history[-1].share if self.history else NOTHING

    def began(self, starts: Offsets, warm: Offsets, now_ms: int) -> Deployment:
        """Return it as it warms up in shadow, from these offsets on."""
        spell = Spell(NOTHING, dict(starts), None, now_ms, self.by)
        return replace(
            self, phase=Phase.warming, starts=dict(starts), warm=dict(warm), history=(spell,), changed_ms=now_ms
        )

    def switching(self, switch: Switch, now_ms: int) -> Deployment:
        """Return it on the way to another mode."""
        return replace(self, phase=Phase.switching, switch=switch, changed_ms=now_ms)

    def switched(self, at: Offsets, to: Share | None, now_ms: int, by: str) -> Deployment:
        """Return it in its new mode from these offsets on; `to` None: stopped there."""
        history = self.history
        if history and history[-1].ended is None:
            history = (*history[:-1], history[-1]._replace(ended=dict(at)))
        if to is not None:
            history = (*history, Spell(to, dict(at), None, now_ms, by))
        phase = Phase.stopped if to is None else phase_of(to)
        return replace(
            self,
            phase=phase,
            history=history[-HISTORY_MAX:],
            switch=None,
            reason="",
            traceback="",
            changed_ms=now_ms,
        )

    def unswitched(self, now_ms: int) -> Deployment:
        """Return it as it was before a switch that has not come to pass."""
        assert self.switch is not None  # noqa: S101 - for mypy
        return replace(self, phase=self.switch.from_phase, switch=None, changed_ms=now_ms)

    def off(self, at: Offsets | None, reason: str, traceback: str, now_ms: int) -> Deployment:
        """Return it switched off, having judged up to these offsets; None: nobody knows."""
        history = self.history
        if history and history[-1].ended is None and at is not None:
            history = (*history[:-1], history[-1]._replace(ended=dict(at)))
        return replace(
            self,
            phase=Phase.off,
            history=history,
            switch=None,
            reason=" ".join(reason.split())[:REASON_MAX],
            traceback=traceback[-TRACEBACK_MAX:],
            changed_ms=now_ms,
        )

    def told(self) -> dict[str, Any]:
        """Return it as the API and the commands tell it."""
        described = self.description or {}
        return {
            "name": self.name,
            "pipeline": self.pipeline,
            "phase": self.phase.value,
            "mode": mode_text(self.share) if self.history else None,
            "reason": self.reason or None,
            "traceback": self.traceback or None,
            "package": self.digest,
            "target": self.target,
            "parameters": dict(self.parameters),
            "limits": dict(self.limits),
            "series": list(self.series),
            "label": self.label,
            "detector": described.get("description", {}).get("identity"),
            "replaces": self.replaces,
            "wanted": self.wanted,
            "starts": _told(self.starts),
            "warm_to": _told(self.warm),
            "history": [
                {
                    "mode": mode_text(spell.share),
                    "share": [spell.share.low, spell.share.high],
                    "from": _told(spell.began),
                    "to": None if spell.ended is None else _told(spell.ended),
                    "at_ms": spell.began_ms,
                    "by": spell.by,
                }
                for spell in self.history
            ],
            "switch": None
            if self.switch is None
            else {
                "to": "stopped" if self.switch.to is None else mode_text(self.switch.to),
                "at": None if self.switch.at is None else _told(self.switch.at),
            },
            "examined": None if self.examined is None else dict(self.examined),
            "by": self.by,
            "created_ms": self.created_ms,
            "changed_ms": self.changed_ms,
        }

    def to_record(self) -> dict[str, Any]:
        """Return the fields of schemas/avro/deployment.avsc."""
        switch = self.switch
        return {
            "name": self.name,
            "pipeline": self.pipeline,
            "store": self.store,
            "digest": self.digest,
            "target": self.target,
            "parameters": _json(self.parameters),
            "limits": _json(self.limits),
            "description": None if self.description is None else _json(self.description),
            "examined": None if self.examined is None else _json(self.examined),
            "series": list(self.series),
            "label": self.label,
            "replaces": self.replaces,
            "wanted": self.wanted,
            "phase": self.phase.name.upper(),
            "starts": _told(self.starts),
            "warm": _told(self.warm),
            "history": [
                {
                    "low": spell.share.low,
                    "high": spell.share.high,
                    "began": _told(spell.began),
                    "ended": None if spell.ended is None else _told(spell.ended),
                    "began_ms": spell.began_ms,
                    "by": spell.by,
                }
                for spell in self.history
            ],
            "switch": None
            if switch is None
            else {
                "to_low": None if switch.to is None else switch.to.low,
                "to_high": None if switch.to is None else switch.to.high,
                "from_phase": switch.from_phase.value,
                "at": None if switch.at is None else _told(switch.at),
            },
            "reason": self.reason,
            "traceback": self.traceback,
            "by": self.by,
            "created_ms": self.created_ms,
            "changed_ms": self.changed_ms,
        }

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Deployment:
        """Return what `to_record` wrote. Raises ValueError for a phase that this version does not know."""
        given = dict(fields)
        return cls(
            phase=Phase(given.pop("phase").lower()),
            parameters=json.loads(given.pop("parameters")),
            limits=json.loads(given.pop("limits")),
            description=_read(given.pop("description")),
            examined=_read(given.pop("examined")),
            series=tuple(given.pop("series")),
            starts=_offsets(given.pop("starts")),
            warm=_offsets(given.pop("warm")),
            history=tuple(_spell(said) for said in given.pop("history")),
            switch=_switch(given.pop("switch")),
            **given,
        )


def _spell(said: Mapping[str, Any]) -> Spell:
    ended = said["ended"]
    return Spell(
        Share(said["low"], said["high"]),
        _offsets(said["began"]),
        None if ended is None else _offsets(ended),
        said["began_ms"],
        said["by"],
    )


def _switch(said: Mapping[str, Any] | None) -> Switch | None:
    if said is None:
        return None
    to = None if said["to_low"] is None else Share(said["to_low"], said["to_high"])
    return Switch(to, Phase(said["from_phase"]), None if said["at"] is None else _offsets(said["at"]))


def _told(offsets: Offsets | Sequence[Any]) -> dict[str, int]:
    """Return offsets as JSON has them."""
    return {str(partition): offset for partition, offset in sorted(dict(offsets).items())}


def _offsets(said: Mapping[str, int]) -> dict[int, int]:
    return {int(partition): offset for partition, offset in said.items()}


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _read(said: str | None) -> Any:
    return None if said is None else json.loads(said)
