"""Where people look at dead letters and send their records on their way again: what the commands and the API share.

`actors/sinks/redrive.py` decides which letters may be redriven and as what; `actors/kafka/letters.py` reads and writes. Here
the two meet, with the registry. Raises ReopenError and RegistryUnavailable where those do not answer.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from actors import letter_pages
from actors.kafka.changes import Changes
from actors.kafka.client import Cluster
from actors.kafka.letters import RedriveWriter, fetch, partitions_of, read_records, read_spans
from actors.kafka.log import SystemClock
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
from schemas.decode import UnreadableRecord, decode_event
from schemas.encode import Encoder
from schemas.registry import Registry, RegistryUnavailable
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

REDRIVE_CAP = 10_000  # letters that one redrive looks at closer, and so records that it publishes
BATCH_RECORDS = 200  # in one transaction
VALUE_BYTES_SHOWN = 256
READ_TIMEOUT_S = 10.0  # of one window of a page

# dead-letter topic → where its records go when they are redriven; None: to their own topic
TARGETS: dict[str, str | None] = {
    **dict.fromkeys(name for name, topic in TOPICS.items() if topic.records == ("dead_letter",)),
    group_dead_letter_topic(ALERTS, NOTIFY): retry_topic(ALERTS, NOTIFY, RETRY_DELAYS_S[0]),
    group_dead_letter_topic(ALERT_ACTIONS, ESCALATION): retry_topic(ALERT_ACTIONS, ESCALATION, RETRY_DELAYS_S[0]),
}


class RefusedError(ValueError):
    """What was asked cannot be done; the message says what can."""


class LetterDesk:
    """Dead letters of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.registry = Registry(cluster.registry_url, cluster.registry_client)

    def letters(self, chosen: Filter, records_max: int | None = None) -> Iterator[Letter]:
        """Yield the letters that the filter takes; those of one partition in the order in which they were written.

        Raises RefusedError if there can be none, or after `records_max` letters that it did or did not take.
        """
        wanted = topics_of(chosen)
        if not wanted:
            raise RefusedError(
                f"--topic {chosen.topic}: no dead letters of such a topic; there are {', '.join(TARGETS)}"
            )
        read = 0
        for topic, partitions in partitions_of(self.cluster, wanted).items():
            for received in read_records(self.cluster, topic, partitions, chosen.since_ms):
                read += 1
                if records_max is not None and read > records_max:
                    raise RefusedError(
                        f"more than {records_max} dead letters to look at: name a topic, or a later time"
                    )
                letter = self.letter(received)
                if letter is not None and chosen.takes(letter):
                    yield letter

    def page(self, chosen: Filter, limit: int, cursor: str | None) -> tuple[list[Letter], str | None]:
        """Return the next letters that a filter takes, newest first, and the cursor of what comes after them.

        Raises RefusedError if there can be none, ValueError for a cursor that is none of ours.
        """
        marks = None if cursor is None else letter_pages.marks_of(cursor)
        found = letter_pages.page(self._bounds(chosen), marks, chosen, limit, self._read, self.letter, SystemClock())
        return found.letters, None if found.marks is None else letter_pages.cursor_of(found.marks)

    def summary(self, chosen: Filter) -> letter_pages.Summary:
        """Count the newest letters that a filter takes. Raises RefusedError if there can be none."""
        return letter_pages.summary(self._bounds(chosen), chosen, self._read, self.letter, SystemClock())

    def _bounds(self, chosen: Filter) -> dict[letter_pages.Place, tuple[int, int]]:
        """Return first offset and end of the partitions where such letters may stand."""
        wanted = topics_of(chosen)
        if not wanted:
            raise RefusedError(f"{chosen.topic}: no dead letters of such a topic; there are {', '.join(TARGETS)}")
        changes = Changes(self.cluster.bootstrap_servers, self.cluster.client)
        places = [(topic, p) for topic, partitions in partitions_of(self.cluster, wanted).items() for p in partitions]
        bounds = changes.bounds(places, "read_committed")
        if chosen.since_ms is None or not bounds:
            return bounds
        since = changes.at_time(bounds, chosen.since_ms)
        return {
            place: (high if (at := since[place]) is None else min(high, max(low, at)), high)
            for place, (low, high) in bounds.items()
        }

    def _read(self, spans: letter_pages.Spans) -> dict[letter_pages.Place, list[Received]]:
        return read_spans(self.cluster, spans, READ_TIMEOUT_S)

    def letter(self, received: Received) -> Letter | None:
        """Return a record as a letter; None if it cannot be read as one: then it is not for people who look at letters."""
        try:
            fields = decode_event(received.value, self.registry.schema)
        except UnreadableRecord:
            return None
        place = (received.topic, received.partition, received.offset)
        return Letter(*place, received.timestamp_ms, fields, received.headers)

    def letters_at(self, places: Sequence[Coordinates]) -> dict[Coordinates, Letter | None]:
        """Return letters by where they stand; None for one that is not there, or is no letter."""
        found = fetch(self.cluster, places)
        return {place: None if record is None else self.letter(record) for place, record in found.items()}

    def redrives(self) -> Redrives:
        """Return what has been redriven so far."""
        partitions = partitions_of(self.cluster, [REDRIVES]).get(REDRIVES, [])
        if not partitions:
            return Redrives()
        records = read_records(self.cluster, REDRIVES, partitions, None)
        return Redrives([decode_event(record.value, self.registry.schema) for record in records])

    def chosen(self, filtered: Filter, records_max: int | None = None) -> list[Letter]:
        """Return the letters that a filter takes. Raises RefusedError if they are more than REDRIVE_CAP."""
        letters: list[Letter] = []
        for letter in self.letters(filtered, records_max):
            letters.append(letter)
            if len(letters) > REDRIVE_CAP:
                raise RefusedError(f"more than {REDRIVE_CAP} dead letters: narrow the filter")
        return letters

    def plan(self, letters: Sequence[Letter], redrives: Redrives) -> tuple[list[Outgoing], list[Refusal]]:
        """Return what would be published of letters, and what not."""
        cut = [letter.record for letter in letters if letter.fields["truncated"] and letter.record[2] >= 0]
        originals: Mapping[Coordinates, Received | None] = fetch(self.cluster, cut)
        return plan(letters, redrives, TARGETS, originals)

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

    def send(
        self,
        writer: RedriveWriter,
        going: Sequence[Outgoing],
        author: str,
        between: Callable[[int], None] = lambda _: None,
    ) -> list[tuple[int, int]]:
        """Publish; return partition and offset of each. `between` is told after each transaction how many are."""
        encoder = Encoder("redrive", self.registry.register(subject_of(REDRIVES, "redrive"), schema_text("redrive")))

        def mark(sent: Outgoing, partition: int, offset: int) -> bytes:
            return encoder.encode(redrive_fields(sent, partition, offset, time.time_ns() // 1_000_000, author))

        places: list[tuple[int, int]] = []
        for start in range(0, len(going), BATCH_RECORDS):
            places += writer.write(going[start : start + BATCH_RECORDS], REDRIVES, mark)
            between(len(places))
        return places

    def value_of(self, letter: Letter, bytes_max: int = VALUE_BYTES_SHOWN) -> dict[str, Any]:
        """Return the value of a letter's record: as hexadecimal digits, and decoded if it can be."""
        value = letter.fields["value"]
        if value is None:
            return {"value_hex": None}
        facts: dict[str, Any] = {"value_hex": value[:bytes_max].hex(" "), "value_bytes": len(value)}
        try:
            decoded = json.dumps(decode_event(value, self.registry.schema), default=repr)
        except (UnreadableRecord, RegistryUnavailable):
            return facts
        return facts | {"value_decoded": json.loads(decoded, parse_constant=lambda _: None)}  # JSON knows no NaN


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
AGO_MAX = 10_000  # of a unit


def since_ms(text: str, now_ms: int) -> int:
    """Return a time in milliseconds since 1970 UTC: as ISO 8601 has it, or so long ago. Raises RefusedError.

    >>> since_ms("2h", 10_000_000), since_ms("1970-01-01T00:01", 0)
    (2800000, 60000)
    """
    ago = re.fullmatch(r"(\d{1,5})([smhd])", text)
    if ago is not None and int(ago[1]) <= AGO_MAX:
        return max(0, now_ms - int(ago[1]) * _UNITS[ago[2]] * 1000)
    try:
        when = datetime.fromisoformat(text)
        return max(0, round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000))
    except (ValueError, OverflowError):
        raise RefusedError(f"{text[:200]}: a time as ISO 8601 has it is wanted, or e.g. 30m, 12h, 7d") from None


def topics_of(chosen: Filter) -> list[str]:
    """Return the dead-letter topics that may hold what a filter takes."""
    return [name for name in TARGETS if _may_hold(name, chosen)]


def _may_hold(name: str, chosen: Filter) -> bool:
    of = name.removesuffix(".dlq")
    asked = [chosen.topic] if chosen.topic else []
    asked += [chosen.record[0]] if chosen.record else []
    return all(topic in (name, of) or of.startswith(f"{topic}.") for topic in asked)
