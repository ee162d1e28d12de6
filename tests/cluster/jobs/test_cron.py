"""When a schedule is due, beside a slow oracle that walks every minute of the wall clock; daylight saving both ways."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.jobs.cron import Cron, when
from cluster.operations.errors import Invalid

BERLIN = "Europe/Berlin"


def due(cron: Cron, since: str, until: str) -> list[str]:
    found = cron.newest(when(since), when(until), 10_000)
    return [datetime.fromtimestamp(ms / 1000, UTC).strftime("%dT%H:%M") for ms in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("30 2 * * *", ["28T01:30", "29T01:00", "30T00:30"]),  # skipped: once, right after the gap
        ("0,30 2 * * *", ["28T01:00", "28T01:30", "29T01:00", "30T00:00", "30T00:30"]),  # several are one
        ("0 3 * * *", ["28T02:00", "29T01:00", "30T01:00"]),
        ("0 0 29 3 *", ["28T23:00"]),
    ],
)
def test_what_the_clock_skips_in_spring_runs_once_right_after_the_gap(text: str, found: list[str]) -> None:
    assert due(Cron(text, BERLIN), "2026-03-28T00:30Z", "2026-03-30T12:00Z") == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("30 2 * * *", ["24T00:30", "25T00:30", "26T01:30"]),  # shown twice: once, the first time
        ("0 3 * * *", ["24T01:00", "25T02:00", "26T02:00"]),
    ],
)
def test_what_the_clock_shows_twice_in_autumn_runs_once(text: str, found: list[str]) -> None:
    assert due(Cron(text, BERLIN), "2026-10-24T00:00Z", "2026-10-26T12:00Z") == found


def test_intervals_go_on_in_real_time_through_both() -> None:
    for day in ("2026-03-29", "2026-10-25"):
        found = Cron("*/20 * * * *", BERLIN).newest(when(f"{day}T00:00Z"), when(f"{day}T04:00Z"), 100)
        assert [b - a for a, b in itertools.pairwise(found)] == [20 * 60_000] * 11
    every_hour = due(Cron("0 * * * *", BERLIN), "2026-10-24T23:30Z", "2026-10-25T03:30Z")
    assert every_hour == ["25T00:00", "25T01:00", "25T02:00", "25T03:00"]


def test_in_the_middle_of_the_hour_that_comes_twice_nothing_is_due_that_has_been() -> None:
    cron = Cron("45 2 * * *", BERLIN)
    assert cron.after(when("2026-10-25T01:40Z")) == when("2026-10-26T01:45Z")
    assert cron.after(when("2026-10-25T00:40Z")) == when("2026-10-25T00:45Z")


def oracle(minutes: list[int], hours: list[int], zone: str, since_ms: int, until_ms: int) -> list[int]:
    """Walk real time minute by minute: the first time that a time is shown; right after a gap, all it skipped."""
    wall = ZoneInfo(zone)
    found, before, shown = [], None, set()
    start = since_ms - since_ms % 60_000 - 26 * 3_600_000
    for ms in range(start, until_ms + 1, 60_000):
        local = datetime.fromtimestamp(ms / 1000, wall).replace(tzinfo=None)
        passed = 1 if before is None else max(1, round((local - before).total_seconds() / 60))
        times = [datetime.fromtimestamp(local.timestamp() - 60 * back) for back in range(passed)]
        new = [time for time in times if time not in shown and time.minute in minutes and time.hour in hours]
        shown.update(times)
        before = max(local, before) if before is not None else local
        if new and ms > since_ms:
            found.append(ms)
    return found


@pytest.mark.slow
@settings(max_examples=60)
@given(
    minutes=st.lists(st.integers(0, 59), min_size=1, max_size=3),
    hours=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    zone=st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "UTC"]),
    day=st.sampled_from(["2026-03-07", "2026-03-28", "2026-04-04", "2026-10-03", "2026-10-24", "2026-10-31"]),
    offset=st.integers(0, 47 * 60 + 59),
)
def test_times_are_those_of_a_walk_through_every_minute(
    minutes: list[int], hours: list[int], zone: str, day: str, offset: int
) -> None:
    cron = Cron(f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *", zone)
    since = when(f"{day}T00:00Z") + offset * 60_000
    until = since + 36 * 3_600_000
    expected = oracle(minutes, hours, zone, since, until)
    assert cron.newest(since, until, 10_000) == expected
    assert cron.newest(since, until, 2) == expected[-2:]


def test_a_year_of_minutes_is_not_walked_through() -> None:
    now = when("2026-06-01T12:00:30Z")
    assert Cron("* * * * *", "UTC").newest(0, now, 2) == [when("2026-06-01T11:59Z"), when("2026-06-01T12:00Z")]
    assert Cron("0 0 1 1 *", "UTC").newest(when("2024-06-01T00:00Z"), now, 5) == [
        when("2025-01-01T00:00Z"),
        when("2026-01-01T00:00Z"),
    ]


@pytest.mark.parametrize(
    ("text", "zone", "said"),
    [
        ("30 2 * *", "UTC", "five fields"),
        ("* * * * * *", "UTC", "five fields"),
        ("61 2 * * *", "UTC", "Bad minute"),
        ("0 0 31 2 *", "UTC", "Bad day-of-month"),
        ("0 0 * 2 MON#5", "UTC", "not due within 5 years"),
        ("0 0 * * *", "Mars/Olympus", "no time zone"),
        ("0 0 * * *", "../etc/passwd", "no time zone"),
        ("0 0 * * *", "", "no time zone"),
    ],
)
def test_what_is_no_schedule_is_refused(text: str, zone: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        Cron(text, zone).check(when("2026-01-01T00:00Z"))
