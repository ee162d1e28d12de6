"""Who is told what, how often, and what becomes of a message that is not taken."""

from __future__ import annotations

from typing import Any

import pytest

from actors.errors import ConfigError
from actors.sinks.journey import Journey
from actors.sinks.notifier import DESTINATIONS_MAX, SUMMARY_ATTEMPTS_MAX, Notifier, NotSentError
from actors.sinks.retrying import RetryLater
from actors.sinks.routes import SERIES_HELD_MAX, HeldBack, Message, Recent, Route, mark, message_of
from actors.sinks.sending import AppriseSender
from tests.actors.sinks.alert_records import alert

FRESH = Journey("quality.alerts", 0, 1, 1_000_000)
CHAT = Route("chat", ("json://chat",), severities=("critical",), series=("ETCH*", "LITHO*"))
MAIL = Route("mail", ("json://mail", "json://boss"), states=("open",))


class Outside:
    """What is sent, and who refuses just now."""

    def __init__(self, *routes: Route, **further: Any) -> None:
        self.now_ms = 1_000_000
        self.sent: list[tuple[str, str]] = []
        self.bodies: list[str] = []
        self.refuse: set[str] = set()
        self.notifier = Notifier(routes, self.send, now_ms=lambda: self.now_ms, **further)

    def send(self, url: str, message: Message) -> None:
        if url in self.refuse:
            raise NotSentError("503")
        self.sent.append((url.removeprefix("json://"), message.title))
        self.bodies.append(message.body)

    def tell(self, record: dict[str, Any], journey: Journey = FRESH) -> list[str]:
        """Handle a record; return who was told."""
        before = len(self.sent)
        self.notifier.handle(record, journey)
        return [to for to, _ in self.sent[before:]]


def test_routes_by_severity_state_and_series() -> None:
    outside = Outside(CHAT, MAIL)
    assert outside.tell(alert("1")) == ["chat", "mail", "boss"]
    assert outside.tell(alert("2", severity="WARNING")) == ["mail", "boss"]
    assert outside.tell(alert("1", state="CLOSED")) == ["chat"]
    assert outside.tell(alert("2", severity="WARNING", state="CLOSED")) == []
    assert outside.tell(alert("3", series="CVD|x")) == ["mail", "boss"]
    assert outside.tell(alert("4", severity="UNKNOWN", state="UNKNOWN")) == ["chat", "mail", "boss"]
    assert outside.notifier.counts["unwanted"] == 1
    assert not outside.notifier.holds


def test_what_is_said() -> None:
    said = message_of(alert())
    assert said.title == "CRITICAL: nelson_1 on ETCH-07|B|POLY|4200|CD"
    assert said.urgency == "critical"
    assert said.body.splitlines() == [
        "a point beyond 3 sigma", "value: 51.25", "judged: 51.25", "centre line: 45", "LCL: 40", "UCL: 50", "lot: L1",
        "wafer: W3", "since: 2023-11-14 22:13:20 UTC", "rows with the signal: 1", "detector: spc.individuals@1-abc",
        "alert: a1, fab.measurements:1:7",
    ]  # fmt: skip
    empty = {"series": "", "rule_doc": "", "lot": "", "wafer": "", "rows": 0, "opened_time": 0}
    bare = dict.fromkeys(("value", "statistic", "centre", "lcl", "ucl")) | empty | {"detail": "x" * 9_000 + "KeyError"}
    failed = message_of(alert(**bare))
    assert failed.title == "CRITICAL: nelson_1 on fab.measurements:1"
    assert failed.body.endswith("xKeyError")
    assert len(failed.body) < 2_000
    closed = message_of(alert(state="CLOSED", severity="WARNING"))
    assert (closed.title, closed.urgency) == ("closed: nelson_1 on ETCH-07|B|POLY|4200|CD", "closed")
    assert message_of(alert(severity="WARNING")).urgency == "warning"


def test_the_same_alert_is_told_once_within_the_window() -> None:
    outside = Outside(CHAT)
    assert outside.tell(alert()) == ["chat"]
    assert outside.tell(alert()) == []
    assert outside.tell(alert(state="CLOSED")) == ["chat"]
    assert outside.tell(alert(), FRESH._replace(redriven=1)) == ["chat"]
    assert outside.notifier.counts["duplicates"] == 1
    recent = Recent(2)
    for name in ("a", "b", "a", "c"):
        recent.add(name)
    assert [name in recent for name in ("a", "b", "c")] == [True, False, True]


def test_only_those_that_failed_are_told_again() -> None:
    outside = Outside(CHAT, MAIL)
    outside.refuse = {"json://mail", "json://chat"}
    with pytest.raises(RetryLater, match=rf"chat/{mark('json://chat')}: 503, and 1 more") as later:
        outside.tell(alert())
    assert [to for to, _ in outside.sent] == ["boss"]
    again = FRESH._replace(attempts=1, rest=later.value.rest)
    outside.refuse = {"json://mail"}
    with pytest.raises(RetryLater) as later:
        outside.tell(alert(), again)
    outside.refuse = set()
    assert outside.tell(alert(), FRESH._replace(attempts=2, rest=later.value.rest)) == ["mail"]
    assert outside.tell(alert(), FRESH._replace(attempts=2, rest="gone/12345678")) == []
    assert outside.notifier.counts == {"sent": 3, "failed": 3}


def test_a_rate_holds_back_and_a_summary_tells_it() -> None:
    outside = Outside(Route("chat", ("json://chat", "json://second"), per_minute=2))
    for number in range(5):
        outside.now_ms += 1_000
        outside.tell(
            alert(f"a{number}", series="A" if number < 4 else "B", severity="WARNING" if number == 3 else "CRITICAL")
        )
    assert [to for to, _ in outside.sent] == ["chat", "second"] * 2
    assert outside.notifier.holds
    outside.notifier.tick()
    assert len(outside.sent) == 4
    outside.now_ms += 60_000
    outside.refuse = {"json://second"}
    outside.notifier.tick()
    assert outside.sent[-1] == ("chat", "3 alerts held back")
    assert outside.bodies[-1].splitlines() == [
        "2 critical open", "1 warning open", "Most of them: A (2), B (1).",
        "Route chat sends at most 2 alerts a minute one by one.",
    ]  # fmt: skip
    outside.notifier.tick()
    outside.notifier.tick()
    assert outside.notifier.counts["failed"] == 1
    assert outside.notifier.holds
    outside.refuse = set()
    outside.now_ms += 60_000
    outside.notifier.tick()
    assert outside.sent[-1] == ("second", "3 alerts held back")
    assert not outside.notifier.holds
    assert outside.tell(alert("later")) == ["chat", "second"]


def test_a_summary_that_nobody_takes_is_given_up_and_counted() -> None:
    outside = Outside(Route("chat", ("json://chat",), per_minute=1))
    outside.tell(alert("1"))
    outside.tell(alert("2"))
    outside.refuse = {"json://chat"}
    for _ in range(SUMMARY_ATTEMPTS_MAX):
        assert outside.notifier.holds
        outside.now_ms += 60_000
        outside.notifier.tick()
    assert not outside.notifier.holds
    assert outside.notifier.counts["summaries_lost"] == 1


def test_old_alerts_are_counted_not_told() -> None:
    outside = Outside(CHAT, stale_s=60)
    outside.now_ms += 61_000
    assert outside.tell(alert("1")) == []
    assert outside.tell(alert("2"), FRESH._replace(redriven=1)) == ["chat"]
    assert outside.tell(alert("3"), FRESH._replace(attempts=1, rest=f"chat/{mark('json://chat')}")) == ["chat"]
    outside.notifier.finish()
    assert outside.sent[-1] == ("chat", "1 alerts held back")
    assert outside.bodies[-1].endswith("1 were old already when they came.")
    assert not outside.notifier.holds


def test_at_the_end_what_fails_stays_held() -> None:
    outside = Outside(Route("chat", ("json://chat",), per_minute=1), Route("mail", ("json://mail",), per_minute=1))
    outside.tell(alert("1"))
    outside.tell(alert("2"))
    outside.refuse = {"json://mail"}
    outside.notifier.finish()
    assert outside.sent[-1] == ("chat", "1 alerts held back")
    assert outside.notifier.holds


def test_a_summary_is_bounded() -> None:
    held = HeldBack(0)
    for number in range(3 * SERIES_HELD_MAX):
        held.add(alert(series=f"s{number}" if number else ""), old=False)
    assert len(held.series) == SERIES_HELD_MAX + 1
    assert held.series["other series"] == 2 * SERIES_HELD_MAX
    assert held.series["a whole partition"] == 1
    assert len(held.message(CHAT).body) < 500


def test_bad_routes_are_one_clear_line_without_the_address() -> None:
    with pytest.raises(ConfigError, match=r"^notify\.routes: two routes have the same name$"):
        Outside(CHAT, CHAT)
    many = [Route(f"r{number}", (f"json://h{number}",)) for number in range(DESTINATIONS_MAX + 1)]
    with pytest.raises(ConfigError, match="17 urls; at most 16 over all routes"):
        Outside(*many)
    with pytest.raises(ConfigError) as told:
        AppriseSender([Route("line", ("json://host", "nonsense://user:secret@host"))])
    assert str(told.value) == "notify.routes: line: url 1 is none that apprise can read"
    assert "secret" not in repr(Route("line", ("nonsense://user:secret@host",)))


@pytest.mark.parametrize(
    "wrong",
    [
        "mailtos://user:secret@host",  # no domain to send from
        "mailtos://",
        "slack://TokenA/se-cret",  # two of three tokens
        "slack://TokenA/TokenB/se cret/#line",  # apprise's own log says the token
        "maitos://user:secret@mail.example.com?to=quality@example.com",
        "json://user:secret@:80",
    ],
)
def test_a_malformed_address_of_each_kind_is_the_same_line_and_is_not_logged(
    wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = Route("good", ("mailtos://user:secret@mail.example.com?to=quality@example.com", "json://host"))
    with caplog.at_level(1), pytest.raises(ConfigError) as told:
        AppriseSender([good, Route("line", ("json://host/path", wrong))])
    assert str(told.value) == "notify.routes: line: url 1 is none that apprise can read"
    said = [entry.getMessage() for entry in caplog.records if entry.name == "apprise"]
    assert [line for line in said if "cret" in line or wrong in line] == []
