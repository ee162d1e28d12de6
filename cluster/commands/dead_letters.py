"""`chipquality dead-letters`: what could not be processed, why, and sending it on its way again.

Exit codes: 0 done; 1 Kafka or the registry does not answer; 2 refused, with the reason in one line. See docs/dead-letters.md.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer

from actors.errors import ConfigError, FencedError, ReopenError
from actors.kafka.client import Cluster
from actors.kafka.letters import RedriveWriter, fetch, partitions_of, read_records
from actors.sinks.journey import Received
from actors.sinks.redrive import (
    Coordinates,
    Filter,
    Letter,
    Outgoing,
    Redrives,
    Refusal,
    plan,
    redrive_fields,
)
from cluster.commands.dead_letters_text import (
    Output,
    RefusedError,
    coordinates_of,
    facts_of,
    filter_of,
    line_of,
    tell,
)
from cluster.commands.where import cluster_of
from cluster.config import load
from schemas.decode import UnreadableRecord, decode_event
from schemas.encode import Encoder
from schemas.registry import Registry, RegistryUnavailable, SchemaRefused
from schemas.topics import (
    ALERT_ACTIONS,
    ALERTS,
    ESCALATION,
    NOTIFY,
    REDRIVES,
    RETRY_DELAYS_S,
    TOPICS,
    group_dead_letter_topic,
    retry_topic,
    schema_text,
    subject_of,
)

app = typer.Typer(help="Records that could not be processed: list, show, redrive.", no_args_is_help=True)

FAILED, REFUSED = 1, 2  # exit codes
LIST_MAX = 50  # letters shown, unless told otherwise
REDRIVE_MAX = 100  # records redriven at once, unless told otherwise
REDRIVE_CAP = 10_000  # and at most
BATCH_RECORDS = 200  # in one transaction
VALUE_BYTES_SHOWN = 256

# dead-letter topic → where its records go when they are redriven; None: to their own topic
TARGETS: dict[str, str | None] = {
    **dict.fromkeys(name for name, topic in TOPICS.items() if topic.records == ("dead_letter",)),
    group_dead_letter_topic(ALERTS, NOTIFY): retry_topic(ALERTS, NOTIFY, RETRY_DELAYS_S[0]),
    group_dead_letter_topic(ALERT_ACTIONS, ESCALATION): retry_topic(ALERT_ACTIONS, ESCALATION, RETRY_DELAYS_S[0]),
}


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="text for a person, json for a program")]
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
        desk = _Desk(cluster_of(load()))
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
        desk = _Desk(cluster_of(load()))
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
        desk = _Desk(cluster_of(load()))
        if not do_it:
            going, refused = desk.plan(chosen, at_most)
            tell(going, refused, [], output)
            return
        with desk.redriving() as writer:
            going, refused = desk.plan(chosen, at_most)
            places = desk.send(writer, going, author)
    tell(going, refused, places, output)


class _Desk:
    """Dead letters of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.registry = Registry(cluster.registry_url, cluster.registry_client)

    def letters(self, chosen: Filter) -> Iterator[Letter]:
        """Yield the letters that the filter takes; those of one partition in the order in which they were written."""
        wanted = [name for name in TARGETS if self._may_hold(name, chosen)]
        if not wanted:
            raise RefusedError(
                f"--topic {chosen.topic}: no dead letters of such a topic; there are {', '.join(TARGETS)}"
            )
        for topic, partitions in partitions_of(self.cluster, wanted).items():
            for received in read_records(self.cluster, topic, partitions, chosen.since_ms):
                letter = self._letter(received)
                if letter is not None and chosen.takes(letter):
                    yield letter

    def redrives(self) -> Redrives:
        """Return what has been redriven so far."""
        partitions = partitions_of(self.cluster, [REDRIVES]).get(REDRIVES, [])
        if not partitions:
            return Redrives()
        records = read_records(self.cluster, REDRIVES, partitions, None)
        return Redrives([decode_event(record.value, self.registry.schema) for record in records])

    def plan(self, chosen: Filter, at_most: int) -> tuple[list[Outgoing], list[Refusal]]:
        """Return what would be published and what not. Raises RefusedError if it is more than `at_most`."""
        letters: list[Letter] = []
        redrives = self.redrives()
        for letter in self.letters(chosen):
            letters.append(letter)
            if len(letters) > REDRIVE_CAP:
                raise RefusedError(f"more than {REDRIVE_CAP} dead letters: narrow the filter")
        cut = [letter.record for letter in letters if letter.fields["truncated"] and letter.record[2] >= 0]
        originals: Mapping[Coordinates, Received | None] = fetch(self.cluster, cut)
        going, refused = plan(letters, redrives, TARGETS, originals)
        if len(going) > at_most:
            raise RefusedError(
                f"{len(going)} records would be redriven, and --max is {at_most}: narrow the filter, or say --max {len(going)}"
            )
        return going, refused

    @contextmanager
    def redriving(self) -> Iterator[RedriveWriter]:
        """Fence every other redrive, and be the only one."""
        if not partitions_of(self.cluster, [REDRIVES]):
            raise RefusedError(f"there is no topic {REDRIVES}: `chipquality topics apply` makes it")
        writer = RedriveWriter(self.cluster)
        try:
            writer.open()
            yield writer
        finally:
            writer.close()

    def send(self, writer: RedriveWriter, going: list[Outgoing], author: str) -> list[tuple[int, int]]:
        """Publish; return partition and offset of each."""
        encoder = Encoder("redrive", self.registry.register(subject_of(REDRIVES, "redrive"), schema_text("redrive")))

        def mark(sent: Outgoing, partition: int, offset: int) -> bytes:
            return encoder.encode(redrive_fields(sent, partition, offset, time.time_ns() // 1_000_000, author))

        places: list[tuple[int, int]] = []
        for start in range(0, len(going), BATCH_RECORDS):
            places += writer.write(going[start : start + BATCH_RECORDS], REDRIVES, mark)
        return places

    def value_of(self, letter: Letter) -> dict[str, Any]:
        """Return the value of a letter's record: as hexadecimal digits, and decoded if it can be."""
        value = letter.fields["value"]
        if value is None:
            return {"value_hex": None}
        facts: dict[str, Any] = {"value_hex": value[:VALUE_BYTES_SHOWN].hex(" "), "value_bytes": len(value)}
        try:
            facts["value_decoded"] = json.loads(json.dumps(decode_event(value, self.registry.schema), default=repr))
        except (UnreadableRecord, RegistryUnavailable):
            return facts
        return facts

    def _letter(self, received: Received) -> Letter | None:
        """Return a record as a letter; None if it cannot be read as one: then it is not for this command."""
        try:
            fields = decode_event(received.value, self.registry.schema)
        except UnreadableRecord:
            return None
        place = (received.topic, received.partition, received.offset)
        return Letter(*place, received.timestamp_ms, fields, received.headers)

    @staticmethod
    def _may_hold(name: str, chosen: Filter) -> bool:
        of = name.removesuffix(".dlq")
        asked = [chosen.topic] if chosen.topic else []
        asked += [chosen.record[0]] if chosen.record else []
        return all(topic in (name, of) or of.startswith(f"{topic}.") for topic in asked)


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
