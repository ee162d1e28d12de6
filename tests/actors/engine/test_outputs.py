"""What the checker of outputs tells, on hand-made outputs."""

from __future__ import annotations

from typing import Any

import pytest

from actors.engine import outputs
from actors.engine.outputs import Kind, OutputsCheck, Problem, Standing
from actors.engine.position import DISABLED, Applied, Position
from schemas.charts import ChartStep


def checker(**further: Any) -> OutputsCheck:
    return OutputsCheck("quality", "fab", **further)


def block(first: int, end: int, family: str = "spc", partition: int = 0, pipeline: str = "quality") -> ChartStep:
    return ChartStep(pipeline, family, "fab", partition, 1, first, end)


def at(offset: int, *applied: Applied) -> Position:
    return Position("fab", 0, offset, 1, 0, 0, "1", applied)


def alert(ident: str, state: str = "OPEN", offset: int = 3, **further: Any) -> dict[str, Any]:
    return {
        "pipeline": "quality", "topic": "fab", "partition": 0, "alert_id": ident, "state": state, "rule": "r",
        "detector": "d", "series": "s", "opened_offset": offset, "closed_offset": offset, **further,
    }  # fmt: skip


def letter(offset: int, source: str = "quality") -> dict[str, Any]:
    return {"source": source, "topic": "fab", "partition": 0, "offset": offset}


def stand(before: int | None, after: int | None, committed: int | None, error: str = "") -> dict[int, Standing]:
    return {0: Standing(None if before is None else at(before), None if after is None else at(after), committed, error)}


def told(check: OutputsCheck, *standing: Any) -> list[tuple[Kind, str]]:
    return [(problem.kind, problem.what) for problem in check.conclude(stand(*standing))]


def test_outputs_that_are_whole() -> None:
    check = checker()
    for step in (block(5, 9), block(9, 9), block(5, 12, "drift"), block(9, 12), block(0, 99, pipeline="another")):
        check.chart(step)
    check.alert(alert("aa"), whole=True)
    check.alert(alert("aa", "CLOSED", 8), whole=True)
    for said in (letter(3), letter(7), letter(3, "a publisher")):
        check.letter(said)
    check.set_aside(letter(4))
    assert told(check, 12, 12, 12) == []
    assert (check.alerts, check.letters, check.chains[0, "spc"].blocks) == ({0: 2}, {0: 2}, 3)


def test_what_moves_while_it_is_read_is_no_problem() -> None:
    check = checker()
    check.chart(block(0, 15))
    check.alert(alert("aa", offset=14), whole=True)
    assert told(check, 12, 18, 15) == []
    assert told(checker(), None, 18, 15) == []


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((block(0, 4), block(5, 9)), [(Kind.GAP, "spc: no block from 4 to 5")]),
        ((block(0, 6), block(4, 9)), [(Kind.OVERLAP, "spc: rows from 4 to 6 stand twice")]),
        ((block(0, 9), block(0, 9)), [(Kind.OVERLAP, "spc: rows from 0 to 9 stand twice")]),
        ((block(0, 8),), [(Kind.BEHIND, "spc: ends at 8, the position is 9")]),
        ((block(0, 9), block(9, 11)), [(Kind.BEYOND, "spc: up to 11, the position is 9")]),
    ],
)
def test_chains_of_blocks(steps: tuple[ChartStep, ...], expected: list[tuple[Kind, str]]) -> None:
    check = checker()
    for step in steps:
        check.chart(step)
    assert told(check, 9, 9, 9) == expected


def test_a_family_that_does_not_run_any_more_need_not_reach_the_position() -> None:
    check = checker(families=("spc",))
    check.chart(block(0, 5, "old"))
    check.chart(block(0, 9))
    assert told(check, 9, 9, 9) == []


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        ((9, 9, 7), [(Kind.TORN, "committed offset 7, position 9")]),
        ((9, 9, 12), [(Kind.TORN, "committed offset 12, position 9")]),
        ((None, None, 7), [(Kind.LOST, "offset 7 is committed and there is no position record")]),
        ((9, 9, None), []),  # it has expired: the position wins
        ((None, None, None), []),
        ((9, 9, 9, "page 3 is of step 8"), [(Kind.STATE, "page 3 is of step 8")]),
    ],
)
def test_state_and_offsets(standing: tuple[Any, ...], expected: list[tuple[Kind, str]]) -> None:
    assert told(checker(), *standing) == expected


def test_alerts_and_letters() -> None:
    check = checker()
    for ident, state in (("aa", "OPEN"), ("aa", "OPEN"), ("bb", "CLOSED"), ("aa", "CLOSED"), ("aa", "CLOSED")):
        check.alert(alert(ident, state), whole=True)
    check.alert(alert("cc", "CLOSED"), whole=False)  # its opening may have been deleted
    check.alert(alert("dd", pipeline="another"), whole=True)
    for offset in (4, 4, 3, 20):
        check.letter(letter(offset))
    check.set_aside(letter(6))
    check.set_aside(letter(6))
    assert told(check, 9, 9, 9) == [
        (Kind.ALERT_TWICE, "r of d on s, aa: OPEN stands twice"),
        (Kind.ALERT_UNOPENED, "r of d on s, bb"),
        (Kind.ALERT_TWICE, "r of d on s, aa: CLOSED stands twice"),
        (Kind.LETTER_TWICE, "offset 4"),
        (Kind.LETTER_TWICE, "offset 3"),
        (Kind.ASIDE_TWICE, "offset 6"),
        (Kind.BEYOND, "dead letters: up to 20, the position is 9"),
    ]


def off(detector: str, offset: int) -> Applied:
    return Applied(offset, DISABLED, detector, "why")


def failed(detector: str, offset: int) -> dict[str, Any]:
    ident = f"{offset:04x}"
    return alert(ident, offset=offset, detector=detector, rule="detector_error", series="", closed_offset=None)


@pytest.mark.parametrize(
    ("alerts", "expected"),
    [
        # opened while it ran, never closed since; closed while it ran
        ((alert("aa", offset=19), alert("bb", offset=3), alert("bb", "CLOSED", 19)), []),
        # another detector, and one whose own rule has that name
        ((alert("aa", offset=25, detector="e"), alert("bb", offset=25, detector="e", rule="detector_error")), []),
        ((alert("aa", offset=20),), [(Kind.ALERT_OFF, "r of d on s, aa: at 20, off from 20 on")]),
        (
            (alert("aa", offset=25), alert("bb", offset=31), alert("cc", offset=27)),
            [(Kind.ALERT_OFF, "r of d on s, bb: at 31, off from 20 on")],
        ),
        (
            (alert("aa", offset=3), alert("aa", "CLOSED", 22, opened_offset=3)),
            [(Kind.ALERT_OFF, "r of d on s, aa: at 22, off from 20 on")],
        ),
    ],
)
def test_a_detector_that_is_off_says_nothing(
    alerts: tuple[dict[str, Any], ...], expected: list[tuple[Kind, str]]
) -> None:
    check = checker()
    for said in (failed("d", 20), *alerts):
        check.alert(said, whole=True)
    standing = Standing(at(40, off("d", 20)), at(40, off("d", 20)), 40)
    assert check.conclude({0: standing}) == [Problem(kind, 0, what) for kind, what in expected]


def test_a_detector_that_fails_while_the_outputs_are_read_is_no_problem() -> None:
    check = checker()
    check.alert(alert("aa", offset=19), whole=True)
    check.alert(failed("d", 20), whole=True)
    assert check.conclude({0: Standing(at(20), at(25, off("d", 20)), 20)}) == []


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (at(40, off("d", 20)), []),
        (at(40, off("d", 24)), [(Kind.ERROR_UNKNOWN, "d: failed at 20, and is off from 24 on")]),
        (at(40, off("e", 20)), [(Kind.ERROR_UNKNOWN, "d: failed at 20, and is not off")]),
        (at(20), [(Kind.BEYOND, "alerts: up to 20, the position is 20")]),  # it may come yet: the step is not over
    ],
)
def test_a_failure_that_the_position_does_not_know_of(position: Position, expected: list[tuple[Kind, str]]) -> None:
    check = checker()
    check.alert(failed("d", 20), whole=True)
    if ("d", 24) in [(entry.subject, entry.at_offset) for entry in position.applied]:
        check.alert(failed("d", 24), whole=True)
    problems = check.conclude({0: Standing(position, position, position.next_offset)})
    assert [(problem.kind, problem.what) for problem in problems] == expected


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "ALERTS_MAX", 2)
    monkeypatch.setattr(outputs, "PROBLEMS_MAX", 1)
    check = checker()
    for ident in ("aa", "bb", "cc"):
        check.alert(alert(ident), whole=True)
    check.alert(alert("aa", "CLOSED"), whole=True)  # forgotten: nothing is said of it
    for offset in (4, 4, 4):
        check.letter(letter(offset))
    assert check.conclude(stand(9, 9, 9)) == [Problem(Kind.LETTER_TWICE, 0, "offset 4")]
    assert (check.problem_count, check.forgotten, len(check._seen)) == (2, 2, 2)
