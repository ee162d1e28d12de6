"""What `chipquality limits` prints: for a person and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from actors.control_desk import Made
from actors.limit_desk import facts_of, facts_of_proposal
from models.limit_versions import Change, Kind, Limits, State

if TYPE_CHECKING:
    from models.limit_proposal import Proposal


def show_proposal(change: Change, proposal: Proposal, *, as_json: bool) -> None:
    """Print a proposal beside what holds now."""
    old = proposal.old.share.limits if proposal.old else Limits()
    new = proposal.share.limits
    if as_json:
        typer.echo(json.dumps(facts_of_proposal(change, proposal)))
        return
    say = typer.echo
    say(f"{proposal.share.series}  partition {proposal.share.partition}")
    say(f"{proposal.rows} rows, offsets {proposal.span[0]} to {proposal.span[1]}, {proposal.missing} missing")
    if proposal.study is not None:
        found = proposal.study.estimate
        say(f"mu and sigma by {found.method} from {found.rows} rows; {len(proposal.removed)} left out")
        for point in proposal.removed:
            say(f"  offset {point.offset}  {point.value:.6g}  {point.why}")
        if not proposal.study.complete:
            say(
                "  more than a quarter of the points would have to go: there is no stable level. Look before you apply."
            )
    holds = f"version {proposal.old.number}" if proposal.old else "none given"
    say(f"{'':<8}{holds:>14}{'version ' + str(proposal.share.limits_version):>14}")
    for name in Limits._fields:
        say(f"{name:<8}{_cell(getattr(old, name)):>14}{_cell(getattr(new, name)):>14}")
    say(f"Proposed. To apply it: chipquality limits apply {change.change_id} --author NAME")


def _cell(number: float | None) -> str:
    return "-" if number is None else f"{number:.6g}"


def show_made(change: Change, made: Mapping[int, Made | None], *, as_json: bool) -> None:
    """Print at which offset each partition made an applied change; None: it has not yet."""
    done = [entry for entry in made.values() if entry is not None]
    if as_json:
        late = sorted(partition for partition, entry in made.items() if entry is None)
        typer.echo(json.dumps(facts_of(change, done) | {"not_made": late}))
        return
    typer.echo(f"{change.change_id} is applied.")
    for entry in done:
        typer.echo(f"  partition {entry.partition}: in effect from offset {entry.applied.at_offset} on")


def show_change(change: Change, made: list[Made]) -> None:
    """Print a change: who, why, what, and where it was made."""
    when = _iso(change.created_ms if change.approved_ms is None else change.approved_ms)
    by = change.author if change.approver in (None, change.author) else f"{change.author}, applied by {change.approver}"
    typer.echo(f"{change.change_id}  {change.kind.lower()}  {change.state.lower()}  {when}  {by}: {change.reason}")
    at = {entry.partition: entry.applied.at_offset for entry in made}
    for share in change.changes:
        what = f"offset {share.offset}" if share.offset is not None else ""
        if change.kind is Kind.LIMITS:
            limits = "  ".join(f"{name} {_cell(number)}" for name, number in share.limits._asdict().items())
            what = f"version {share.limits_version}: {limits}"
        typer.echo(f"    {share.series}  {what}".rstrip())
        if change.state is State.APPLIED:
            waits = "" if change.effective_from_ms is None else f", for event time {_iso(change.effective_from_ms)}"
            place = f"in effect from offset {at[share.partition]} on" if share.partition in at else "waits" + waits
            typer.echo(f"    partition {share.partition}: {place}")


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
