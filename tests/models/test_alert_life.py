"""The life of an alert: no sequence of actions loses history, every refusal has a reason, and an alert can always be closed."""

from __future__ import annotations

from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.alert_life import (
    HISTORY_MAX,
    RESERVED,
    STEPS_MAX,
    TEXT_CHARS_MAX,
    About,
    Action,
    Kind,
    Life,
    Refused,
    Status,
    StepKind,
    act,
    from_record,
    to_json,
    to_record,
)
from schemas.encode import Encoder
from schemas.topics import load

ABOUT = About(
    "quality", "fab.measurements", 1, "E1|A|R|10|CD", "spc.individuals@1-abc", "nelson_1", "CRITICAL", 7, 1_000
)
NEW = Life(alert_id="a1", about=ABOUT)


def does(life: Life, kind: Kind, by: str = "ada", **further: object) -> Life | Refused:
    return act(life, Action(kind, by, 10_000, f"x{life.version}", **further))  # type: ignore[arg-type]


def done(life: Life, kind: Kind, by: str = "ada", **further: object) -> Life:
    after = does(life, kind, by, **further)
    assert isinstance(after, Life), after
    return after


def why(life: Life, kind: Kind, by: str = "ada", **further: object) -> tuple[str, str]:
    after = does(life, kind, by, **further)
    assert isinstance(after, Refused)
    return after.ground, after.reason


def test_the_whole_way() -> None:
    life = done(NEW, Kind.ACKNOWLEDGE)
    assert (life.status, life.assigned, life.version) == (Status.ACKNOWLEDGED, "ada", 1)
    life = done(life, Kind.OCAP_STEP, text="gauge calibrated?")
    assert life.status is Status.ACKNOWLEDGED, "a checkpoint looks for the cause: it is not named yet"
    life = done(life, Kind.OCAP_STEP, step=1, text="yes, this morning")
    life = done(life, Kind.ASSIGN_CAUSE, cause="worn focus ring")
    assert life.status is Status.CAUSED
    life = done(life, Kind.OCAP_STEP, text="change the ring", step_kind=StepKind.TERMINATOR)
    assert life.status is Status.IN_OCAP
    assert why(life, Kind.CLOSE) == ("state", "step 2 of its OCAP is not done")
    life = done(life, Kind.OCAP_STEP, step=2)
    life = done(life, Kind.CLOSE, text="wafers 4 to 7 scrapped")
    assert (life.status, life.cause) == (Status.CLOSED, "worn focus ring")
    assert [(step.kind.value, step.done, step.finding) for step in life.steps] == [
        ("checkpoint", True, "yes, this morning"),
        ("terminator", True, ""),
    ]
    again = done(life, Kind.REOPEN, "bo", text="it is back")
    assert (again.status, again.assigned, again.cause, again.steps) == (Status.OPEN, None, None, life.steps)
    assert [entry.action.value for entry in again.history] == [
        "acknowledge", "ocap_step", "ocap_step", "assign_cause", "ocap_step", "ocap_step", "close", "reopen",
    ]  # fmt: skip
    assert (again.history[3].cause, again.history[2].step, again.history[-1].status) == ("worn focus ring", 1, "open")


ACKED = done(NEW, Kind.ACKNOWLEDGE)
CAUSED = done(ACKED, Kind.ASSIGN_CAUSE, cause="c")
CLOSED = done(CAUSED, Kind.CLOSE)
STEPPED = done(ACKED, Kind.OCAP_STEP, text="t", done=True)


@pytest.mark.parametrize(
    ("life", "kind", "further", "ground", "reason"),
    [
        (NEW, Kind.ASSIGN_CAUSE, {"cause": "c"}, "state", "nobody has acknowledged it yet: do that first"),
        (NEW, Kind.CLOSE, {}, "state", "nobody has acknowledged it yet: do that first"),
        (NEW, Kind.REOPEN, {"text": "t"}, "state", "it is open, not closed"),
        (NEW, Kind.COMMENT, {"text": " "}, "input", "comment needs a text: what is said"),
        (NEW, Kind.COMMENT, {"text": "x" * 1001}, "input", "text has 1001 characters; at most 1000"),
        (NEW, Kind.COMMENT, {"text": "t", "by": ""}, "input", "by is empty"),
        (ACKED, Kind.ACKNOWLEDGE, {}, "state", "ada has it already"),
        (ACKED, Kind.ESCALATED, {}, "state", "it is acknowledged, not open"),
        (ACKED, Kind.ASSIGN_CAUSE, {}, "input", "assign_cause needs a cause; where none was found, say that it is common cause"),
        (ACKED, Kind.OCAP_STEP, {}, "input", "ocap_step needs a text: what is to be done"),
        (ACKED, Kind.OCAP_STEP, {"step": 1}, "input", "there is no step 1: its OCAP has 0"),
        (ACKED, Kind.OCAP_STEP, {"text": "t", "step_kind": StepKind.TERMINATOR}, "state", None),
        (ACKED, Kind.CLOSE, {"by": "bo"}, "person", "ada has this alert: acknowledge it to take it over, or comment"),
        (CAUSED, Kind.ASSIGN_CAUSE, {"cause": "c"}, "state", "this is its cause already"),
        (CLOSED, Kind.ACKNOWLEDGE, {}, "state", "it is closed: reopen it first"),
        (CLOSED, Kind.OCAP_STEP, {"text": "t"}, "state", "it is closed: reopen it first"),
        (CLOSED, Kind.REOPEN, {}, "input", "reopen needs a text: why it is opened again"),
        (STEPPED, Kind.OCAP_STEP, {"step": 1}, "state", "step 1 is done already, by ada"),
    ],
)  # fmt: skip
def test_refusals(life: Life, kind: Kind, further: dict[str, object], ground: str, reason: str | None) -> None:
    said = why(life, kind, **further)  # type: ignore[arg-type]
    assert said[0] == ground
    assert reason in (None, said[1])


def test_who_has_it_works_on_it_and_others_take_it_over() -> None:
    taken = done(ACKED, Kind.ACKNOWLEDGE, "bo")
    assert (taken.status, taken.assigned) == (Status.ACKNOWLEDGED, "bo")
    assert why(taken, Kind.ASSIGN_CAUSE, "ada", cause="c")[0] == "person"
    assert done(taken, Kind.ASSIGN_CAUSE, "ada", cause="c", admin=True).status is Status.CAUSED
    assert done(taken, Kind.COMMENT, "ada", text="look at the pump").assigned == "bo"


def test_escalated_once_for_all() -> None:
    life = done(NEW, Kind.ESCALATED, "chipquality")
    assert (life.status, life.escalated_ms) == (Status.OPEN, 10_000)
    assert why(life, Kind.ESCALATED) == ("state", "it was escalated before")
    for kind, further in ((Kind.ACKNOWLEDGE, {}), (Kind.ASSIGN_CAUSE, {"cause": "c"}), (Kind.CLOSE, {})):
        life = done(life, kind, **further)
    life = done(life, Kind.REOPEN, text="again")
    assert why(life, Kind.ESCALATED)[1] == "it was escalated before"


def test_an_action_is_taken_once_and_time_never_goes_back() -> None:
    assert act(ACKED, Action(Kind.ACKNOWLEDGE, "ada", 10_000, "x0")) is ACKED
    early = act(ACKED, Action(Kind.COMMENT, "bo", 9_000, "y", text="my clock is slow"))
    assert isinstance(early, Life)
    assert [entry.at_ms for entry in early.history] == [10_000, 10_000]


@pytest.mark.parametrize(
    "other",
    [
        {"action": Kind.COMMENT},
        {"text": "clean the ring"},
        {"step": 2},
        {"step_kind": StepKind.TERMINATOR},
    ],
    ids=str,
)
def test_another_action_of_a_known_id_is_refused(other: dict[str, Any]) -> None:
    life = done(done(NEW, Kind.ACKNOWLEDGE), Kind.ASSIGN_CAUSE, cause="ring")
    plan = Action(Kind.OCAP_STEP, "ada", 9_000, "k", text="look at the ring")
    planned = act(life, plan)
    assert isinstance(planned, Life)
    assert act(planned, plan) == planned
    assert act(planned, plan._replace(**other)) == Refused(
        "input", "this key was used for another action on this alert: take a new key"
    )
    again = plan._replace(action_id="k2", step=1, text="worn")
    did = act(planned, again)
    assert isinstance(did, Life)
    assert act(did, again) == act(did, plan) == did
    assert isinstance(act(did, again._replace(step=None)), Refused)


def test_steps_are_bounded() -> None:
    life = ACKED
    for _ in range(STEPS_MAX):
        life = done(life, Kind.OCAP_STEP, text="t")
    assert why(life, Kind.OCAP_STEP, text="t") == ("room", "its OCAP has 40 steps, and no more fit")


def test_a_full_history_leaves_room_for_the_end_and_for_nothing_else() -> None:
    life = ACKED
    life = done(life, Kind.OCAP_STEP, text="never done")
    while isinstance(after := does(life, Kind.COMMENT, text="t"), Life):
        life = after
    assert (after.ground, len(life.history)) == ("room", HISTORY_MAX - RESERVED)
    assert why(life, Kind.ACKNOWLEDGE, "bo")[0] == "room"
    assert why(life, Kind.OCAP_STEP, step=1)[0] == "room"
    life = done(life, Kind.ASSIGN_CAUSE, cause="c")
    life = done(life, Kind.CLOSE)
    assert why(life, Kind.REOPEN, text="t")[0] == "room"


# ---- whatever people do

WHO = st.sampled_from(["ada", "bo"])
ACTIONS = st.lists(
    st.builds(
        Action,
        action=st.sampled_from(Kind),
        by=WHO,
        at_ms=st.integers(0, 10**6),
        action_id=st.uuids().map(str),
        admin=st.booleans(),
        text=st.sampled_from(["", "t", "x" * (TEXT_CHARS_MAX + 1)]),
        cause=st.sampled_from(["", "c", "d"]),
        step=st.none() | st.integers(0, 3),
        step_kind=st.sampled_from(StepKind),
        done=st.booleans(),
    ),
    max_size=130,
)
ENCODER = Encoder("alert_life", 1)


@given(ACTIONS)
def test_nothing_is_lost_and_every_refusal_says_why(actions: list[Action]) -> None:
    life = NEW
    for action in actions:
        after = act(life, action)
        if isinstance(after, Refused):
            assert after.reason
            continue
        assert after.history[:-1] == life.history, "history only grows"
        entry = after.history[-1]
        assert (entry.action_id, entry.action, entry.by) == (action.action_id, action.action, action.by)
        assert entry.status is after.status
        assert after.version == len(after.history) == life.version + 1 <= HISTORY_MAX
        assert entry.at_ms >= (life.history[-1].at_ms if life.history else 0)
        assert (after.assigned is None) == (after.status is Status.OPEN)
        assert after.cause is not None or after.status in (Status.OPEN, Status.ACKNOWLEDGED)
        assert life.escalated_ms in (None, after.escalated_ms)
        assert [step.text for step in after.steps[: len(life.steps)]] == [step.text for step in life.steps]
        life = after
    assert sum(entry.action is Kind.ESCALATED for entry in life.history) <= 1
    assert from_record(to_record(life)) == life
    written = ENCODER.encode(to_record(life))
    assert len(written) < 1_000_000
    assert to_json(life, 5)["history_total"] == life.version
    # and whoever has it, an admin can bring it to its end
    for kind, further in ((Kind.ACKNOWLEDGE, {}), (Kind.ASSIGN_CAUSE, {"cause": "e"})):
        if life.status in ({Status.OPEN} if kind is Kind.ACKNOWLEDGE else {Status.ACKNOWLEDGED}):
            life = _ended(life, kind, **further)
    for number, step in enumerate(life.steps, start=1):
        if not step.done and life.status is not Status.CLOSED and len(life.history) < HISTORY_MAX - RESERVED:
            life = _ended(life, Kind.OCAP_STEP, step=number)
    if life.status is not Status.CLOSED:
        assert _ended(life, Kind.CLOSE).status is Status.CLOSED


def _ended(life: Life, kind: Kind, **further: object) -> Life:
    after = act(life, Action(kind, "eve", 10**7, f"end{life.version}", True, **further))  # type: ignore[arg-type]
    assert isinstance(after, Life), after
    return after


def test_the_longest_life_fits_into_a_record() -> None:
    long = "ü" * TEXT_CHARS_MAX
    life = done(NEW, Kind.ACKNOWLEDGE, text=long)
    for _ in range(STEPS_MAX):
        life = done(life, Kind.OCAP_STEP, text=long)
        life = done(life, Kind.OCAP_STEP, text=long, step=len(life.steps))
    while isinstance(after := does(life, Kind.COMMENT, text=long), Life):
        life = after
    assert len(ENCODER.encode(to_record(life))) < 1_000_000


def test_what_is_newer_than_this_version_is_said() -> None:
    with pytest.raises(ValueError, match="alert a1: 'UNKNOWN' is not known"):
        from_record(to_record(NEW) | {"status": "UNKNOWN"})


def test_the_schema_names_every_status_kind_and_action() -> None:
    symbols = {}

    def walk(schema: object) -> None:
        if isinstance(schema, dict):
            if schema.get("type") == "enum":
                symbols[schema["name"]] = set(schema["symbols"]) - {"UNKNOWN"}
            for part in schema.values():
                walk(part)
        elif isinstance(schema, list):
            for part in schema:
                walk(part)

    fastavro.parse_schema(load("alert_life"))
    walk(load("alert_life"))
    assert symbols == {
        "AlertLifeStatus": {status.name for status in Status},
        "OcapStepKind": {kind.name for kind in StepKind},
        "AlertActionKind": {kind.name for kind in Kind},
    }


def test_as_the_api_tells_it() -> None:
    assert to_json(None)["status"] == "open"
    said = to_json(CLOSED, newest=1)
    assert (said["status"], said["version"], said["history_total"]) == ("closed", 3, 3)
    assert [(entry["action"], entry["by"]) for entry in said["history"]] == [("close", "ada")]
