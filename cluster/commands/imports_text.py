"""What `chipquality import` tells a person."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import typer

from actors.inputs.tables import BadRow

TELL_S = 1.0  # between two lines of progress


class Progress:
    """Tells on stderr how far something is, at most every TELL_S; a short one is not told at all."""

    def __init__(
        self,
        what: str,
        total: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        echo: Callable[[str], None] = lambda line: typer.echo(line, err=True),
    ) -> None:
        self._what, self._total, self._clock, self._echo = what, total, clock, echo
        self._next = clock() + TELL_S

    def __call__(self, done: int) -> None:
        """Take note of so many events done."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + TELL_S
        share = "" if not self._total else f" of {self._total:,}  {done / self._total:.0%}"
        self._echo(f"{self._what} {done:,}{share}")


def lines_of(said: dict[str, Any], bad: Sequence[BadRow]) -> list[str]:
    """Return lines of what was found and what has become of it."""
    found, events = said["found"], said["events"]
    lines = _stdf_lines(found) if said["kind"] == "stdf" else _table_lines(found)
    lines += [str(row) for row in bad]
    if said["bad_rows"]["count"] > len(bad):
        lines.append(f"… and {said['bad_rows']['count'] - len(bad):,} more bad rows")
    counted = f"{events['measurement']:,} measurements of {said['series']:,} series"
    if events["inspection"]:
        counted += f", {events['inspection']:,} inspection events"
    if said["dry_run"]:
        return [*lines, f"would publish {counted}"]
    if said["before"] == "whole":
        return [*lines, f"imported before: nothing was published of {counted}; --again publishes them all the same"]
    return [*lines, f"published {counted}"] if said["delivered"] else lines


def _stdf_lines(found: dict[str, Any]) -> list[str]:
    wafers = f", wafer {', '.join(found['wafers'][:5])}{' …' if len(found['wafers']) > 5 else ''}"
    bins = ", ".join(f"{number}: {count:,}" for number, count in found["hard_bins"].items())
    lines = [
        f"lot {found['lot'] or '–'}{wafers if found['wafers'] else ''}",
        f"{found['parts']:,} parts, {found['good']:,} good; {found['results']:,} results of {found['tests']:,} tests",
        f"hard bins  {bins}",
    ]
    told = {
        "superseded": "parts were tested again",
        "not_executed": "tests were not executed",
        "without_part": "results stand outside of a part that ended, and are left out",
    }
    lines += [f"{found[name]:,} {what}" for name, what in told.items() if found[name]]
    lines += [f"{count:,} results are missing: {why}" for why, count in found["missing"].items()]
    return [*lines, f"the file breaks off: {found['error']}"] if found["error"] else lines


def _table_lines(found: dict[str, Any]) -> list[str]:
    renamed = ", ".join(f"{column} → {name}" for column, name in found["columns"].items() if column != name)
    lines = [f"columns  {renamed}"] if renamed else []
    if found["left_out"]:
        lines.append(f"left out  {', '.join(found['left_out'])[:500]}")
    return lines
