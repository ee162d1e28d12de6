"""Following a topic of one partition, such as the deals or the control topic: all of it at first, then what comes.

`catch_up` reads to the end that the topic has at that moment: whoever must know the newest record asks for the high watermark,
which is above everything written, and waits until its position is there. A follower that was there already answers at once, where
a new consumer would have to find its place first.
"""

from __future__ import annotations

from actors.errors import ReopenError
from actors.log import Entry, Log

RECORDS_MAX = 1_000  # of one poll
READ_TIMEOUT_S = 60.0  # for reading to the end, of the first time
CATCH_UP_S = 30.0  # for what has come since; waited for in polls of
POLL_S = 0.05
PARTITION = 0  # the only one: one line of history


class Follower:
    """A consumer of a topic of one partition. Close it."""

    def __init__(self, log: Log, group: str, topic: str) -> None:
        self.topic = topic
        self.next_offset: int | None = None  # None: not read to its end yet
        self._log = log
        self._group = group
        self._reader = log.reader(group, topic)

    def catch_up(self) -> list[Entry]:
        """Return what has come since the last call, in log order, up to the topic's end; all of it the first time.

        Raises ReopenError if the end is not reached: it hangs below an open transaction.
        """
        end = self._log.end(self.topic, [PARTITION])[PARTITION]
        if self.next_offset is None:
            found = self._log.read_to_end(self._group, self.topic, {PARTITION: end}, READ_TIMEOUT_S)[PARTITION]
            self._reader.assign({PARTITION: end})
            self.next_offset = end
            return found
        entries: list[Entry] = []
        for _ in range(round(CATCH_UP_S / POLL_S)):
            if self.next_offset >= end:
                return entries
            entries += self.poll(POLL_S)
        raise ReopenError(f"{self.topic}: offset {end} not reached in {CATCH_UP_S:.0f} s: a transaction is open")

    def poll(self, wait_s: float = 0.0) -> list[Entry]:
        """Return what has come, waiting at most `wait_s` for it. Raises ReopenError. Catch up first."""
        polled = self._reader.poll(RECORDS_MAX, wait_s)
        for why in polled.lost.values():
            raise ReopenError(f"{self.topic}: {why}")
        entries: list[Entry] = []
        for raw in polled.batches:
            entries += zip((key or b"" for key in raw.keys), raw.values, strict=True)
            self.next_offset = raw.next_offset
        return entries

    def close(self) -> None:
        """Leave."""
        self._reader.close()
