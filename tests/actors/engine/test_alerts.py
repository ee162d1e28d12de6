"""Alerts: one per incident, opened by the first signal, closed after clean rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from actors.engine import alerts
from models.detector import Rule
from tests.actors.engine.world import Above, World


def story(world: World) -> list[tuple]:
    return [
        (a["rule"], a["state"], a["opened_offset"], a["last_offset"], a["rows"], a["closed_offset"])
        for a in world.alerts()
    ]


def test_an_incident_is_one_alert() -> None:
    world = World()
    world.step(["a 11", "a 1", "a 12", "a 13", "a 1", "a 1", "a 14"])
    assert story(world) == [
        ("above", "OPEN", 0, 0, 1, None),
        ("twice", "OPEN", 3, 3, 1, None),
        ("above", "CLOSED", 0, 3, 3, 5),
        ("twice", "CLOSED", 3, 3, 1, 5),
        ("above", "OPEN", 6, 6, 1, None),
    ]


def test_missing_rows_neither_hold_nor_close() -> None:
    world = World()
    world.step(["a 11", "a nan", "a nan", "a 1"])
    assert story(world) == [("above", "OPEN", 0, 0, 1, None)]


def test_series_do_not_share_alerts() -> None:
    world = World()
    world.step(["a 11", "b 12"])
    first, second = world.alerts()
    assert (first["series"], second["series"]) == ("a", "b")
    assert first["alert_id"] != second["alert_id"]


def test_the_alert_tells_what_was_seen() -> None:
    world = World()
    world.step(["a 11.5"])
    (alert,) = world.alerts()
    assert (alert["value"], alert["statistic"], alert["ucl"], alert["lcl"], alert["centre"]) == (
        11.5,
        11.5,
        10.0,
        None,
        None,
    )
    assert (alert["severity"], alert["published_ms"], alert["opened_time"]) == ("WARNING", 1000, 0)


def test_open_and_closed_have_the_same_id() -> None:
    world = World()
    world.step(["a 11", "a 1", "a 1"])
    opened, closed = world.alerts()
    assert opened["alert_id"] == closed["alert_id"]
    assert (opened["state"], closed["state"]) == ("OPEN", "CLOSED")


def test_more_transitions_than_the_kernel_holds_at_once() -> None:
    world = World(clean_rows=1)
    world.step(["a 11", "a 1"] * 500)
    assert len(world.alerts()) == 1000


def test_ids_are_stable_and_depend_on_everything() -> None:
    base = ("spc.x@1-ab", "fab", 0, "a", "above", 7)
    assert alerts.alert_id(*base) == alerts.alert_id(*base)
    others = [
        alerts.alert_id(*base[:i], changed, *base[i + 1 :]) for i, changed in enumerate(("y", "t", 1, "b", "r", 8))
    ]
    assert len({alerts.alert_id(*base), *others}) == 7


@pytest.mark.parametrize(
    ("rules", "message"),
    [((Rule("r", ""),) * 33, "33 rules"), ((Rule("r", "", statistic=1),), "judges statistic 1")],
)
def test_rules_that_do_not_fit_are_refused(rules: tuple[Rule, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        alerts.check_rules(Above(rules=rules))


def test_a_closed_alert_leaves_nothing_in_the_book() -> None:
    world = World()
    world.step(["a 11", "b 11", "c 1", "a 1", "a 1"], snapshot=True)
    (book,) = (page for page in world.image().pages if page.detector.startswith("alerts/"))
    assert (book.rows, book.present) == (3, b"\x02")


def test_a_book_without_an_incident_is_not_written() -> None:
    world = World()
    world.step(["a 1", "b 1"], snapshot=True)
    assert not [page for page in world.image().pages if page.detector.startswith("alerts/")]


def test_transitions_are_equal_bit_for_bit() -> None:
    one, again = alerts.NONE, replace(alerts.NONE)
    assert one == again
    nan = np.full((1, 5), np.nan)
    assert replace(one, numbers=nan) == replace(one, numbers=nan.copy()) != one
    assert one != "nothing"
