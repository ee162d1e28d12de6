"""Alerts joined to what people do about them, and tables of what there is most of."""

from __future__ import annotations

from typing import Any

import pytest

from actors.view import vector as vectors
from actors.view.alert_book import LISTED_HISTORY_MAX, PARETO_BY, AlertBook, Chosen
from actors.view.board import Board
from actors.view.inspections import DEFECTS_BY, InspectionBook
from actors.view.pareto import Tally
from models.alert_life import About, Action, Kind, Life, act
from models.wafer_map import spot
from tests.actors.view_support import alert

ABOUT = About("quality", "t", 0, "a", "d", "r", "CRITICAL", 1, 0)


def life(alert_id: str, *actions: Kind, by: str = "ada", cause: str = "worn ring") -> Life:
    found = Life(alert_id=alert_id, about=ABOUT)
    for number, action in enumerate(actions):
        after = act(found, Action(action, by, 1_000 + number, f"x{number}", text="t", cause=cause))
        assert isinstance(after, Life), after
        found = after
    return found


def ids(page: tuple[list[dict[str, Any]], str | None]) -> list[str]:
    return [one["alert_id"] for one in page[0]]


SERIES = ("E1|A|R|10|CD", "E1|A|R|10|depth", "E2|A|R|10|CD", "")


@pytest.fixture
def book() -> AlertBook:
    book = AlertBook()
    for number, series in enumerate(SERIES):
        severity = "WARNING" if number == 1 else "CRITICAL"
        detector = "spc.cusum@1-x" if number == 2 else "spc.individuals@1-abc"
        book.add(
            alert(str(number), series, severity=severity, detector=detector, lot=f"L{number}"), 0, number, 10 * number
        )
    return book


def test_the_life_comes_before_the_alert_or_after_it() -> None:
    book = AlertBook()
    book.add_life(life("1", Kind.ACKNOWLEDGE), 0)
    book.add(alert("1"), 0, 0, 10)
    book.add(alert("2"), 0, 1, 11)
    book.add_life(life("2", Kind.ACKNOWLEDGE, Kind.ASSIGN_CAUSE), 1)
    page, _ = book.newest(9)
    assert [(one["alert_id"], one["life"]["status"], one["life"]["cause"]) for one in page] == [
        ("2", "caused", "worn ring"),
        ("1", "acknowledged", None),
    ]
    assert (book.version("2"), book.version("3")) == (2, 0)


def test_what_the_pipeline_says_and_what_people_say_are_two_things() -> None:
    book = AlertBook()
    book.add(alert("over"), 0, 0, 10)
    book.add(alert("over", state="CLOSED"), 0, 1, 11)
    book.add(alert("done"), 0, 2, 12)
    book.add_life(life("done", Kind.ACKNOWLEDGE, Kind.ASSIGN_CAUSE, Kind.CLOSE), 0)
    told = {one["alert_id"]: (one["state"], one["life"]["status"]) for one in book.newest(9)[0]}
    assert told == {"over": ("CLOSED", "open"), "done": ("OPEN", "closed")}
    assert ids(book.newest(9, Chosen(status="open"))) == ["over"]
    assert ids(book.newest(9, Chosen(state="OPEN"))) == ["done"]


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (Chosen(), ["3", "2", "1", "0"]),
        (Chosen(severity="WARNING"), ["1"]),
        (Chosen(detector="spc.cusum"), ["2"]),
        (Chosen(detector="spc.cusum@1-x"), ["2"]),
        (Chosen(detector="spc.cusum@2-x"), []),
        (Chosen(tool="E1"), ["1", "0"]),
        (Chosen(tool="a whole partition"), ["3"]),
        (Chosen(tool="E1", severity="CRITICAL"), ["0"]),
    ],
)
def test_filters(book: AlertBook, chosen: Chosen, found: list[str]) -> None:
    assert ids(book.newest(9, chosen)) == found


def test_pages_are_in_the_order_in_which_alerts_were_raised_whatever_happens_to_them(book: AlertBook) -> None:
    first, cursor = book.newest(2)
    book.add_life(life("0", Kind.ACKNOWLEDGE), 0)
    book.add(alert("1", SERIES[1], state="CLOSED"), 0, 99, 990)
    second, end = book.newest(2, before=cursor)
    assert [one["alert_id"] for one in first + second] == ["3", "2", "1", "0"]
    assert end is None


def test_one_alert_has_its_whole_history_and_a_list_the_newest_of_it() -> None:
    book = AlertBook()
    book.add(alert("1"), 0, 0, 10)
    book.add_life(life("1", *[Kind.COMMENT] * 15), 0)
    listed = book.newest(1)[0][0]["life"]
    assert (len(listed["history"]), listed["history_total"]) == (LISTED_HISTORY_MAX, 15)
    found = book.one("1")
    assert found
    assert len(found["life"]["history"]) == 15
    assert book.one("2") is None


def test_since_tells_alerts_and_lives_that_changed_and_no_others(book: AlertBook) -> None:
    assert [one["alert_id"] for one in book.since({0: 2}, 9).items] == ["2", "3"]
    book.add_life(life("0", Kind.ACKNOWLEDGE), 5)
    book.add_life(life("gone", Kind.ACKNOWLEDGE), 6)
    assert [one["alert_id"] for one in book.since({0: 4}, 9, 5).items] == ["0"]
    assert book.since({0: 4}, 9, 7).items == []
    assert [one["alert_id"] for one in book.since({0: 3}, 9, 5).items] == ["0", "3"]


def test_lives_are_bounded_and_those_of_kept_alerts_stay() -> None:
    book = AlertBook(alerts_max=2, lives_max=1)
    book.add(alert("kept"), 0, 0, 10)
    for number, alert_id in enumerate(("kept", "x", "y", "z")):
        book.add_life(life(alert_id, Kind.ACKNOWLEDGE), number)
    assert [book.version(name) for name in ("kept", "x", "y", "z")] == [1, 0, 0, 1]


def test_a_forgotten_alert_is_no_change_any_more() -> None:
    book = AlertBook(alerts_max=1)
    book.add(alert("1"), 0, 0, 10)
    book.add(alert("2"), 0, 1, 11)
    assert [one["alert_id"] for one in book.since({}, 9).items] == ["2"]


# ---- frames


def test_a_life_is_a_change_of_the_stream() -> None:
    board = Board("quality")
    board.add_alert(alert("1"), 0, 0, 10)
    board.read(vectors.LIVES, 0, 0)
    seen = vectors.parse(board.changes(vectors.parse(""), None, 0)["vector"])
    assert not board.has_changes(seen, None)
    board.add_life(life("1", Kind.ACKNOWLEDGE), 0, 4)
    assert board.has_changes(seen, None)
    said = board.changes(seen, None, 0)
    assert [(one["alert_id"], one["life"]["assigned"]) for one in said["alerts"]] == [("1", "ada")]
    assert said["vector"] == "a0=1,l0=5"
    assert not board.has_changes(vectors.parse(said["vector"]), None)
    assert not board.has_changes(vectors.parse("a0=1"), None), "a vector from before there were lives"


def test_frames_that_follow_each_other_leave_no_alert_and_no_life_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from actors.view import board as module

    monkeypatch.setattr(module, "ALERTS_PER_FRAME_MAX", 7)
    board = Board("quality")
    seen = vectors.parse("a0=0,a1=0,l0=0")
    for number in range(40):
        board.add_alert(alert(str(number)), int(number % 4 == 0), number, number)
    for number in range(10):
        board.add_life(life(str(number), Kind.ACKNOWLEDGE), 0, number)
    told: set[str] = set()
    lives: set[str] = set()
    while board.has_changes(seen, None):
        said = board.changes(seen, None, 0)
        assert 0 < len(said["alerts"]) <= 7
        assert not said["reset"]
        told |= {one["alert_id"] for one in said["alerts"]}
        lives |= {one["alert_id"] for one in said["alerts"] if one["life"]["status"] == "acknowledged"}
        seen = vectors.parse(said["vector"])
    assert told == {str(number) for number in range(40)}
    assert lives == {str(number) for number in range(10)}
    assert vectors.render(seen) == "a0=40,a1=37,l0=10"


def test_who_was_away_while_alerts_came_and_went_is_told_to_load_again() -> None:
    board = Board("quality")
    board.alerts = AlertBook(alerts_max=2)
    for number in range(4):
        board.add_alert(alert(str(number)), 0, number, number)
    assert board.changes(vectors.parse("a0=1"), None, 0)["reset"], "1 was raised since, and is not kept"
    assert not board.changes(vectors.parse("a0=2"), None, 0)["reset"]
    board.add_alert(alert("0", state="CLOSED"), 0, 4, 9)
    assert not board.changes(vectors.parse("a0=4"), None, 0)["reset"], "of those not kept, nobody hears more"


# ---- tables


def test_pareto_of_alerts(book: AlertBook) -> None:
    book.add_life(life("0", Kind.ACKNOWLEDGE, Kind.ASSIGN_CAUSE), 0)
    assert {by: book.pareto(by, 0, 1)["items"][0]["name"] for by in PARETO_BY} == {
        "rule": "nelson_1", "detector": "spc.individuals", "tool": "E1", "characteristic": "CD", "lot": "L0",
        "severity": "CRITICAL", "cause": "no cause named", "status": "open",
    }  # fmt: skip
    table = book.pareto("tool", 10, 9)
    assert [(row["name"], row["count"]) for row in table["items"]] == [("E1", 1), ("E2", 1), ("a whole partition", 1)]
    assert table["items"][-1]["cumulative"] == 1.0
    assert book.pareto("tool", 0, 9, Chosen(severity="WARNING"))["total"] == 1
    assert book.pareto("tool", 999, 9) == {"items": [], "total": 0, "groups": 0, "other": 0}


def test_a_tally_is_bounded() -> None:
    tally = Tally(groups_max=2)
    for name in "abcb":
        tally.add(name)
    assert tally.table(1) == {
        "items": [{"name": "b", "count": 2, "share": 0.5, "cumulative": 0.5}], "total": 4, "groups": 2, "other": 2,
    }  # fmt: skip


# ---- inspections


def defect(kind: str = "SCRATCH", location: str = "x=1 y=2", severity: str = "MAJOR") -> dict[str, Any]:
    return {"defect_type": kind, "severity": severity, "confidence": 0.9, "location": location}


def inspection(name: str, *defects: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "event_id": "e", "event_type": "DEFECT_DETECTED", "timestamp": 7, "inspection_id": name, "batch_id": "B1",
        "chip_id": "C1", "inspection_type": "AOI", "status": "IN_PROGRESS", "quality_score": None,
        "defects": list(defects), "metadata": {}, **fields,
    }  # fmt: skip


def test_the_events_of_an_inspection_make_one_map() -> None:
    book = InspectionBook()
    book.add(inspection("I1", defect()), 10)
    book.add(inspection("I1", defect(), defect("PARTICLE", "die 3,-2"), quality_score=0.4), 11)
    book.add(inspection("I1", event_type="INSPECTION_COMPLETED", status="COMPLETED", timestamp=9), 12)
    found = book.map("I1")
    assert found
    [told] = found["inspections"]
    assert (told["status"], told["quality_score"], told["defects"], told["first_ms"]) == ("COMPLETED", 0.4, 2, 7)
    assert [(one["defect_type"], one["x"], one["die_x"]) for one in found["defects"]] == [
        ("SCRATCH", 1.0, None),
        ("PARTICLE", None, 3),
    ]
    assert (found["lot"], found["without_place"], book.map("I2")) == ("B1", 0, None)


def test_a_wafer_is_all_its_inspections() -> None:
    book = InspectionBook()
    book.add(inspection("I1", defect(), metadata={"lot": "L1", "wafer": "W3"}), 10)
    book.add(inspection("I2", defect("PARTICLE", "somewhere"), metadata={"lot_id": "L1", "wafer_id": "W3"}), 11)
    book.add(inspection("I3", metadata={"lot": "L1", "wafer": "W4"}), 12)
    found = book.wafer("L1", "W3")
    assert found
    assert [one["inspection_id"] for one in found["defects"]] == ["I1", "I2"]
    assert (found["without_place"], book.wafer("L1", "W9")) == (1, None)


def test_inspections_are_paged_newest_first() -> None:
    book = InspectionBook()
    for number in range(3):
        book.add(inspection(f"I{number}"), number)
    first = book.newest(2)
    book.add(inspection("I0"), 9)
    second = book.newest(2, first["next"])
    assert [one["inspection_id"] for one in first["items"] + second["items"]] == ["I2", "I1"]
    assert (second["next"], second["total"]) == (None, 3)


def test_inspections_are_bounded_in_number_and_in_defects() -> None:
    book = InspectionBook(inspections_max=2, defects_max=2, defects_total_max=3)
    book.add(inspection("I1", *[defect(location=f"x={i} y=0") for i in range(4)]), 1)
    found = book.map("I1")
    assert found
    assert (len(found["defects"]), found["untold"], found["inspections"][0]["defects"]) == (2, 2, 4)
    book.add(inspection("I1", *[defect(location=f"x={i} y=0") for i in range(5)]), 1)
    assert book.map("I1")["untold"] == 3, "each is counted once, however often it is told"  # type: ignore[index]
    book.beyond_max = 3
    for _ in range(2):
        book.add(inspection("I1", defect(location="x=9 y=9")), 1)
    assert book.map("I1")["untold"] == 5  # type: ignore[index]
    book.add(inspection("I2", defect()), 2)
    book.add(inspection("I3"), 3)
    assert book._beyond == 0
    assert (len(book), book.forgotten, book.defects, book.map("I1")) == (2, 1, 1, None)
    book.add(inspection("I4", defect(), defect("PARTICLE")), 4)
    book.add(inspection("I5", defect(), defect("PARTICLE")), 5)
    assert (len(book), book.defects) == (1, 2)


def test_pareto_of_defects() -> None:
    book = InspectionBook()
    book.add(inspection("I1", defect(), defect("PARTICLE", severity="MINOR")), 5)
    book.add(inspection("I2", defect(), inspection_type="SEM"), 6)
    tables = {by: [(row["name"], row["count"]) for row in book.pareto(by, 0, 9)["items"]] for by in DEFECTS_BY}
    assert tables == {
        "defect_type": [("SCRATCH", 2), ("PARTICLE", 1)],
        "defect_severity": [("MAJOR", 2), ("MINOR", 1)],
        "inspection_type": [("AOI", 2), ("SEM", 1)],
    }
    assert book.pareto("defect_type", 6, 9)["total"] == 1


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("X: -1.5e1, Y: 2", (-15.0, 2.0, None, None)),
        ("12;7", (12.0, 7.0, None, None)),
        ("die=[3, 4]", (None, None, 3, 4)),
        ("x=1e99 y=2", (1e99, 2.0, None, None)),
        ("edge 12,7 o'clock", (None, None, None, None)),
        ("x=" + "9" * 10_000, (None, None, None, None)),
        ("", (None, None, None, None)),
    ],
)
def test_where_a_defect_is(text: str, place: tuple[float | None, ...]) -> None:
    assert spot(text) == place
