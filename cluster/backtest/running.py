"""Carrying a backtest out: every partition is judged (cluster/backtest/tasks.py), and what they say becomes one report.

All is written into a folder beside the one that was asked for, which gets its name when it is whole: a report is there entirely
or not at all. Where partitions are judged on several nodes, it must be a folder that all of them see.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cluster.backtest.page import page
from cluster.backtest.plan import BacktestPlan
from cluster.backtest.report import measures
from cluster.backtest.tally import Counts, Failure, merged
from cluster.backtest.tasks import Ended, Failed, Task, Word
from cluster.backtest.verdicts import file_of, rows_around
from cluster.operations.errors import Conflict

PART = ".part"  # after the folder's name, until it is whole
AROUND = 40  # rows of the series on either side of an alert that is shown
EXAMPLES = 12

Runs = Callable[[Sequence[Task]], Iterator[Word]]


class BacktestFailed(RuntimeError):  # noqa: N818 - it is an answer
    """A partition could not be judged; the message is for whoever asked."""


def tasks_of(plan: BacktestPlan, folder: Path) -> list[Task]:
    """Return a task for each partition, the longest first."""
    stretch = plan.stretch
    by_size = sorted(plan.since, key=lambda partition: stretch.starts[partition] - stretch.until[partition])
    return [Task(plan.pipeline, partition, plan.since[partition], str(folder), plan.labels) for partition in by_size]


def part_of(folder: Path) -> Path:
    """Return the folder that has what is not whole yet."""
    return folder.with_name(folder.name + PART)


def require_new(folder: Path) -> None:
    """Raise Conflict if something is there already."""
    if folder.exists():
        raise Conflict(f"{folder} is there already: take another --report, or remove it")


def carry_out(plan: BacktestPlan, folder: Path, runs: Runs, tell: Callable[[int, str], None]) -> dict[str, Any]:
    """Judge, measure, write the report into `folder`, which must not be there; return what report.json says.

    `tell(done, what)`: is called with how many of `plan.records` offsets are folded. Whatever ends it before the report is whole
    removes what was written. Raises Conflict, BacktestFailed.
    """
    require_new(folder)
    part = part_of(folder)
    began = time.monotonic()
    part.mkdir(parents=True, exist_ok=True)
    try:
        counts = _counts(plan, runs(tasks_of(plan, part)), tell)
        tell(plan.records, "writes the report")
        report = _report(plan, counts, part, time.monotonic() - began)
        (part / "report.json").write_text(json.dumps(report, indent=1))
        (part / "report.html").write_text(page(report))
        require_new(folder)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return report


def _counts(plan: BacktestPlan, words: Iterator[Word], tell: Callable[[int, str], None]) -> Counts:
    done: dict[int, int] = {}
    ended: dict[int, Counts] = {}
    tell(0, "starts")
    try:
        for word in words:
            if isinstance(word, Failed):
                raise BacktestFailed(word.why)
            if isinstance(word, Ended):
                ended[word.partition] = word.counts
            else:
                done[word.partition] = word.done
            what = f"{len(done) - len(ended)} of {len(plan.since)} partitions under way, {len(ended)} done"
            tell(sum(done.values()), what)
    finally:
        with suppress(AttributeError):
            words.close()  # type: ignore[attr-defined]  # of a generator: it ends what runs
    lacking = sorted(set(plan.since) - set(ended))
    if lacking:
        raise BacktestFailed(f"partitions {lacking} were not judged to their end")
    return merged([counts for _, counts in sorted(ended.items())])


def _report(plan: BacktestPlan, counts: Counts, folder: Path, seconds: float) -> dict[str, Any]:
    detector = plan.assignment.detector
    said = measures(counts, detector.rules, plan.labels, plan.wish.missed_cost)
    where = [file_of(folder, "verdicts", partition) for partition in plan.since]
    missing = [path for path in where if not path.exists()]
    if missing:
        raise BacktestFailed(
            f"{missing[0]} is not to be seen here: where several nodes judge, --report must be one that all of them see"
        )
    notes = [*_notes(counts, said), *_failures_noted(counts.failures)]
    return {
        "backtest": plan.told(),
        "seconds": round(seconds, 2),
        "notes": notes,
        **said,
        "failures": [vars(failure) for failure in counts.failures],
        "examples": _examples(plan, counts, folder),
    }


def _notes(counts: Counts, said: dict[str, Any]) -> list[str]:
    """Return what a reader must know before the numbers."""
    notes = []
    if not counts.rows and counts.letters:
        reasons = ", ".join(f"{n} {reason}" for reason, n in counts.letters.most_common())
        notes.append(f"No record could be read as what this detector judges ({reasons}): is it the right topic?")
    elif not counts.rows:
        notes.append("No record stands in this stretch.")
    elif not counts.judged:
        notes.append("Nothing was judged: all rows are missing values, of other series, or of Phase I.")
    if counts.rows and counts.letters:
        notes.append(f"{sum(counts.letters.values())} records could not be read; they are not judged.")
    labels = said["labels"]
    if labels and labels["not_judged"]:
        notes.append(
            f"{labels['not_judged']} of {labels['labels']} labels have no judged row in the stretch; recall is of the others."
        )
    return notes


def _failures_noted(failures: Sequence[Failure]) -> list[str]:
    return [
        f"The detector raised on partition {failure.partition} at offset {failure.offset} and was off from there on: "
        f"{failure.detail.strip().rpartition(chr(10))[2]}"
        for failure in failures
    ]


def _examples(plan: BacktestPlan, counts: Counts, folder: Path) -> list[dict[str, Any]]:
    """Return alerts that are shown, each with the rows of its series around it."""
    assignment = plan.assignment
    rules = {rule.name: (bit, rule) for bit, rule in enumerate(assignment.detector.rules)}
    found = []
    for example in sorted(counts.examples, key=lambda x: -x.strength)[:EXAMPLES]:
        bit, rule = rules[example.rule]
        statistic = assignment.detector.statistics[rule.statistic]
        rows = rows_around(file_of(folder, "verdicts", example.partition), example.series, example.offset, AROUND)
        table, name = rows.table, f"{assignment.name}/{statistic}"
        found.append(
            {
                **{name: value for name, value in example._asdict().items() if name != "strength"},
                "doc": rule.doc,
                "statistic": statistic,
                "at": rows.at,
                "points": [_finite(x) for x in table[name].to_pylist()],
                **{line: [_finite(x) for x in table[f"{name}/{line}"].to_pylist()] for line in ("centre", "lcl", "ucl")},
                "fired": [bool(signal >> bit & 1) for signal in table[f"{assignment.name}/signal"].to_pylist()],
                "valid": table[f"{assignment.name}/valid"].to_pylist(),
                "offsets": table["offset"].to_pylist(),
            }
        )  # fmt: skip
    return found


def _finite(x: float) -> float | None:
    return x if x - x == 0.0 else None
