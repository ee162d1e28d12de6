"""Every offset of every series is judged live by one version, whatever is promoted and rolled back, at whatever moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine.share import EVERY_SERIES, PLACES, Share
from cluster.deployments.record import (
    HISTORY_MAX,
    NOTHING,
    RUNNING,
    STANDING,
    Deployment,
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
    live_parts,
    promotion,
    rollback,
    switch_at,
)
from schemas.decode import decode_event
from schemas.encode import Encoder
from schemas.topics import load

PARTITIONS = (0, 1)
Judged = dict[tuple[int, int, int], list[str]]  # (partition, offset, place of the series) → who judged it live


def deployment(name: str, replaces: str | None = None, **more: Any) -> Deployment:
    blank = {
        "store": "file:///s",
        "digest": "0" * 64,
        "target": "m:C",
        "parameters": {},
        "limits": {},
        "series": ("*",),
    }
    return Deployment(
        name=name, pipeline="p", label="v1", by="me", created_ms=1, changed_ms=1, replaces=replaces, **(blank | more)
    )


@dataclass
class Line:
    """Versions that run beside a pipeline, as far as offsets go: what is committed, and who has judged what live."""

    records: dict[str, Deployment] = field(default_factory=dict)
    committed: dict[str, dict[int, int | None]] = field(default_factory=dict)
    judged: Judged = field(default_factory=dict)
    places: tuple[int, ...] = (0, 999, 1_000, 2_499, 2_500, PLACES - 1)

    def deploy(self, name: str, replaces: str | None) -> None:
        starts = dict.fromkeys(PARTITIONS, 0)
        self.records[name] = replace(deployment(name, replaces).began(starts, starts, 1), phase=Phase.shadow)
        self.committed[name] = dict.fromkeys(PARTITIONS)

    def goes_on(self, name: str, to: Mapping[int, int], share: Share | None = None) -> None:
        """Have a version judge on, in its mode."""
        record = self.records[name]
        share = record.share if share is None else share
        for partition, end in to.items():
            first = self.committed[name][partition] or 0
            for offset in range(first, end):
                for place in self.places:
                    if share.low <= place < share.high:
                        self.judged.setdefault((partition, offset, place), []).append(name)
            self.committed[name][partition] = max(first, end)

    def switch(self, turns: list[Turn], floor: Mapping[int, int] | None = None) -> None:
        for turn in turns:
            record = self.records[turn.name]
            self.records[turn.name] = record.switching(Switch(turn.to, record.phase), 2)
        starts = dict.fromkeys(PARTITIONS, 0)
        at = switch_at([*(self.committed[turn.name] for turn in turns), floor or {}], starts)
        for turn in turns:
            if behind(self.committed[turn.name], at, starts):
                self.goes_on(turn.name, at, catches_up_as(self.records[turn.name]))
            assert not behind(self.committed[turn.name], at, starts)
        for turn in turns:
            self.records[turn.name] = self.records[turn.name].switched(at, turn.to, 3, "me")

    def over(self, name: str) -> Deployment | None:
        replaces = self.records[name].replaces
        return None if replaces is None else self.records[replaces]


moves = st.lists(
    st.one_of(
        st.tuples(st.just("on"), st.sampled_from(["v1", "v2", "v3"]), st.integers(0, 6), st.integers(0, 6)),
        st.tuples(st.just("promote"), st.sampled_from(["v1", "v2", "v3"]), st.sampled_from([1_000, 2_500, PLACES])),
        st.tuples(st.just("rollback"), st.sampled_from(["v2", "v3"])),
        st.tuples(st.just("fails"), st.sampled_from(["v2", "v3"])),
    ),
    max_size=14,
)


@settings(max_examples=150)
@given(moves)
def test_each_offset_is_judged_live_by_one_version(said: list[tuple[Any, ...]]) -> None:
    line = Line()
    for name, replaces in (("v1", None), ("v2", "v1"), ("v3", "v2")):
        line.deploy(name, replaces)
    line.switch([Turn("v1", EVERY_SERIES)])
    for kind, name, *rest in said:
        record, over = line.records[name], line.over(name)
        if kind == "on" and record.phase in STANDING:
            line.goes_on(
                name, {p: (line.committed[name][p] or 0) + more for p, more in zip(PARTITIONS, rest, strict=True)}
            )
        elif kind == "promote" and record.phase in STANDING | {Phase.stopped} and over is not None and over.phase in (
            Phase.live, Phase.canary
        ) and over.share.high == PLACES and record.share.low == 0:  # fmt: skip
            line.switch(promotion(record, over, Share(0, rest[0])))
        elif (
            kind == "rollback"
            and record.phase in {Phase.live, Phase.canary}
            and over is not None
            and record.share.whole
        ):
            line.switch(rollback(record, over))
        elif kind == "fails" and record.phase is Phase.live and over is not None and over.phase is Phase.stopped:
            at = {p: end or 0 for p, end in line.committed[name].items()}
            off = line.records[name] = record.off(at, "it broke", "", 4)
            line.switch(rollback(off, over), judged_before(off))
        living = [r.share for r in line.records.values() if r.phase in {Phase.live, Phase.canary}]
        assert sum(share.high - share.low for share in living) == PLACES, living  # together whole
    assert all(len(by) == 1 for by in line.judged.values()), "somebody's verdict on a row is there twice"
    whole = [record.name for record in line.records.values() if record.phase is Phase.live and record.share.whole]
    for partition in PARTITIONS:
        reached = max((line.committed[name][partition] or 0 for name in whole), default=0)
        assert all((partition, offset, place) in line.judged for offset in range(reached) for place in line.places)
        told = live_parts(line.records.values(), partition)
        for (of, offset, place), by in line.judged.items():
            said_so = [
                n for n, s, a, z in told if s.low <= place < s.high and a <= offset and (z is None or offset < z)
            ]
            assert of != partition or said_so == by  # the records say who it was


def test_turns() -> None:
    v1 = replace(deployment("v1"), phase=Phase.live)
    v2 = deployment("v2", "v1")
    assert promotion(v2, v1, EVERY_SERIES) == [Turn("v2", EVERY_SERIES), Turn("v1", None)]
    assert promotion(v2, v1, Share(0, 100)) == [Turn("v2", Share(0, 100)), Turn("v1", Share(100, PLACES))]
    assert promotion(v2, replace(v1, phase=Phase.off), EVERY_SERIES) == [Turn("v2", EVERY_SERIES)]
    assert promotion(v2, None, EVERY_SERIES) == [Turn("v2", EVERY_SERIES)]
    v2 = replace(v2, phase=Phase.live)
    stopped = replace(v1, phase=Phase.stopped)
    assert rollback(v2, stopped) == [Turn("v2", None), Turn("v1", EVERY_SERIES)]
    assert rollback(replace(v2, phase=Phase.off), stopped) == [Turn("v1", EVERY_SERIES)]
    assert rollback(v2, None) == [Turn("v2", None)]


def test_who_was_stopped_catches_up_in_shadow() -> None:
    live = deployment("v1").began({0: 0}, {0: 0}, 1).switched({0: 5}, EVERY_SERIES, 2, "me")
    assert catches_up_as(live.switching(Switch(None, Phase.live), 3)) == EVERY_SERIES
    stopped = live.switched({0: 9}, None, 4, "me")
    assert stopped.phase is Phase.stopped
    assert stopped.history[-1].ended == {0: 9}
    assert catches_up_as(stopped.switching(Switch(EVERY_SERIES, Phase.stopped), 5)) == NOTHING


def test_a_record_is_read_as_it_was_written() -> None:
    record = deployment("v2", "v1", description={"description": {"identity": "a@1-0"}}, examined={"us_per_row": 1.5})
    record = record.began({0: 3, 1: 0}, {0: 9, 1: 2}, 5).switched({0: 9, 1: 4}, Share(0, 250), 6, "you")
    record = record.switching(Switch(None, Phase.canary, {0: 11, 1: 5}), 7)
    encoder = Encoder("deployment", 7)
    for each in (
        record,
        record.unswitched(8),
        record.off({0: 10, 1: 4}, "it  broke\nhere", "trace", 9),
        deployment("x"),
    ):
        read = decode_event(encoder.encode(each.to_record()), lambda _: load("deployment"))
        assert Deployment.of_record(read).told() == each.told()
    off = record.off({0: 10, 1: 4}, "it  broke\nhere", "trace", 9)
    assert (off.phase, off.reason, off.traceback, off.switch) == (Phase.off, "it broke here", "trace", None)
    assert off.history[-1].ended == {0: 10, 1: 4}
    assert record.unswitched(8).phase is Phase.canary
    assert record.told()["switch"] == {"to": "stopped", "at": {"0": 11, "1": 5}}
    assert off.phase not in RUNNING


def test_history_is_bounded() -> None:
    record = deployment("v").began({0: 0}, {0: 0}, 1)
    for at in range(2 * HISTORY_MAX):
        record = record.switched({0: at}, EVERY_SERIES if at % 2 else NOTHING, at, "me")
    assert len(record.history) == HISTORY_MAX


@pytest.mark.parametrize(
    "said", ["canary", "canary:0%", "canary:100%", "canary:x%", "canary:10", "warm", "canary:1e999%"]
)
def test_what_is_no_mode(said: str) -> None:
    with pytest.raises(ValueError, match="no mode"):
        mode_of(said)


def test_modes() -> None:
    for said in ("shadow", "live", "canary:10%", "canary:0.25%"):
        assert mode_text(mode_of(said)) == said
    assert phase_of(mode_of("canary:10%")) is Phase.canary
