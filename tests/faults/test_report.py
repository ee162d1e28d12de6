"""The table passes a row only if every repetition passed and came back in time."""

from __future__ import annotations

import pytest

from tests.faults.cases import CASES
from tests.faults.report import facts, missed, table
from tests.faults.run import Outcome

OWNER = CASES["owner"]
COUNTS = dict.fromkeys(("records", "lost", "duplicates", "mismatches", "gaps", "dead_lettered", "aside"), 1)


def outcome(state: str = "passed", back: float = 1.0, gap: float = 0.0) -> Outcome:
    return Outcome("owner", 1, state, counts=COUNTS, recoveries=[back], longest_gap_s=gap)


@pytest.mark.parametrize(
    ("outcomes", "why"),
    [
        ([outcome(), outcome(back=4.9)], ""),
        ([outcome(), outcome(back=5.1)], "back after 5.1 s"),
        ([outcome(), outcome(back=float("inf"))], "back after inf s"),
        ([outcome(), outcome("failed")], "run 1: "),
        ([outcome(), Outcome("owner", 2, "passed")], "run 2: nothing was sent after the fault"),
        ([outcome("not run")], "not run: "),
        ([], "not run: "),
    ],
)
def test_why_a_row_is_missed(outcomes: list[Outcome], why: str) -> None:
    assert missed(OWNER, outcomes) == why


def test_the_table_has_the_sums_and_the_percentiles() -> None:
    cells = row([outcome(back=1.0, gap=0.5), outcome(back=2.0, gap=0.9), outcome(back=7.0, gap=0.6)])
    assert cells == ["kill -9 owner", "3", *["3"] * 7, "2.0 s", "7.0 s", "0.6 s", "0.9 s", "5 s", "FAIL"]


def test_a_gap_that_was_not_measured_is_none_of_0_s() -> None:
    assert row([outcome("failed"), outcome(gap=0.9)])[-4:-2] == ["0.9 s", "0.9 s"]
    assert row([outcome("failed")])[-4:-2] == ["-", "-"]


def row(outcomes: list[Outcome]) -> list[str]:
    return [cell.strip() for cell in table(CASES, {"owner": outcomes}).splitlines()[-1].strip("|").split("|")]


def test_facts_that_a_case_wants_told_are_told_of_every_repetition() -> None:
    gaps = [Outcome("rescale", 1, facts={"others' gap, s": 0.3, "changes": []}), Outcome("rescale", 2)]
    assert facts(CASES, {"rescale": gaps, "owner": [outcome()]}) == "rescale: others' gap, s: 0.3, -\n"


def test_names_are_those_of_the_cases() -> None:
    assert all(name == case.name for name, case in CASES.items())
    assert len({case.row for case in CASES.values()}) == len(CASES)
