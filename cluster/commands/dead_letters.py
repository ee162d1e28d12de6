"""`chipquality dead-letters`: what could not be processed, why, and sending it on its way again.

Exit codes: 0 done; 1 Kafka or the registry does not answer; 2 refused, with the reason in one line. See docs/dead-letters.md.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer

from actors.errors import ConfigError, FencedError, ReopenError
from actors.letter_desk import REDRIVE_CAP, LetterDesk, RefusedError
from actors.sinks.redrive import Filter, Letter, Outgoing, Refusal
from cluster.commands.dead_letters_text import (
    coordinates_of,
    facts_of,
    filter_of,
    line_of,
    tell,
)
from cluster.commands.recording import record as recorded_in_trail
from cluster.commands.telling import Output, OutputOption
from cluster.commands.where import cluster_of
from cluster.config import load
from schemas.decode import UnreadableRecord
from schemas.registry import RegistryUnavailable, SchemaRefused

app = typer.Typer(help="Records that could not be processed: list, show, redrive.", no_args_is_help=True)

FAILED, REFUSED = 1, 2  # exit codes
LIST_MAX = 50  # letters shown, unless told otherwise
REDRIVE_MAX = 100  # records redriven at once, unless told otherwise

TopicOption = Annotated[
    str | None, typer.Option("--topic", help="Of records of this topic, or in this dead-letter topic.")
]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="With this reason, e.g. malformed.")]
SinceOption = Annotated[
    str | None, typer.Option("--since", help="Since then: a time (ISO 8601), or e.g. 30m, 12h, 7d ago.")
]
SourceOption = Annotated[str | None, typer.Option("--source", help="From this pipeline, consumer group or publisher.")]
PartitionOption = Annotated[int | None, typer.Option("--partition", min=-1, help="Of records of this partition.")]
RecordOption = Annotated[
    str | None, typer.Option("--record", help="This one: TOPIC:PARTITION:OFFSET of the record, or of the dead letter.")
]


@app.command("list")
def list_letters(
    topic: TopicOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    source: SourceOption = None,
    partition: PartitionOption = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Show so many, the newest.")] = LIST_MAX,
    output: OutputOption = Output.text,
) -> None:
    """List dead letters, the newest last."""
    with _refusals():
        chosen = filter_of(topic, reason, since, source, partition, None)
        desk = LetterDesk(cluster_of(load()))
        redrives = desk.redrives()
        newest: deque[Letter] = deque(maxlen=limit)
        reasons: Counter[str] = Counter()
        for letter in desk.letters(chosen):
            newest.append(letter)
            reasons[letter.fields["reason"]] += 1
    if output is Output.json:
        facts = [facts_of(letter, redrives) for letter in newest]
        typer.echo(json.dumps({"found": reasons.total(), "by_reason": dict(reasons), "items": facts}))
        return
    for letter in newest:
        typer.echo(line_of(letter, redrives))
    counts = ", ".join(f"{count} {name}" for name, count in reasons.most_common())
    shown = f", the newest {len(newest)} shown" if reasons.total() > len(newest) else ""
    typer.echo(f"{reasons.total()} dead letters{shown}{': ' if counts else ''}{counts}.")


@app.command()
def show(
    record: Annotated[str, typer.Argument(help="TOPIC:PARTITION:OFFSET of the record, or of the dead letter.")],
    output: OutputOption = Output.text,
) -> None:
    """Show one dead letter in full: why, the value, and what can be done."""
    with _refusals():
        place = coordinates_of(record)
        desk = LetterDesk(cluster_of(load()))
        found = list(desk.letters(Filter(record=place)))
        if not found:
            raise RefusedError(f"no dead letter {record}; `chipquality dead-letters list` shows what there is")
        letter, redrives = found[-1], desk.redrives()
        facts = facts_of(letter, redrives) | desk.value_of(letter)
    if output is Output.json:
        typer.echo(json.dumps(facts))
        return
    trace, value = facts.pop("trace"), facts.pop("value_decoded", None)
    for name, fact in facts.items():
        if fact not in (None, "", []):
            typer.echo(f"{name:<13} {fact}")
    if value is not None:
        typer.echo("value decoded\n" + "\n".join(f"  {line}" for line in json.dumps(value, indent=1).splitlines()))
    if trace:
        typer.echo("trace\n" + "\n".join(f"  {line}" for line in str(trace).splitlines()))
    if len(found) > 1:
        typer.echo(f"There are {len(found)} dead letters of this record; this is the newest.")


@app.command()
def redrive(
    topic: TopicOption = None,
    reason: ReasonOption = None,
    since: SinceOption = None,
    source: SourceOption = None,
    partition: PartitionOption = None,
    record: RecordOption = None,
    at_most: Annotated[
        int, typer.Option("--max", min=1, max=REDRIVE_CAP, help="Refuse if it would be more records.")
    ] = REDRIVE_MAX,
    author: Annotated[str, typer.Option(help="Who you are; it stands beside what was redriven.")] = "",
    do_it: Annotated[bool, typer.Option("--apply", help="Do it. Without this: only show what would be done.")] = False,
    output: OutputOption = Output.text,
) -> None:
    """Publish the records of dead letters again: shows what it would do, and does it with --apply. Never twice."""
    with _refusals():
        chosen = filter_of(topic, reason, since, source, partition, record)
        if chosen == Filter():
            raise RefusedError("say which: --topic, --reason, --since, --source, --partition or --record")
        desk = LetterDesk(cluster_of(load()))
        if not do_it:
            going, refused = _planned(desk, chosen, at_most)
            tell(going, refused, [], output)
            return
        with desk.redriving() as writer:
            going, refused = _planned(desk, chosen, at_most)
            places = desk.send(writer, going, author)
    tell(going, refused, places, output)
    if going:
        after = {"author": author, "records": len(going), "letters": [one.letter.place for one in going]}
        recorded_in_trail(cluster_of(load()), "dead-letters.redrive", "dead letters", None, after)


def _planned(desk: LetterDesk, chosen: Filter, at_most: int) -> tuple[list[Outgoing], list[Refusal]]:
    """Return what would be published and what not. Raises RefusedError if it is more than `at_most`."""
    redrives = desk.redrives()
    going, refused = desk.plan(desk.chosen(chosen), redrives)
    if len(going) > at_most:
        raise RefusedError(
            f"{len(going)} records would be redriven, and --max is {at_most}: narrow the filter, or say --max {len(going)}"
        )
    return going, refused


# ---- going wrong


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what goes wrong into one line and an exit code."""
    try:
        yield
    except (RefusedError, ConfigError, SchemaRefused) as error:
        _end(str(error), REFUSED)
    except FencedError:
        _end(
            "another redrive began at the same time; this one has done nothing since: look with `list`, run it again",
            FAILED,
        )
    except (ReopenError, RegistryUnavailable, UnreadableRecord) as error:
        _end(str(error), FAILED)


def _end(text: str, code: int) -> NoReturn:
    typer.echo(f"chipquality: {' '.join(text.split())}", err=True)
    sys.exit(code)
