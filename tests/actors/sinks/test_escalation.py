"""Which alerts are escalated, and when, by a simulated clock."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from actors.alert_desk import AlertDesk, Wanted
from actors.kafka.client import Cluster
from actors.sinks.escalation import Escalations, notice_of
from actors.sinks.routes import message_of
from cluster.commands.notify import escalation_task
from cluster.config import load
from models.alert_life import Action, Kind, Life
from tests.actors.sinks.alert_records import alert
from tests.actors.test_alert_desk import Floor

AFTER = {"critical": 900.0, "warning": None}
S = 1_000


def acted(life: Life | None, waiting: Escalations, alert_id: str, *kinds: Kind, at_ms: int = 0) -> Life:
    """Return a life after some actions, as the desk writes it."""
    desk = Floor().desk()
    if life is not None:
        desk._held[alert_id.encode()] = None
    about = next(one.about for one in waiting._waiting.values() if one.alert_id == alert_id)
    for number, kind in enumerate(kinds):
        _, life = desk.act(Wanted(alert_id, about, Action(kind, "ada", at_ms, f"{kind}{number}", text="t", cause="c")))
    assert life is not None
    return life


def ids(waiting: Escalations, now_ms: int, most: int = 10) -> list[str]:
    return [one.alert_id for one in waiting.due(now_ms, most)]


def test_critical_after_a_quarter_of_an_hour_and_warnings_never() -> None:
    waiting = Escalations(AFTER)
    waiting.alert(alert("c1"), 0, 0)
    waiting.alert(alert("c2"), 10 * S, 10 * S)
    waiting.alert(alert("w", severity="WARNING"), 0, 0)
    assert (len(waiting), ids(waiting, 899 * S)) == (2, [])
    assert ids(waiting, 900 * S) == ["c1"]
    assert ids(waiting, 911 * S) == ["c1", "c2"], "until it is written it stays due"
    assert ids(waiting, 911 * S, most=1) == ["c1"]
    waiting.settle("c1")
    assert ids(waiting, 911 * S) == ["c2"]


def test_whoever_acknowledges_in_time_is_not_bothered() -> None:
    waiting = Escalations(AFTER)
    waiting.alert(alert("a"), 0, 0)
    waiting.life(acted(None, waiting, "a", Kind.ACKNOWLEDGE), 5 * S)
    assert (len(waiting), ids(waiting, 10**9)) == (0, [])
    waiting.alert(alert("a"), 0, 0)
    assert len(waiting) == 0, "the same record again"


def test_a_comment_is_no_acknowledgement() -> None:
    waiting = Escalations(AFTER)
    waiting.alert(alert("a"), 0, 0)
    waiting.life(acted(None, waiting, "a", Kind.COMMENT), 5 * S)
    assert ids(waiting, 900 * S) == ["a"]


def test_a_signal_that_is_over_still_wants_somebody() -> None:
    waiting = Escalations(AFTER)
    waiting.alert(alert("a"), 0, 0)
    waiting.alert(alert("a", state="CLOSED"), 60 * S, 60 * S)
    waiting.alert(alert("b", state="CLOSED"), 60 * S, 60 * S)
    assert ids(waiting, 10_000 * S) == ["a"], "of b nobody knows when it was raised"


def test_the_life_may_come_first_and_an_escalated_one_is_never_due_again() -> None:
    waiting = Escalations(AFTER)
    waiting.alert(alert("a"), 0, 0)
    escalated = acted(None, waiting, "a", Kind.ESCALATED, at_ms=900 * S)
    again = Escalations(AFTER)
    again.life(escalated, 0)
    again.alert(alert("a"), 0, 0)
    assert (len(again), ids(again, 10**9)) == (0, [])


def test_what_is_opened_again_waits_again() -> None:
    waiting = Escalations(AFTER)
    waiting.alert(alert("a"), 0, 0)
    kinds = (Kind.ACKNOWLEDGE, Kind.ASSIGN_CAUSE, Kind.CLOSE, Kind.REOPEN)
    waiting.life(acted(None, waiting, "a", *kinds, at_ms=5_000 * S), 5_000 * S)
    assert ids(waiting, 5_899 * S) == []
    assert ids(waiting, 5_900 * S) == ["a"]


def test_old_alerts_are_left_alone_and_what_waits_is_bounded() -> None:
    waiting = Escalations(AFTER, stale_s=3_600, waiting_max=1, lives_max=1)
    now = 10_000 * S
    waiting.alert(alert("old"), now - 4_501 * S, now)
    waiting.alert(alert("old"), now - 4_501 * S, now)
    waiting.alert(alert("late"), now - 4_499 * S, now)
    waiting.alert(alert("more"), now, now)
    assert (waiting.stale, ids(waiting, now), waiting.left_out) == (1, ["late"], 1)
    waiting.settle("late")
    assert list(waiting._settled) == ["late"]


@pytest.mark.parametrize("seed", range(30))
def test_whenever_it_is_started_again_an_alert_is_escalated_once_and_on_time(seed: int) -> None:
    """Alerts, people and restarts at random times; the lives' topic is the only memory. Two escalators at once do no harm."""
    random = Random(seed)
    floor = Floor(seed, commit_unknown=0.1)
    raised = {f"a{i}": random.randrange(0, 2_000) * S for i in range(6)}
    taken = {name: at + random.randrange(1, 1_800) * S for name, at in raised.items() if random.random() < 0.5}
    people: AlertDesk = floor.desk()
    running: list[tuple[Escalations, AlertDesk]] = []
    escalated: dict[str, int] = {}

    def fresh(now_ms: int) -> tuple[Escalations, AlertDesk]:
        waiting, desk = Escalations(AFTER), floor.desk()
        for name, at in raised.items():
            if at <= now_ms:
                waiting.alert(alert(name), at, now_ms)
        for life in desk.lives():
            waiting.life(life, now_ms)
        return waiting, desk

    for now_ms in range(0, 4_500 * S, 50 * S):
        for name, at in taken.items():
            if now_ms - 50 * S < at <= now_ms:
                about = Escalations(AFTER)
                about.alert(alert(name), raised[name], now_ms)
                people.act(
                    Wanted(name, about._waiting[name].about, Action(Kind.ACKNOWLEDGE, "ada", now_ms, f"ack{name}"))
                )
        if not running or random.random() < 0.2:
            running = [fresh(now_ms) for _ in range(random.choice([1, 2]))]
        for waiting, desk in running:
            for name, at in raised.items():
                if at <= now_ms:
                    waiting.alert(alert(name), at, now_ms)
            for life in desk.lives():
                waiting.life(life, now_ms)
            due = waiting.due(now_ms, 10)
            wanted = [
                Wanted(
                    one.alert_id, one.about, Action(Kind.ESCALATED, "chipquality", now_ms, f"escalated-{one.alert_id}")
                )
                for one in due
            ]
            if wanted:
                desk.act_on_all(wanted)
    for name, life in floor.final().items():
        times = [entry.at_ms for entry in life.history if entry.action is Kind.ESCALATED]
        assert len(times) <= 1
        escalated |= dict.fromkeys([name] * len(times), times[0] if times else 0)
    wanted_times = {
        name: at + 900 * S for name, at in raised.items() if name not in taken or taken[name] > at + 900 * S + 50 * S
    }
    assert set(wanted_times) <= set(escalated)
    for name, at in escalated.items():
        assert 0 <= at - (raised[name] + 900 * S) <= 50 * S


def test_what_is_told_of_an_escalation() -> None:
    waiting = Escalations(AFTER)
    waiting.alert(alert("a1"), 1_700_000_000_000, 0)
    life = acted(None, waiting, "a1", Kind.ESCALATED, at_ms=1_700_000_000_000 + 905 * S)
    notice = notice_of(life)
    assert notice
    said = message_of(notice)
    assert (said.title, said.urgency) == ("CRITICAL, not acknowledged: nelson_1 on ETCH-07|B|POLY|4200|CD", "critical")
    assert said.body.splitlines()[:2] == [
        "nobody has acknowledged this alert for 905 s",
        "since: 2023-11-14 22:13:20 UTC",
    ]
    waiting.alert(alert("a2"), 0, 0)
    assert notice_of(acted(None, waiting, "a2", Kind.ESCALATED, Kind.ACKNOWLEDGE)) is None
    assert notice_of(acted(None, waiting, "a2", Kind.COMMENT)) is None


def test_as_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    task = escalation_task(load(), Cluster("h:1"))
    assert task
    assert (dict(task.after_s), task.told) == ({"critical": 900.0, "warning": None}, ())
    monkeypatch.setenv(
        "CHIPQUALITY_NOTIFY__ROUTES", '[{"name": "boss", "urls": ["json://h"], "states": ["escalated"]}]'
    )
    monkeypatch.setenv("CHIPQUALITY_ALERTS__ESCALATE_AFTER_S__WARNING", "60")
    task = escalation_task(load(), Cluster("h:1"))
    assert task
    assert (task.after_s["warning"], [route.name for route in task.told]) == (60.0, ["boss"])
    monkeypatch.setenv("CHIPQUALITY_ALERTS__ESCALATE_AFTER_S", '{"critical": null}')
    monkeypatch.delenv("CHIPQUALITY_ALERTS__ESCALATE_AFTER_S__WARNING")
    assert escalation_task(load(), Cluster("h:1")) is None
