"""The deal: which slot of a pipeline has which partitions, and which incarnation of a slot counts.

Theory of operation
-------------------
A deal is a numbered record in a compacted topic of one partition, written in a transaction of the id `<pipeline>-supervisor`.
Whoever changes it fences with that id, reads the deal to its end, and commits the next number (`Dealer.change`): so deals are
one line of history, whoever writes them. Nobody acts on a deal that is not committed, nor on one that it was told of.

A partition that moves is handed over: the old owner commits a snapshot whose position names the new slot and the number of the
deal. The new owner takes the partition if the position names it *since* that deal gave it the partition; else it waits, and then
fences the ids of every slot in `past` and of the slot that the position names, reads the deal again, and takes it if its share is
still the same (actors/takeover.py). `past` is why this is safe: a slot that was named in between and never came to write anything
is fenced too, and whoever is fenced reads the deal before it writes again.

Everything but `Dealer` and `DealFollower` is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from actors.engine.position import Encodes, Record
from actors.errors import ConfigError, ReopenError, SupersededError
from actors.follower import PARTITION, Follower
from actors.log import Entry, Log

READ_TIMEOUT_S = 30.0  # for reading the deals to their end

Decode = Callable[[bytes], dict[str, Any]]


class Seat(NamedTuple):
    """Whose place an owner has: an incarnation of a slot."""

    slot: int
    incarnation: int


class Share(NamedTuple):
    """Who has a partition."""

    slot: int
    since: int  # number of the deal that gave it to this slot
    past: tuple[int, ...] = ()  # other slots that were named for it, ascending

    def moved(self, slot: int, number: int) -> Share:
        """Return the share after deal `number` gave the partition to another slot."""
        return Share(slot, number, tuple(sorted({*self.past, self.slot} - {slot})))


class Deal(NamedTuple):
    """Who has what in a pipeline.

    >>> deal = Deal.first("quality", partitions=5, slots=2)
    >>> deal.partitions_of(0), deal.partitions_of(1)
    ([0, 1, 2], [3, 4])
    >>> more = deal.scaled(3)
    >>> [more.partitions_of(slot) for slot in range(3)], more.shares[2]
    ([[0, 1], [3, 4], [2]], Share(slot=2, since=2, past=(0,)))
    >>> more.renewed(1).incarnations
    (1, 2, 1)
    """

    pipeline: str
    number: int
    slots: int
    incarnations: tuple[int, ...]  # of every slot that there ever was
    shares: tuple[Share, ...]  # by partition

    @classmethod
    def first(cls, pipeline: str, partitions: int, slots: int) -> Deal:
        """Return the first deal: partitions in order, as evenly as can be."""
        check_slots(slots, partitions)
        sizes = [partitions // slots + (slot < partitions % slots) for slot in range(slots)]
        shares = tuple(Share(slot, 1) for slot, size in enumerate(sizes) for _ in range(size))
        return cls(pipeline, 1, slots, (1,) * slots, shares)

    def partitions_of(self, slot: int) -> list[int]:
        """Return the partitions of a slot."""
        return [partition for partition, share in enumerate(self.shares) if share.slot == slot]

    def names(self, seat: Seat) -> bool:
        """Say whether this incarnation of the slot is the one that counts; a slot that was dealt away still has one."""
        return seat.slot < len(self.incarnations) and self.incarnations[seat.slot] == seat.incarnation

    def seats(self) -> tuple[Seat, ...]:
        """Return the incarnations that there should be."""
        return tuple(Seat(slot, self.incarnations[slot]) for slot in range(self.slots))

    def renewed(self, slot: int) -> Deal:
        """Return the next deal, with a new incarnation of a slot."""
        counts = [count + (number == slot) for number, count in enumerate(self.incarnations)]
        return self._replace(number=self.number + 1, incarnations=tuple(counts))

    def scaled(self, slots: int) -> Deal:
        """Return the next deal, over another number of slots; as few partitions move as can be.

        A slot that comes (back) has a new incarnation. Raises ConfigError for a number of slots that cannot be.
        """
        return self.widened(slots)._dealt_out()

    def widened(self, slots: int) -> Deal:
        """Return the next deal, over another number of slots, with every partition where it is.

        New slots can start before anything moves to them. Raises ConfigError for a number of slots that cannot be.
        """
        check_slots(slots, len(self.shares))
        known = [count + (self.slots <= slot < slots) for slot, count in enumerate(self.incarnations)]
        incarnations = tuple(known) + (1,) * (slots - len(known))
        return self._replace(number=self.number + 1, slots=slots, incarnations=incarnations)

    def balanced(self) -> Deal:
        """Return the next deal, partitions as evenly over its slots as can be; this one if they are."""
        return self if self.is_balanced else self._replace(number=self.number + 1)._dealt_out()

    @property
    def is_balanced(self) -> bool:
        """Say whether no partition has to move."""
        return not _moves([share.slot for share in self.shares], self.slots)

    def _dealt_out(self) -> Deal:
        shares = list(self.shares)
        for partition, slot in _moves([share.slot for share in shares], self.slots).items():
            shares[partition] = shares[partition].moved(slot, self.number)
        return self._replace(shares=tuple(shares))

    def to_record(self) -> dict[str, Any]:
        """Return the fields of the schema `deal`."""
        shares = [{**share._asdict(), "past": list(share.past)} for share in self.shares]
        return {**self._asdict(), "incarnations": list(self.incarnations), "shares": shares}

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Deal:
        """Return what `to_record` wrote."""
        shares = tuple(Share(share["slot"], share["since"], tuple(share["past"])) for share in fields["shares"])
        return cls(fields["pipeline"], fields["number"], fields["slots"], tuple(fields["incarnations"]), shares)


def check_slots(slots: int, partitions: int) -> None:
    """Raise ConfigError for a number of slots that cannot be."""
    if not 1 <= slots <= partitions:
        raise ConfigError(f"{slots} slots: a pipeline of {partitions} partitions has 1 to {partitions}")


def _moves(held: list[int], slots: int) -> dict[int, int]:
    """Return partition → new slot for those that must move: slots that stay keep what they have, up to their share."""
    having: dict[int, list[int]] = {slot: [] for slot in range(slots)}
    loose: list[int] = []
    for partition, slot in enumerate(held):
        (having[slot] if slot < slots else loose).append(partition)
    fullest_first = sorted(having, key=lambda slot: (-len(having[slot]), slot))
    low, more = divmod(len(held), slots)
    size = {slot: low + (place < more) for place, slot in enumerate(fullest_first)}
    for slot in fullest_first:
        loose += having[slot][size[slot] :]
    takers = (slot for slot in range(slots) for _ in range(size[slot] - len(having[slot])))
    return dict(zip(sorted(loose), takers, strict=True))


class Dealer:
    """Reads and changes the deal of one pipeline: faster with a `follower` of the deals, which has read most of them."""

    def __init__(
        self,
        log: Log,
        pipeline: str,
        topic: str,
        encoder: Encodes,
        read: Decode,
        follower: DealFollower | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.topic = topic
        self._log = log
        self._encoder = encoder
        self._read = read
        self._follower = follower

    def read(self) -> Deal | None:
        """Return the newest committed deal; None: there is none yet. Raises ReopenError."""
        if self._follower is not None:
            return self._follower.catch_up()
        ends = self._log.end(self.topic, [PARTITION])
        records = self._log.read_to_end(f"{self.pipeline}-supervisor", self.topic, ends, READ_TIMEOUT_S)[PARTITION]
        return newest(self.pipeline, records, self._read)

    def change(self, change: Callable[[Deal | None], Deal | None]) -> Deal | None:
        """Fence every other dealer, read the deal, commit what `change` makes of it; return the deal that holds.

        `change` returns the deal as it was, or None, where there is nothing to do; it may be called for a deal that another
        dealer has changed meanwhile, and decides anew. Raises ReopenError or FencedError: what has come of it is unknown.
        """
        writer = self._log.writer(f"{self.pipeline}-supervisor")
        try:
            writer.open()
            before = self.read()
            after = change(before)
            if after is None or after == before:
                return before
            value = self._encoder.encode(after.to_record())
            writer.commit([Record(self.topic, PARTITION, self.pipeline.encode(), value)], "", {}, None).result()
        finally:
            writer.abandon()
        return after


class DealFollower:
    """The newest deal of one pipeline, as an owner follows it. Call `catch_up` first, then `poll`; close it."""

    def __init__(self, log: Log, pipeline: str, topic: str, read: Decode) -> None:
        self.pipeline = pipeline
        self.deal: Deal | None = None  # the newest that was read
        self._read = read
        self._follower = Follower(log, pipeline, topic)

    def catch_up(self) -> Deal | None:
        """Return the newest deal that is committed now."""
        self._take(self._follower.catch_up())
        return self.deal

    def poll(self) -> Deal | None:
        """Return the newest deal that has come, without waiting; None if none has."""
        return self._take(self._follower.poll())

    def _take(self, entries: Sequence[Entry]) -> Deal | None:
        found = newest(self.pipeline, entries, self._read)
        self.deal = found or self.deal
        return found

    def close(self) -> None:
        """Leave."""
        self._follower.close()


def newest(pipeline: str, records: Iterable[tuple[bytes | None, bytes | None]], read: Decode) -> Deal | None:
    """Return the last deal of a pipeline among records in log order."""
    key = pipeline.encode()
    values = [value for found, value in records if found == key and value is not None]
    return Deal.of(read(values[-1])) if values else None


def require(deal: Deal | None, pipeline: str, seat: Seat) -> Deal:
    """Return the deal if it names this seat. Raises SupersededError if it does not, ReopenError if there is no deal yet."""
    if deal is None:
        raise ReopenError(f"there is no deal of {pipeline} yet")
    if not deal.names(seat):
        raise SupersededError(f"deal {deal.number} of {pipeline} names another incarnation of slot {seat.slot}")
    return deal
