"""A transaction torn at any record of any step, repaired: outputs and state are those of an undisturbed fold."""

from __future__ import annotations

from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from actors.engine.control import PartitionChange
from actors.engine.torn import Cure
from actors.outputs_check import check_outputs
from actors.repair import Plan, apply, plan
from models.limit_versions import Kind, Limits, SeriesChange
from tests.actors.torn_line import WHOLE, TornLine

TOPICS = ("state", "charts", "alerts", "dead")
WORDS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "7", "11", "12", "nan", "bad!"])).map(" ".join),
    min_size=1,
    max_size=30,
)
STEPS = st.lists(
    st.tuples(st.integers(0, 6), st.booleans(), st.sampled_from([WHOLE, WHOLE, 1]), st.booleans()),
    min_size=1,
    max_size=8,
)


def change(ident: str) -> PartitionChange:
    return PartitionChange(ident, Kind.LIMITS, (SeriesChange("a", 0, Limits(mu=5.0), 1),))


def how(number: int, step: tuple[int, bool, int, bool]) -> dict[str, Any]:
    rows, snapshot, bytes_max, changes = step
    said: dict[str, Any] = {"rows": rows, "snapshot": snapshot, "bytes_max": bytes_max}
    return said | ({"changes": [change(f"c{number}")]} if changes else {})


def repaired(line: TornLine) -> list[Plan]:
    """Plan and apply; the checker finds nothing afterwards, and a second plan has nothing to do."""
    hosts = line.hosts()
    plans = plan(line.pipeline, line.around, hosts)
    done = apply(line.pipeline, line.around, hosts, plans)
    report = check_outputs(line.pipeline, line.around)
    assert report.problems == []
    assert [each.diagnosis.cure for each in plan(line.pipeline, line.around, hosts)] == [Cure.NOTHING]
    return done


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(words=WORDS, steps=STEPS, torn_at=st.integers(0, 7), seen=st.tuples(*[st.integers(0, 6)] * 4))
def test_a_step_torn_anywhere_is_made_whole(
    words: list[str], steps: list[tuple[int, bool, int, bool]], torn_at: int, seen: tuple[int, ...]
) -> None:
    torn_at = min(torn_at, len(steps) - 1)
    calm, line = TornLine(), TornLine()
    for each in (calm, line):
        each.send(words)
        each.step(0)
    for number, step in enumerate(steps):
        calm.step(**how(number, step))
        if number != torn_at:
            line.step(**how(number, step))
            continue
        line.tear(**how(number, step), seen=dict(zip(TOPICS, seen, strict=True)))
        repaired(line)
        line.open()
        at = calm.fold.position
        if line.fold.position.next_offset < at.next_offset or line.fold.position.seq < at.seq:  # nothing told its end
            rest = how(number, step) | {"rows": at.next_offset - line.fold.position.next_offset}
            made = line.fold.changes_made
            rest["changes"] = [each for each in rest.get("changes", ()) if each.change_id not in made]
            line.step(**rest)
    while line.fold.position.next_offset < len(words):
        line.step(5)
        calm.step(5)
    assert {place: said[1:] for place, said in line.rows().items()} == {p: said[1:] for p, said in calm.rows().items()}
    assert line.events() == calm.events()
    assert line.state() == calm.state()
