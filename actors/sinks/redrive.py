"""Dead letters and what has been redriven: which may be published again, as what, and where to. Pure.

Theory of operation
-------------------
A letter is known by the record that it is of: `<dead-letter topic>/<topic>:<partition>:<offset>#<times>`, where `times` is how
often that record had been redriven when it failed; one that never reached its topic is known by the letter's own place. What was
redriven stands, under that name, in `quality.redrives`, written in the transaction that published the record (see
actors/kafka/letters.py). So a letter is redriven at most once, however often the command runs, and two letters of one record
(a plain consumer may write two) count as one.

`times` comes from the letter, if a plain consumer wrote it; a pipeline does not see headers, so there it comes from
`quality.redrives`, which says at which offset a redriven record got to its topic.

Rules of this file: a record goes back to its own topic; one that a consumer group has given up goes to the first retry topic of
that group instead, so that nobody else gets it twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from actors.sinks.journey import REDRIVEN, REDRIVEN_FROM, Header, Journey, Received, headers_of, own_headers
from schemas.batch import Reason

TIMES_MAX = 3  # how often a record is redriven; then its cause has to be mended elsewhere

Coordinates = tuple[str, int, int]  # topic, partition, offset

ADVICE: Mapping[str, str] = {
    Reason.NO_VALUE: "The writer sent a null value. Find it by key and headers; there is nothing to redrive.",
    Reason.NOT_AVRO: "The writer does not put the five bytes of Confluent's format first: correct its serializer.",
    Reason.UNKNOWN_SCHEMA: "The registry does not know the schema id: was it the right registry? Register the schema under that "
    "id, or restore the registry; then redrive.",
    Reason.INCOMPATIBLE_SCHEMA: "The writer's schema cannot be read as ours: compare the two in the registry.",
    Reason.MALFORMED: "The bytes are not what the schema says: truncated, or another schema's. Correct the writer; "
    "a redrive of the same bytes fails again.",
    Reason.TRAILING_BYTES: "Bytes are left over behind the record: the writer's schema id is another's. Correct the writer.",
    Reason.NOT_FINITE: "A value is infinite: send null for a value that is missing. Correct the writer.",
    Reason.WRONG_SAMPLES: "The record has no sample, too many, or no times for them. Correct the writer.",
    Reason.WRONG_CHARACTERISTICS: "The vector has not the characteristics that its pipeline judges: fit a new model to the new "
    "vector, then redrive.",
    Reason.TOO_LONG: "A text is longer than is kept. Correct the writer.",
    Reason.TOO_MANY_SERIES: "The partition has as many series as it may: is something that changes with every record a part "
    "of the series key? Correct the writer; or more partitions.",
    Reason.DUPLICATE: "Set aside on purpose: its event id was there before. A redrive is set aside again.",
    Reason.LATE: "Set aside on purpose: too far behind. A redrive is set aside again; reprocess, or allow more lateness.",
    Reason.AHEAD: "Set aside on purpose: the writer's clock is wrong. Correct the clock, publish with the right time.",
    Reason.PUBLISH_FAILED: "The publisher could not deliver it: see the detail. When the cause is gone, redrive.",
    Reason.HANDLING_FAILED: "A consumer has given up after its last attempt: see detail and trace. When the cause is gone, "
    "redrive: only that consumer gets it again.",
}  # fmt: skip


class Letter(NamedTuple):
    """A dead letter where it stands, and the fields of its record (schemas/avro/dead_letter.avsc)."""

    topic: str
    partition: int
    offset: int
    written_ms: int  # Kafka timestamp of the letter
    fields: Mapping[str, Any]
    headers: tuple[Header, ...] = ()

    @property
    def place(self) -> str:
        """Return where the letter stands."""
        return f"{self.topic}:{self.partition}:{self.offset}"

    @property
    def record(self) -> Coordinates:
        """Return where the record that it is of stood."""
        return self.fields["topic"], self.fields["partition"], self.fields["offset"]

    @property
    def coordinates(self) -> str:
        """Return `topic:partition:offset` of the record that it is of."""
        return ":".join(map(str, self.record))


@dataclass(frozen=True)
class Filter:
    """Which letters; None: any."""

    topic: str | None = None  # of the record, or of the letter
    reason: str | None = None
    since_ms: int | None = None  # letters written since
    source: str | None = None
    partition: int | None = None
    record: Coordinates | None = None  # of the record, or of the letter
    text: str | None = None  # that its detail, key, value, trace, source or coordinates contain, in any case

    def takes(self, letter: Letter) -> bool:
        """Tell whether a letter is one of these."""
        fields = letter.fields
        own = (letter.topic, letter.partition, letter.offset)
        return (
            self.topic in (None, fields["topic"], letter.topic)
            and self.reason in (None, fields["reason"])
            and (self.since_ms is None or letter.written_ms >= self.since_ms)
            and self.source in (None, fields["source"])
            and self.partition in (None, fields["partition"])
            and self.record in (None, letter.record, own)
            and (self.text is None or _contains(letter, self.text))
        )


def _contains(letter: Letter, text: str) -> bool:
    fields, wanted = letter.fields, text.lower()
    said = (fields["detail"], fields["trace"] or "", fields["source"], letter.coordinates, letter.place)
    raw = wanted.encode()
    return any(wanted in part.lower() for part in said) or any(
        raw in part.lower() for part in (fields["key"], fields["value"]) if part is not None
    )


class Redrives:
    """What has been redriven, as `quality.redrives` says."""

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self._by_name: dict[str, Mapping[str, Any]] = {}
        self._times: dict[Coordinates, int] = {}
        for record in records:
            place = (record["letters"], record["letter_partition"], record["letter_offset"])
            was = (record["topic"], record["partition"], record["offset"])
            self._by_name[_name(place, was, record["times"] - 1)] = record
            self._times[record["to_topic"], record["to_partition"], record["to_offset"]] = record["times"]

    def times(self, letter: Letter) -> int:
        """Return how often the record had been redriven when it became this letter."""
        return max(int(letter.fields.get("redriven", 0)), self._times.get(letter.record, 0))

    def name(self, letter: Letter) -> str:
        """Return the name under which its redrive is known."""
        return _name((letter.topic, letter.partition, letter.offset), letter.record, self.times(letter))

    def of(self, letter: Letter) -> Mapping[str, Any] | None:
        """Return what is known of this letter's redrive; None if there was none."""
        return self._by_name.get(self.name(letter))


def _name(letter: Coordinates, record: Coordinates, times: int) -> str:
    if record[2] < 0:
        return f"{letter[0]}/{letter[1]}:{letter[2]}"
    return f"{letter[0]}/{record[0]}:{record[1]}:{record[2]}#{times}"


class Outgoing(NamedTuple):
    """A record to be published again."""

    letter: Letter
    name: str
    to_topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    times: int  # this time included


class Refusal(NamedTuple):
    """A letter that is not redriven, and why."""

    letter: Letter
    why: str


def plan(
    letters: Sequence[Letter],
    redrives: Redrives,
    targets: Mapping[str, str | None],  # dead-letter topic → where its records go; None: to their own topic
    originals: Mapping[Coordinates, Received | None],  # whole records of the truncated letters; None: not retained
    times_max: int = TIMES_MAX,
) -> tuple[list[Outgoing], list[Refusal]]:
    """Return what would be published, in the order of the letters, and what not."""
    going: list[Outgoing] = []
    refused: list[Refusal] = []
    taken: dict[str, Letter] = {}
    for letter in letters:
        times, name = redrives.times(letter), redrives.name(letter)
        why = _refused(letter, redrives, originals, times, times_max)
        if why is None and name in taken:
            why = f"the same record as {taken[name].place}"
        if why is not None:
            refused.append(Refusal(letter, why))
            continue
        taken[name] = letter
        whole = originals.get(letter.record) if letter.fields["truncated"] else None
        key = letter.fields["key"] if whole is None else whole.key
        value = letter.fields["value"] if whole is None else whole.value
        headers = own_headers(letter.headers if whole is None else whole.headers)
        to_topic = targets.get(letter.topic)
        if to_topic is not None:
            journey = Journey(*letter.record, letter.fields["timestamp_ms"], redriven=times + 1)
            headers = headers_of(journey, headers)
        else:
            headers = (*headers, (REDRIVEN, str(times + 1).encode()))
        headers = (*headers, (REDRIVEN_FROM, letter.place.encode()))
        going.append(Outgoing(letter, name, to_topic or letter.fields["topic"], key, value, headers, times + 1))
    return going, refused


def _refused(
    letter: Letter,
    redrives: Redrives,
    originals: Mapping[Coordinates, Received | None],
    times: int,
    times_max: int,
) -> str | None:
    done = redrives.of(letter)
    if done is not None:
        by = f" by {done['author']}" if done["author"] else ""
        return f"redriven already{by}, to {done['to_topic']}:{done['to_partition']}:{done['to_offset']}"
    if times >= times_max:
        return f"redriven {times} times, and it failed again: mend the cause"
    if letter.fields["truncated"]:
        if letter.record[2] < 0:
            return "only its first bytes were kept, and it never reached its topic"
        whole = originals.get(letter.record)
        if whole is None or whole.value is None:
            return f"only its first bytes were kept, and {letter.coordinates} is no longer retained"
    elif letter.fields["value"] is None:
        return "it has no value"
    return None


def redrive_fields(sent: Outgoing, partition: int, offset: int, now_ms: int, author: str) -> dict[str, Any]:
    """Return the fields of schemas/avro/redrive.avsc for a record that got to `partition` at `offset`."""
    topic, was_partition, was_offset = sent.letter.record
    return {
        "letters": sent.letter.topic,
        "letter_partition": sent.letter.partition,
        "letter_offset": sent.letter.offset,
        "topic": topic,
        "partition": was_partition,
        "offset": was_offset,
        "to_topic": sent.to_topic,
        "to_partition": partition,
        "to_offset": offset,
        "times": sent.times,
        "redriven_ms": now_ms,
        "author": author,
    }
