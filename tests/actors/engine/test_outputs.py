"""What the checker of outputs tells, on hand-made outputs."""

from __future__ import annotations

from typing import Any

import pytest

from actors.engine import outputs
from actors.engine.outputs import Kind, OutputsCheck, Problem, Standing
from actors.engine.position import Position
from schemas.charts import ChartStep


def checker(**further: Any) -> OutputsCheck:
    return OutputsCheck("quality", "fab", **further)


def block(first: int, end: int, family: str = "spc", partition: int = 0, pipeline: str = "quality") -> ChartStep:
    return ChartStep(pipeline, family, "fab", partition, 1, first, end)


def at(offset: int) -> Position:
    return Position("fab", 0, offset, 1, 0, 0, "1")


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
