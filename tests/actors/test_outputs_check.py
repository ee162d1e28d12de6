"""What `pipeline check` tells where a torn step, of which only alerts could be seen, is taken again in another cut."""

from __future__ import annotations

from actors.engine.outputs import Kind
from actors.outputs_check import check_outputs
from models.detector import identity
from tests.actors.engine.world import Fragile
from tests.actors.torn_line import TornLine

WORDS = ["a 1", "a 12", "a 666", "a 1", "a 1", "a 12"]
FRAGILE = identity(Fragile())


def taken_again(torn_rows: int, *rows: int) -> set[tuple[Kind, str]]:
    """Tear the step from offset 1 on, go on in steps of so many rows; return what is told of the detector that fails."""
    line = TornLine()
    line.send(WORDS)
    line.step(1)
    line.tear(torn_rows, {"alerts": 9})
    line.open()
    for each in rows:
        line.step(each)
    assert [applied.subject for applied in line.fold.position.applied] == [FRAGILE]
    problems = check_outputs(line.pipeline, line.around).problems
    kinds = {problem.kind for problem in problems}
    assert kinds <= {Kind.ALERT_TWICE, Kind.ALERT_OFF, Kind.ERROR_UNKNOWN}, problems
    return {(problem.kind, problem.what) for problem in problems if problem.kind is not Kind.ALERT_TWICE}


def test_an_alert_that_nothing_says_again_because_its_detector_is_off_is_told() -> None:
    ((kind, what),) = taken_again(1, 5)
    assert kind is Kind.ALERT_OFF
    assert what.startswith(f"above of {FRAGILE} on a, ")
    assert what.endswith(": at 1, off from 1 on")


def test_a_failure_that_came_later_when_the_step_was_taken_again_is_told() -> None:
    said = f"{FRAGILE}: failed at 1, and is off from 2 on"
    assert taken_again(2, 1, 4) == {(Kind.ERROR_UNKNOWN, said)}


def test_the_same_cut_gives_the_same() -> None:
    assert taken_again(2, 2, 3) == set()
