"""Redriving dead letters as an operation: the letters of a plan, once each, however often it is run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from actors import letter_desk
from actors.errors import FencedError
from actors.kafka.client import Cluster
from actors.letter_desk import LetterDesk, RefusedError
from actors.sinks.redrive import Coordinates, Filter, Outgoing, Refusal
from cluster.operations.errors import Invalid, Refused, shown
from cluster.operations.plans import Plan
from cluster.operations.running import Work

PLACES_MAX = 500  # named one by one
RECORDS_MAX = 1_000  # of one operation: all of them stand in its plan
LETTERS_READ_MAX = 200_000  # looked at for a filter


class RedriveWish(NamedTuple):
    """What somebody asks for: letters by where they stand, or by a filter."""

    places: tuple[Coordinates, ...] = ()
    chosen: Filter | None = None
    at_most: int = 100


def place_of(text: str) -> Coordinates:
    """Return where a dead letter stands from its text. Raises Invalid.

    >>> place_of("fab.system.dlq:0:17")
    ('fab.system.dlq', 0, 17)
    """
    parts = text.rsplit(":", 2)
    if len(parts) != 3 or not parts[0] or not all(re.fullmatch(r"\d{1,18}", part) for part in parts[1:]):
        raise Invalid(f"{shown(text)!r} is no place of a dead letter: TOPIC:PARTITION:OFFSET is wanted")
    return parts[0], int(parts[1]), int(parts[2])


def plan_redrive(
    going: Sequence[Outgoing], refused: Sequence[Refusal], gone: Sequence[Coordinates], at_most: int
) -> Plan:
    """Return the plan of what would be published. Raises Refused."""
    if len(going) > at_most:
        raise Invalid(f"{len(going)} records would be redriven, and `max` is {at_most}: narrow the filter, or raise it")
    left: list[dict[str, str | None]] = [
        {"at": no.letter.place, "record": no.letter.coordinates, "why": no.why} for no in refused
    ]
    left += [{"at": ":".join(map(str, place)), "record": None, "why": "there is no such dead letter"} for place in gone]
    sent = [
        {"at": out.letter.place, "record": out.letter.coordinates, "to": out.to_topic, "times": out.times}
        for out in going
    ]
    if not sent:
        why = f": {left[0]['why']}" if left else ""
        raise Refused(f"nothing to redrive; {len(left)} dead letters are left{why}")
    return Plan("redrive", "dead letters", {"redrive": sent, "left": left[:RECORDS_MAX], "left_count": len(left)})


def redrive_plan(cluster: Cluster, wish: RedriveWish) -> Plan:
    """Look at the cluster, and plan. Raises Refused, ReopenError, RegistryUnavailable."""
    desk = LetterDesk(cluster)
    unknown = next((place for place in wish.places if place[0] not in letter_desk.TARGETS), None)
    if unknown is not None:
        raise Invalid(f"{shown(unknown[0])} is no topic of dead letters")
    redrives = desk.redrives()
    try:
        if wish.chosen is not None:
            letters, gone = desk.chosen(wish.chosen, LETTERS_READ_MAX), []
        else:
            found = desk.letters_at(wish.places)
            letters = [letter for letter in found.values() if letter is not None]
            gone = [place for place, letter in found.items() if letter is None]
    except RefusedError as error:
        raise Invalid(str(error)) from error
    going, refused = desk.plan(letters, redrives)
    return plan_redrive(going, refused, gone, wish.at_most)


def run_redrive(work: Work) -> str:
    """Publish the records of a plan that have not been redriven since. Raises Refused, ReopenError, FencedError."""
    desk = LetterDesk(work.cluster)
    wanted = work.plan["redrive"]
    work.tell(0, len(wanted), "reads dead letters")

    def between(sent: int) -> None:
        work.tell(sent, len(wanted), f"{sent} records redriven")
        work.pause(0.0, f"{sent} records redriven")

    try:
        with desk.redriving() as writer:
            redrives = desk.redrives()
            found = desk.letters_at([place_of(item["at"]) for item in wanted])
            going, _ = desk.plan([letter for letter in found.values() if letter is not None], redrives)
            sent = desk.send(writer, going, work.by, between)
    except RefusedError as error:
        raise Refused(str(error)) from error
    except FencedError as error:
        raise Refused("another redrive began at the same time; what was redriven before it stays so") from error
    rest = len(wanted) - len(sent)
    return f"{len(sent)} records redriven" + (f", {rest} had been before" if rest else "")
