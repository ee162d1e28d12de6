"""A transaction torn at any record of any step, repaired: outputs and state are those of an undisturbed fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from actors.deal import Deal, Share
from actors.engine.control import PartitionChange
from actors.engine.fold import Topics
from actors.engine.outputs import Kind as Wrong
from actors.engine.position import Record
from actors.engine.torn import Cure
from actors.errors import FencedError, ReopenError
from actors.kafka.transaction import TRANSACTION_TIMEOUT_MS
from actors.outputs_check import TAIL_IDLE_S, TAIL_OFFSETS, TAIL_OFFSETS_MAX, check_outputs, newest_steps
from actors.repair import Plan, apply, plan
from models.limit_versions import Kind, Limits, SeriesChange
from tests.actors.engine.world import Above, Json
from tests.actors.torn_line import WHOLE, TornLine
from tests.simulation.model import Client, Faults, Runtime

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


@pytest.mark.slow
@settings(max_examples=40, phases=[Phase.explicit, Phase.generate])
@example(  # pages apart, in a place where none stood before
    words=["b 11", "b nan", "a 7", "c 12", "c 1"],
    steps=[(2, True, WHOLE, True), (6, True, 1, False), (5, True, 1, True), (0, False, 1, False)],
    torn_at=2,
    seen=(2, 2, 1, 4),
)
@example(  # the first page of a book of alerts, in a snapshot that overwrites pages
    words=["a 1", "a 11"], steps=[(1, True, WHOLE, False)] * 2, torn_at=1, seen=(2, 0, 0, 0)
)
@given(words=WORDS, steps=STEPS, torn_at=st.integers(0, 7), seen=st.tuples(*[st.integers(0, 6)] * 4))
def test_a_step_torn_anywhere_is_made_whole(
    words: list[str], steps: list[tuple[int, bool, int, bool]], torn_at: int, seen: tuple[int, ...]
) -> None:
    torn_at = min(torn_at, len(steps) - 1)
    calm, line = TornLine(), TornLine()
    words = ["a 1", *words]  # a change names this series, and would give it its code
    for each in (calm, line):
        each.send(words)
        each.step(1)
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


# ---- what else can be wrong


def stepped(*sizes: int, words: int = 20, **how: Any) -> TornLine:
    """A line whose steps had these sizes, all of them committed; one row in three is above the limit."""
    line = TornLine()
    line.send([f"{'ab'[i % 2]} {12 if i % 3 == 0 else 1}" for i in range(words)])
    for size in sizes:
        line.step(size, **how)
    return line


def planned(line: TornLine) -> Plan:
    (found,) = plan(line.pipeline, line.around, line.hosts())
    return found


def refusal(line: TornLine) -> str:
    """Return why a repair is refused; nothing is written then."""
    found = planned(line)
    ends = {topic: line.around.log.end(topic, [0]) for topic in TOPICS}
    assert apply(line.pipeline, line.around, line.hosts(), [found]) == [found]
    assert {topic: line.around.log.end(topic, [0]) for topic in TOPICS} == ends
    assert (found.diagnosis.cure, found.records) == (Cure.REFUSED, ())
    assert found.diagnosis.way
    return found.diagnosis.why


def test_a_new_pipeline_and_a_whole_one_need_nothing() -> None:
    assert planned(TornLine()).diagnosis.cure is Cure.NOTHING
    assert planned(stepped(4, 4)).diagnosis.cure is Cure.NOTHING


@pytest.mark.parametrize("by_hand", [0, 3, 19])
def test_an_offset_that_was_set_by_hand_is_set_to_the_position(by_hand: int) -> None:
    line = stepped(4, 4, 4)
    line.broker.offsets["quality", ("fab", 0)] = by_hand
    assert planned(line).diagnosis.cure is Cure.OFFSET
    assert "set by hand" in planned(line).diagnosis.why
    repaired(line)
    assert line.committed() == 12
    line.open()
    line.step(8)
    assert len(line.rows()) == 20 * 3


def test_an_offset_that_was_set_by_hand_over_a_torn_step_hides_nothing() -> None:
    line = stepped(4, 4)
    line.tear(4, {"state": 9, "charts": 1})
    line.broker.offsets["quality", ("fab", 0)] = 12
    assert planned(line).diagnosis.start == 8
    repaired(line)
    assert len(line.rows()) == 12 * 3


def test_compaction_leaves_what_is_needed_unless_the_step_was_a_snapshot() -> None:
    for snapshot in (False, True):
        line = stepped(4, 4, snapshot=True)
        line.tear(4, {"state": 99, "charts": 1}, snapshot=snapshot)
        line.broker.partition(("state", 0)).compact(0)
        if snapshot:
            assert "the step was a snapshot, and the state before it is not retained any more" in refusal(line)
        else:
            repaired(line)
            assert len(line.rows()) == 12 * 3


def test_a_page_whose_older_copy_is_gone_is_missed() -> None:
    line = stepped(4, 4, snapshot=True)
    line.tear(4, {"state": 99, "charts": 1}, snapshot=True)
    assert planned(line).diagnosis.cure is Cure.COMPLETE
    log = line.broker.partition(("state", 0))
    log.compact(log.end - next(entry.offset for entry in reversed(log.entries) if entry.key == b"position"))
    assert [entry.key for entry in log.entries].count(b"position") == 2  # that of the step before is retained
    assert "before the step is not retained any more" in refusal(line)


@pytest.mark.parametrize(
    ("topic", "keep"),
    [("state", lambda key: key != b"position"), ("state", lambda key: False)],
    ids=["position", "all"],
)
def test_lost_state_is_refused(topic: str, keep: Callable[[bytes], bool]) -> None:
    line = stepped(4, 4, snapshot=True)
    log = line.broker.partition((topic, 0))
    log.entries = [entry for entry in log.entries if entry.marker or keep(entry.key or b"")]
    assert "there is no position record, and offset 8 is committed: state is lost" in refusal(line)


def test_input_that_is_gone_is_refused() -> None:
    line = stepped(4, 4)
    line.tear(4, {"state": 9})
    line.broker.partition(("fab", 0)).delete_before(6)
    assert "input from 0 is needed and retained only from 6" in refusal(line)


def test_where_nothing_tells_where_the_step_began_nothing_is_done() -> None:
    line = stepped(4, 4)
    line.broker.offsets["quality", ("fab", 0)] = 4
    line.broker.partition(("state", 0)).compact(0)
    charts = line.broker.partition(("charts", 0))
    charts.delete_before(charts.end)
    assert "tells where the last step began" in refusal(line)
    assert "set it to 8 with Kafka's tools" in planned(line).diagnosis.way


def test_steps_beyond_a_position_that_was_lost_are_refused() -> None:
    line = stepped(4, 4, 4)
    log = line.broker.partition(("state", 0))
    positions = [entry.offset for entry in log.entries if entry.key == b"position"]
    log.entries = [entry for entry in log.entries if entry.offset < positions[0] + 1]
    line.broker.offsets["quality", ("fab", 0)] = 4
    assert "blocks stand there that are not of that step" in refusal(line)
    line = stepped(4, 4)
    line.tear(4, {"charts": 2})
    line.broker.offsets["quality", ("fab", 0)] = 19
    assert "offset 19 is committed: the newest state is lost" in refusal(line)


def test_a_step_that_gives_something_else_now_is_refused() -> None:
    line = stepped(4, 4)
    line.tear(4, {"state": 9, "charts": 1, "alerts": 9})
    line.families = line.pipeline.families | {"high": (Above(limit=2.0),)}  # another detector, as a new version may be
    assert "folded again, the step does not give what stands in the outputs" in refusal(line)


def test_an_output_that_the_step_does_not_give_is_refused() -> None:
    line = stepped(4, 4)
    line.tear(4, {"state": 9, "charts": 1, "alerts": 9})
    line.broker.append(("dead", 0), Json().encode({"source": "quality", "topic": "fab", "partition": 0, "offset": 9}))
    assert "offset 9 in dead" in refusal(line)


@pytest.mark.parametrize("seen", [{"state": 9}, {"state": 9, "charts": 1}, {"charts": 2}, {"alerts": 9}])
def test_a_detector_that_failed_in_the_torn_step_fails_again(seen: dict[str, int]) -> None:
    words = ["a 1", "a 12", "b 1", "b 12", "a 666", "a 1", "b 1"]
    calm, line = TornLine(), TornLine()
    for each in (calm, line):
        each.send(words)
        each.step(1, snapshot=True)
    calm.step(5)
    line.tear(5, seen)
    repaired(line)
    line.open()
    for each in (calm, line):
        each.step(len(words) - each.fold.position.next_offset)
    assert [applied[0] for applied in line.fold.position.applied] == [1]
    assert line.events() == calm.events()


# ---- writing


class Returning:
    """A log on which an owner comes back just before a repair commits."""

    def __init__(self, line: TornLine, times: int) -> None:
        self.line, self.times = line, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self.line.around.log, name)

    def writer(self, transactional_id: str) -> Any:
        made = self.line.around.log.writer(transactional_id)
        open_writer = made.open

        def opened_and_fenced() -> None:
            open_writer()
            if self.times > 0:
                self.times -= 1
                self.line.around.log.writer(transactional_id).open()

        made.open = opened_and_fenced  # type: ignore[method-assign]
        return made


@pytest.mark.parametrize("times", [1, 3])
def test_a_repair_that_the_owner_fences_is_tried_again(times: int) -> None:
    line = stepped(4, 4)
    line.tear(4, {"state": 9, "charts": 1})
    around = replace(line.around, log=Returning(line, times))
    apply(line.pipeline, around, line.hosts(), [planned(line)])
    assert check_outputs(line.pipeline, line.around).problems == []
    assert line.committed() == 12


def test_a_repair_gives_up_and_has_written_nothing() -> None:
    line = stepped(4, 4)
    line.tear(4, {"state": 9, "charts": 1})
    with pytest.raises(ReopenError, match="not repaired in 5 attempts"):
        apply(line.pipeline, replace(line.around, log=Returning(line, 99)), line.hosts(), [planned(line)])
    assert line.committed() == 8
    assert len(line.read("charts")) == 5


def test_a_plan_that_was_overtaken_is_made_anew() -> None:
    line = stepped(4, 4)
    line.tear(4, {"state": 9, "charts": 1})
    old = planned(line)
    repaired(line)
    done = apply(line.pipeline, line.around, line.hosts(), [old])
    assert [each.diagnosis.cure for each in done] == [Cure.NOTHING]
    assert check_outputs(line.pipeline, line.around).problems == []


@pytest.mark.parametrize("topic", ["alerts", "state", "charts", "dead"])
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_a_step_that_is_committed_while_all_is_read_is_not_torn(topic: str, steps: int) -> None:
    line = stepped(4, 4, words=100)
    last = line.fold.position.next_offset + 4 * steps

    class Going:
        """Commits a step whenever the topic is about to be read."""

        def __getattr__(self, name: str) -> Any:
            return getattr(line.around.log, name)

        def reader(self, group: str, of: str) -> Any:
            if of == topic and line.fold.position.next_offset < last:
                line.step(4)
            return line.around.log.reader(group, of)

    (found,) = plan(line.pipeline, replace(line.around, log=Going()), line.hosts())
    assert (found.diagnosis.cure, found.records) == (Cure.NOTHING, ())


def test_the_slot_that_has_the_partition_now_is_fenced() -> None:
    line = TornLine(topics=Topics("charts", "alerts", "dead", "state", deals="deals"))
    line.send(["a 1"] * 8)
    line.step(4)
    line.tear(4, {"state": 9})
    deal = Deal("quality", 7, 4, (1, 1, 1, 1), (Share(3, 7, (0,)),))
    line.broker.append(("deals", 0), Json().encode(deal.to_record()), b"quality")
    owner = line.around.log.writer("quality-3")
    owner.open()
    repaired(line)
    with pytest.raises(FencedError):
        owner.commit([Record("state", 0, b"x", b"x")], "fab", {0: 8}, "quality").result(1)


def test_plans_and_reports_as_json() -> None:
    line = stepped(4, 4)
    line.tear(4, {"state": 9, "charts": 1})
    found = planned(line)
    said = found.to_json(line.pipeline)
    assert said["writes"] == {"state records": 1, "chart blocks": 1, "alerts": 6}
    assert (said["cure"], said["first_offset"], said["next_offset"]) == ("complete the step", 8, 12)
    report = check_outputs(line.pipeline, line.around).to_json()
    assert [problem["kind"] for problem in report["problems"]] == [
        "position and committed offset differ",
        "behind the position",
    ]
    assert report["partitions"]["0"]["families"]["low"] == {"blocks": 2, "first_offset": 0, "next_offset": 8}


def test_what_was_set_aside_in_a_torn_step_is_looked_at_too() -> None:
    line = TornLine(topics=Topics("charts", "alerts", "dead", "state", late="late"))
    line.send(["a 1"] * 8)
    line.step(4)
    letter = {"source": "quality", "topic": "fab", "partition": 0, "offset": 5}
    line.broker.append(("late", 0), Json().encode(letter))
    assert "offset 5 in late" in refusal(line)
    kinds = [problem.kind for problem in check_outputs(line.pipeline, line.around).problems]
    assert kinds == [Wrong.BEYOND]


def test_records_that_cannot_be_read_are_told_and_passed_over() -> None:
    line = stepped(4, 4)
    line.broker.append(("charts", 0), b"junk")
    (problem,) = check_outputs(line.pipeline, line.around).problems
    assert (problem.kind, problem.what) == (Wrong.UNREADABLE, "1 records of the outputs")
    assert newest_steps(line.pipeline, line.around, [0], [0])[0].next_offset == 8
    assert planned(line).diagnosis.cure is Cure.NOTHING


def test_an_end_that_an_open_transaction_hides_is_waited_for_as_long_as_one_may_last() -> None:
    line = stepped(4, 4)
    other = Client(line.broker, "another", Runtime(), Faults())
    other.init()
    other.begin()
    other.produce(Record("charts", 0, b"k", b"v"))
    began = line.around.clock.now()
    with pytest.raises(ReopenError, match="not reached"):
        newest_steps(line.pipeline, line.around, [0], [0], timeout_s=3.0)
    assert 3.0 <= line.around.clock.now() - began < 4.0
    assert newest_steps(line.pipeline, line.around, [0], [0])[0].next_offset == 8
    assert TRANSACTION_TIMEOUT_MS / 1000 <= line.around.clock.now() - began < TAIL_IDLE_S


@pytest.mark.slow
def test_the_newest_step_is_found_behind_what_other_pipelines_have_written_since() -> None:
    line = stepped(4, 4)
    for _ in range(2 * TAIL_OFFSETS):
        line.broker.append(("charts", 0), b"of another")
    assert newest_steps(line.pipeline, line.around, [0], [0])[0].next_offset == 8
    assert newest_steps(line.pipeline, line.around, [0], []) == {}, "one that has written nothing is not looked for"
    for _ in range(TAIL_OFFSETS_MAX):
        line.broker.append(("charts", 0), b"of another")
    assert newest_steps(line.pipeline, line.around, [0], [0]) == {}
