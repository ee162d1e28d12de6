"""Plans are values: the same facts give the same hash, other facts another one, and what cannot be is refused in a sentence."""

from __future__ import annotations

import pytest

from actors.kafka.changes import GroupOfTopic, Standing
from actors.sinks.redrive import Letter, Outgoing, Refusal
from cluster.operations import plans
from cluster.operations.bounds import EARLIEST, LATEST, OFFSET_MAX, Bound, bound_of, when_ms
from cluster.operations.delete import DeleteFacts, plan_delete
from cluster.operations.errors import Absent, Conflict, Invalid, Refused
from cluster.operations.plans import Plan
from cluster.operations.redrive import place_of, plan_redrive
from cluster.operations.replay import ReplayFacts, ReplayWish, check_wish, plan_replay, require_none
from cluster.operations.reset import ResetFacts, ResetWish, plan_reset
from schemas.topics import ALERTS, CONTROL, DEALS, OPERATIONS, STATE


def test_the_hash_is_of_what_is_done_not_of_what_moves_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan("delete", "topic t", {"topic": "t", "records": 3}, {"now": 1})
    assert plan.hash == Plan("delete", "topic t", {"records": 3, "topic": "t"}, {"now": 2}).hash
    assert plan.hash != Plan("delete", "topic t", {"topic": "t", "records": 4}).hash
    assert plan.told()["plan"] == {
        "kind": "delete",
        "subject": "topic t",
        "topic": "t",
        "records": 3,
        "estimate": {"now": 1},
    }
    monkeypatch.setattr(plans, "PLAN_BYTES_MAX", 20)
    with pytest.raises(Invalid, match="ask for less"):
        plan.to_json()


def test_a_replay_begins_with_topics_of_its_own_or_not_at_all() -> None:
    require_none(set())
    for there in ({"june.charts"}, {"june.charts", "june.alerts", "june.dlq", "june.state"}):
        with pytest.raises(Conflict, match=r"june.charts.* is there by now: plan again"):
            require_none(there)


@pytest.mark.parametrize("text", ["noon", "", "2026-13-01", "-5", "9" * 30, "99999-01-01"])
def test_what_is_no_bound_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        bound_of(text)
    with pytest.raises(Invalid, match="is no time"):
        when_ms(-1)


def test_bounds_by_partition() -> None:
    assert (Bound(offset=3).at(7), Bound(offsets={1: 5}).at(1), Bound(offsets={1: 5}).at(0)) == (3, 5, None)
    assert bound_of(str(OFFSET_MAX)).offset == OFFSET_MAX
    assert bound_of("latest") == LATEST


# ---- reset


def reset(to: Bound, standing: Standing | None = None, *, topic: str | None = None, **further: object) -> Plan:
    standing = standing or Standing("empty", 0, {("t", 0): 5, ("t", 1): 9})
    facts = ResetFacts(
        standing, further.get("bounds", {("t", 0): (2, 20), ("t", 1): (0, 9)}), further.get("by_time", {})
    )  # type: ignore[arg-type]
    return plan_reset(ResetWish(to, group="g", topic=topic), facts)


def targets(plan: Plan) -> list[int | None]:
    return [item["to"] for item in plan.does["offsets"]]


def test_a_group_is_set_to_what_there_is() -> None:
    assert targets(reset(EARLIEST)) == [2, 0]
    assert targets(reset(Bound(offset=15))) == [15, 9]
    assert targets(reset(Bound(offset=1))) == [2, 1]
    assert targets(reset(Bound(offsets={1: 4}))) == [4]
    assert targets(reset(Bound(time_ms=5), by_time={("t", 0): 7, ("t", 1): None})) == [7, None]
    latest = reset(LATEST)
    assert targets(latest) == [None, None]
    assert [item["to"] for item in latest.estimate["offsets"]] == [20, 9]
    grown = reset(LATEST, bounds={("t", 0): (2, 21), ("t", 1): (0, 9)})
    assert grown.hash == latest.hash, "that the line runs does not change the plan"
    assert reset(EARLIEST, Standing("empty", 0, {("t", 0): 6})).hash != reset(EARLIEST).hash


def test_a_reset_says_whether_it_makes_the_group() -> None:
    assert [reset(EARLIEST, Standing(state, 0, {}), topic="t").does["new"] for state in ("dead", "empty")] == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("to", "standing", "further", "error", "says"),
    [
        (EARLIEST, Standing("stable", 2, {("t", 0): 5}), {}, Conflict, "has 2 members"),
        (EARLIEST, Standing("dead", 0, {}), {}, Absent, "no group g"),
        (EARLIEST, None, {"bounds": {}}, Absent, "no such topic"),
        (Bound(event_time_ms=1), None, {}, Invalid, "event times"),
        (Bound(offsets={7: 1}), None, {}, Invalid, "none of the partitions"),
    ],
)
def test_a_reset_that_cannot_be_is_refused(
    to: Bound, standing: Standing | None, further: dict[str, object], error: type[Refused], says: str
) -> None:
    with pytest.raises(error, match=says):
        reset(to, standing, **further)


# ---- delete


@pytest.mark.parametrize(
    "topic", ["__consumer_offsets", "_schemas", STATE, DEALS, CONTROL, ALERTS, OPERATIONS, "fab.ml.dlq"]
)
def test_topics_that_the_product_stands_on_are_never_deleted(topic: str) -> None:
    with pytest.raises(Conflict, match=r"own|never deleted"):
        plan_delete(topic, DeleteFacts({0: (0, 1)}, [], []))


def test_a_deletion_says_what_is_lost_and_who_reads_it() -> None:
    facts = DeleteFacts({0: (3, 10), 1: (0, 5)}, [GroupOfTopic("g", "stable", 2)], [])
    plan = plan_delete("t", facts)
    assert (plan.does["records"], plan.does["groups"]) == (12, [{"group": "g", "members": 2}])
    assert plan_delete("t", facts._replace(bounds={0: (3, 11), 1: (0, 5)})).hash != plan.hash
    with pytest.raises(Conflict, match="used by quality, which runs"):
        plan_delete("t", facts._replace(used_by=["quality"]))
    with pytest.raises(Absent, match="no topic"):
        plan_delete("t", facts._replace(bounds={}))


# ---- replay

FACTS = ReplayFacts("in", ["d1"], ["o.charts"], [], {0: (10, 100), 1: (0, 50)}, {}, {})


def replay(since: Bound = EARLIEST, until: Bound = LATEST, facts: ReplayFacts = FACTS) -> Plan:
    return plan_replay(ReplayWish("quality", "o", since, until), facts)


def spans(plan: Plan) -> list[tuple[int | None, int | None, int]]:
    return [(item["from"], item["to"], item["not_retained"]) for item in plan.does["partitions"]]


def test_a_replay_says_from_where_to_where() -> None:
    assert spans(replay()) == [(10, None, 0), (0, None, 0)]
    assert replay().estimate["records"] == 140
    assert spans(replay(Bound(offset=4), Bound(offset=40))) == [(10, 40, 6), (4, 40, 0)]
    assert spans(replay(Bound(offset=60), Bound(offset=80))) == [(60, 80, 0), (None, None, 0)]
    assert spans(replay(until=Bound(offset=500))) == [(10, None, 0), (0, None, 0)]
    assert spans(replay(Bound(offsets={0: 20}))) == [(20, None, 0), (None, None, 0)]
    by_time = FACTS._replace(since={0: 30, 1: None}, until={0: 70, 1: None})
    assert spans(replay(Bound(time_ms=1), Bound(event_time_ms=2), by_time)) == [(30, 70, 0), (None, None, 0)]
    assert spans(replay(Bound(offset=0), Bound(offset=5))) == [(None, None, 5), (0, 5, 0)]


def test_a_line_that_runs_does_not_change_the_plan_of_a_replay_to_its_end() -> None:
    grown = FACTS._replace(bounds={0: (10, 200), 1: (0, 50)})
    assert replay(facts=grown).hash == replay().hash
    retained = FACTS._replace(bounds={0: (20, 100), 1: (0, 50)})
    assert replay(facts=retained).hash != replay().hash
    assert replay(facts=FACTS._replace(detectors=["d2"])).hash != replay().hash


def test_a_replay_that_cannot_be_is_refused() -> None:
    with pytest.raises(Conflict, match=r"o\.charts is there already"):
        replay(facts=FACTS._replace(taken=["o.charts"]))
    with pytest.raises(Invalid, match="nothing of in is in that stretch; 5 offsets are not retained"):
        replay(Bound(offset=0), Bound(offset=5), FACTS._replace(bounds={0: (10, 100)}))
    with pytest.raises(Invalid, match="nothing of in"):
        replay(Bound(offset=200))
    for wish in (
        ReplayWish("p", "Big", EARLIEST, LATEST),
        ReplayWish("p", "o", LATEST, LATEST),
        ReplayWish("p", "o", EARLIEST, EARLIEST),
    ):
        with pytest.raises(Invalid):
            check_wish(wish)


# ---- redrive

LETTER = Letter("t.dlq", 0, 4, 1, {"topic": "t", "partition": 1, "offset": 7})


def test_a_redrive_names_its_letters_and_those_it_leaves() -> None:
    out = Outgoing(LETTER, "n", "t", b"k", b"v", (), 1)
    plan = plan_redrive([out], [Refusal(LETTER, "it has no value")], [("t.dlq", 0, 9)], 5)
    assert plan.does["redrive"] == [{"at": "t.dlq:0:4", "record": "t:1:7", "to": "t", "times": 1}]
    assert [left["why"] for left in plan.does["left"]] == ["it has no value", "there is no such dead letter"]
    with pytest.raises(Invalid, match="2 records would be redriven, and `max` is 1"):
        plan_redrive([out, out], [], [], 1)
    with pytest.raises(Refused, match="nothing to redrive; 1 dead letters are left: it has no value"):
        plan_redrive([], [Refusal(LETTER, "it has no value")], [], 5)


@pytest.mark.parametrize("text", ["t.dlq", "t.dlq:0", ":0:1", "t.dlq:-1:2", "t.dlq:0:x", "t.dlq:0:" + "9" * 30])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is no place"):
        place_of(text)
