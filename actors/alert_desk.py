"""Where the lives of alerts are written: by one writer at a time, so that two people never overwrite each other.

Theory of operation
-------------------
`quality.alert-actions` has one partition, and one transactional id for all who write to it. A desk that wants to write

1. opens a producer of that id, which fences every other desk and aborts what it left open; one that has not been fenced since its
   last write goes on with its producer;
2. reads the topic to its end: nobody else can write now, so what it has read is all there is;
3. decides (models/alert_life.py) on that, and commits what comes of it in one transaction.

A desk that was fenced between 1 and 3 fails to commit, has written nothing, and begins again; so does one that does not know what
has become of its commit. It finds out in 2: an action that is in the history already is not taken a second time. So a version of
a life is followed by exactly one next version, and whoever acts on an older one (`expected`) is told.

Rules of this file: one thread at a time uses a desk; it gives up after ATTEMPTS_MAX attempts, of which each is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from actors.engine.position import Record
from actors.errors import FencedError, ReopenError
from actors.follower import PARTITION, Follower
from actors.kafka.client import Cluster
from actors.kafka.log import KafkaLog
from actors.log import Log, Writer, compact
from models.alert_life import About, Action, Life, Refused, act, from_record, to_record
from schemas.decode import UnreadableRecord, decode_event
from schemas.encode import Encoder
from schemas.registry import Registry
from schemas.topics import ALERT_ACTIONS, schema_text, subject_of

ATTEMPTS_MAX = 5  # of one write, where others write too
LIVES_MAX = 200_000  # lives in the topic; the action that would begin one more is refused
LIVES_PER_WRITE_MAX = 500


class StaleError(ValueError):
    """The life is not what the writer has seen; it has its newest version."""

    def __init__(self, life: Life | None, expected: int) -> None:
        found = 0 if life is None else life.version
        super().__init__(
            f"this alert is at version {found} now, not {expected}: look at what has been done, then try again"
        )
        self.life = life


class RefusedError(ValueError):
    """The action is not taken; `refused` says why."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.refused = refused


class Wanted(NamedTuple):
    """One action on one alert."""

    alert_id: str
    about: About  # of an alert that has no life yet
    action: Action
    expected: int | None = None  # version that the writer has seen; None: any


class AlertDesk:
    """The lives of alerts. Close it."""

    def __init__(
        self,
        log: Log,
        topic: str,
        encoder: Encoder,
        read: Callable[[bytes], dict[str, Any]],
        *,
        lives_max: int = LIVES_MAX,
    ) -> None:
        self.topic = topic
        self.lives_max = lives_max
        self._log = log
        self._encoder = encoder
        self._decode = read
        self._follower: Follower | None = None
        self._writer: Writer | None = None
        self._held: dict[bytes, bytes | None] = {}  # by alert, as they stand in the topic
        self._first = 0  # offset of the topic's first record when it was read from there

    def life(self, alert_id: str) -> Life | None:
        """Return the newest committed life of an alert; None: nobody has done anything yet. Raises ReopenError."""
        self._read_on()
        return self._life(alert_id)

    def lives(self) -> list[Life]:
        """Return all lives. Raises ReopenError."""
        self._read_on()
        return [self._life_of(value) for value in self._held.values() if value is not None]

    def act(self, wanted: Wanted) -> tuple[Life | None, Life]:
        """Do something about an alert; return its life before and after. Raises StaleError, RefusedError, ReopenError."""

        def decide() -> list[Life]:
            before = self._life(wanted.alert_id)
            known = before is not None and before.has(wanted.action.action_id)
            if not known and wanted.expected not in (None, 0 if before is None else before.version):
                raise StaleError(before, wanted.expected or 0)
            after = self._acted(before, wanted)
            if isinstance(after, Refused):
                raise RefusedError(after)
            told[:] = [told[0] if known and told else before, after]  # known: an attempt before this one was written
            return [] if known else [after]

        told: list[Any] = []
        self._write(decide)
        return told[0], told[1]

    def act_on_all(self, wanted: Sequence[Wanted]) -> list[Life]:
        """Do what can be done of all this, in one transaction; return the lives that changed. Raises ReopenError.

        Of at most LIVES_PER_WRITE_MAX alerts, each named once. What is refused is left out: it has been overtaken.
        """
        if len(wanted) > LIVES_PER_WRITE_MAX:
            raise ValueError(f"{len(wanted)} actions at once: at most {LIVES_PER_WRITE_MAX}")
        changed: list[Life] = []

        def decide() -> list[Life]:
            pairs = [(before := self._life(one.alert_id), self._acted(before, one)) for one in wanted]
            changed[:] = [after for before, after in pairs if isinstance(after, Life) and after != before]
            return changed

        self._write(decide)
        return changed

    def close(self) -> None:
        """Leave."""
        self._drop_writer()  # abandoned, not closed: one that was fenced says so once more
        self._drop_reader()
        self._log.close()

    def _acted(self, before: Life | None, wanted: Wanted) -> Life | Refused:
        if before is None and len(self._held) >= self.lives_max:
            return Refused("room", f"{self.topic} holds the lives of {self.lives_max} alerts, and no more fit")
        return act(before or Life(alert_id=wanted.alert_id, about=wanted.about), wanted.action)

    def _life(self, alert_id: str) -> Life | None:
        value = self._held.get(alert_id.encode())
        return None if value is None else self._life_of(value)

    def _life_of(self, value: bytes) -> Life:
        try:
            return from_record(self._decode(value))
        except (UnreadableRecord, ValueError) as error:
            raise ReopenError(f"{self.topic}: a life cannot be read: {error}") from error

    def _write(self, decide: Callable[[], Sequence[Life]]) -> None:
        """Fence the others, read to the end, decide, commit; again from the start if somebody was quicker."""
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                if self._writer is None:
                    self._writer = self._log.writer(f"{self.topic}-writer")
                    self._writer.open()
                self._read_on()
                self._let_go()
                self._commit(decide())
            except (FencedError, ReopenError) as error:
                self._drop_writer()
                if attempt == ATTEMPTS_MAX:
                    raise ReopenError(f"{self.topic}: not written in {attempt} attempts: {error}") from error
            else:
                return

    def _commit(self, lives: Iterable[Life]) -> None:
        records = [
            Record(self.topic, PARTITION, life.alert_id.encode(), self._encoder.encode(to_record(life)))
            for life in lives
        ]
        if records and self._writer is not None:
            self._writer.commit(records, "", {}, None).result()

    def _read_on(self) -> None:
        """Read what has come, up to the end that the topic has now. Raises ReopenError; then the next time reads all again."""
        if self._follower is None:
            self._follower = Follower(self._log, f"{self.topic}-desk", self.topic)
            self._held = {}
            self._first = self._log.first(self.topic, [PARTITION])[PARTITION]
        try:
            compact(self._held, self._follower.catch_up())
        except (ReopenError, FencedError):
            self._drop_reader()
            raise

    def _let_go(self) -> None:
        """Read anew if there is no room and retention has deleted something: it says of nothing that it is gone."""
        if len(self._held) >= self.lives_max and self._log.first(self.topic, [PARTITION])[PARTITION] > self._first:
            self._drop_reader()
            self._read_on()

    def _drop_reader(self) -> None:
        if self._follower is not None:
            self._follower.close()
            self._follower = None

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None


def alert_desk(cluster: Cluster, topic: str = ALERT_ACTIONS) -> AlertDesk:
    """Return the desk of a cluster. Raises RegistryUnavailable."""
    registry = Registry(cluster.registry_url, cluster.registry_client)
    encoder = Encoder("alert_life", registry.register(subject_of(topic, "alert_life"), schema_text("alert_life")))
    return AlertDesk(KafkaLog(cluster), topic, encoder, lambda value: decode_event(value, registry.schema))
