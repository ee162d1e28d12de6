"""The table of the matrix, and what is told below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from tests.faults.case import Case
from tests.faults.run import Outcome

_COUNTED = {
    "records": "records",
    "lost": "lost",
    "duplicates": "twice",
    "mismatches": "differ",
    "gaps": "gaps",
    "dead_lettered": "dead letters",
    "aside": "set aside",
}
_HEAD = ("fault", "runs", *_COUNTED.values(), "back p50", "back p95", "gap p50", "gap p95", "target", "verdict")


def missed(case: Case, outcomes: Iterable[Outcome]) -> str:
    """Return why the row does not pass; "" if it does."""
    outcomes = list(outcomes)
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    if failed:
        return f"run {failed[0].repetition}: {failed[0].why}"
    if not outcomes or any(outcome.state == "not run" for outcome in outcomes):
        return f"not run: {outcomes[0].why if outcomes else ''}"
    unmeasured = [outcome.repetition for outcome in outcomes if not outcome.recoveries]
    if case.target_s and unmeasured:
        return f"run {unmeasured[0]}: nothing was sent after the fault"
    p95 = _percentile(_recoveries(outcomes), 95)
    if case.target_s and not p95 <= case.target_s:
        return f"back after {p95:.1f} s"
    return ""


def table(cases: Mapping[str, Case], outcomes: Mapping[str, list[Outcome]]) -> str:
    """Return the matrix as Markdown, a row per case."""
    rows = [_HEAD, ("---",) * len(_HEAD)]
    for name, of_case in outcomes.items():
        case = cases[name]
        counted = [outcome.counts for outcome in of_case if outcome.counts]
        sums = [str(sum(counts[column] for counts in counted)) if counted else "-" for column in _COUNTED]
        why = missed(case, of_case)
        verdict = "pass" if not why else "not run" if why.startswith("not run") else "FAIL"
        times = [_told(seconds, p) for seconds in (_recoveries(of_case), _gaps(of_case)) for p in (50, 95)]
        rows.append((case.row, str(len(of_case)), *sums, *times, case.target, verdict))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def facts(cases: Mapping[str, Case], outcomes: Mapping[str, list[Outcome]]) -> str:
    """Return the facts that cases want to be told, a line for each, with what it was in every repetition."""
    lines = []
    for name, of_case in outcomes.items():
        for fact in cases[name].tells:
            found = [str(outcome.facts.get(fact, "-")) for outcome in of_case]
            lines.append(f"{name}: {fact}: {', '.join(found)}\n")
    return "".join(lines)


def _recoveries(outcomes: Iterable[Outcome]) -> list[float]:
    return [recovery for outcome in outcomes for recovery in outcome.recoveries]


def _gaps(outcomes: Iterable[Outcome]) -> list[float]:
    """Return the longest gap of every repetition in which it was measured."""
    return [outcome.longest_gap_s for outcome in outcomes if outcome.longest_gap_s]


def _told(seconds: list[float], percent: float) -> str:
    return f"{_percentile(seconds, percent):.1f} s" if seconds else "-"


def _percentile(seconds: list[float], percent: float) -> float:
    return float(np.percentile(seconds, percent, method="higher")) if seconds else 0.0
