"""What `chipquality dead-letters` prints, and how it reads its options."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import Any

import typer

from actors.letter_desk import RefusedError, since_ms
from actors.sinks.redrive import ADVICE, Coordinates, Filter, Letter, Outgoing, Redrives, Refusal
from cluster.commands.telling import Output
from schemas.batch import Reason

DETAIL_SHOWN = 100  # characters of a detail in a list


def facts_of(letter: Letter, redrives: Redrives) -> dict[str, Any]:
    """Return what is told of a letter, by name."""
    fields, done = letter.fields, redrives.of(letter)
    return {
        "at": letter.place,
        "written": _when(letter.written_ms),
        "record": letter.coordinates,
        "published": _when(fields["timestamp_ms"]),
        "reason": fields["reason"],
        "detail": fields["detail"],
        "attempts": fields["attempts"],
        "source": fields["source"],
        "key": None if fields["key"] is None else fields["key"].decode(errors="backslashreplace"),
        "truncated": fields["truncated"],
        "redriven": redrives.times(letter) + (done is not None),
        "redriven_to": None if done is None else f"{done['to_topic']}:{done['to_partition']}:{done['to_offset']}",
        "advice": ADVICE.get(fields["reason"], ""),
        "trace": fields["trace"],
    }


def line_of(letter: Letter, redrives: Redrives) -> str:
    """Return a letter in one line."""
    facts = facts_of(letter, redrives)
    detail = " ".join(facts["detail"].split())[:DETAIL_SHOWN]
    again = f"  redriven to {facts['redriven_to']}" if facts["redriven_to"] else ""
    return (
        f"{facts['at']}  {facts['written']}  {facts['reason']}  {facts['source']}  {facts['record']}  {detail}{again}"
    )


def tell(going: list[Outgoing], refused: list[Refusal], places: list[tuple[int, int]], output: Output) -> None:
    """Print what was redriven and got to `places`, or would be if there are none, and what was left."""
    done = len(places) == len(going) and bool(going)
    if output is Output.json:
        sent = [
            {"at": out.letter.place, "record": out.letter.coordinates, "to_topic": out.to_topic, "times": out.times}
            | ({"to_partition": places[number][0], "to_offset": places[number][1]} if done else {})
            for number, out in enumerate(going)
        ]
        left = [{"at": no.letter.place, "record": no.letter.coordinates, "why": no.why} for no in refused]
        typer.echo(json.dumps({"applied": done, "redriven" if done else "would_redrive": sent, "left": left}))
        return
    for number, out in enumerate(going):
        to = out.to_topic + (f":{places[number][0]}:{places[number][1]}" if done else "")
        again = f", for the {out.times}. time" if out.times > 1 else ""
        typer.echo(f"{out.letter.place}  {out.letter.coordinates}  {out.letter.fields['reason']}  → {to}{again}")
    for no in refused:
        typer.echo(f"{no.letter.place}  {no.letter.coordinates}  left: {no.why}")
    told = f"{len(going)} records {'redriven' if done else 'would be redriven'}, {len(refused)} left."
    typer.echo(told if done or not going else f"{told} Nothing was done: --apply does it.")


def _when(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# ---- reading options


def filter_of(
    topic: str | None,
    reason: str | None,
    since: str | None,
    source: str | None,
    partition: int | None,
    record: str | None,
) -> Filter:
    """Return the filter that the options say. Raises RefusedError."""
    if reason is not None and reason not in set(Reason):
        raise RefusedError(f"--reason {reason}: no such reason; there are {', '.join(Reason)}")
    return Filter(
        topic, reason, _since_ms(since), source, partition, None if record is None else coordinates_of(record)
    )


def _since_ms(text: str | None) -> int | None:
    try:
        return None if text is None else since_ms(text, time.time_ns() // 1_000_000)
    except RefusedError as error:
        raise RefusedError(f"--since {error}") from error


def coordinates_of(text: str) -> Coordinates:
    """Return coordinates from their text. Raises RefusedError."""
    found = re.fullmatch(r"(.+):(-?\d+):(-?\d+)", text)
    if found is None:
        raise RefusedError(f"{text}: TOPIC:PARTITION:OFFSET is wanted, e.g. fab.measurements:3:1207")
    return found[1], int(found[2]), int(found[3])
