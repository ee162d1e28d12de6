"""Whose turn it is: of several processes for one job on one machine, one works and the others stand by.

A name in Linux's abstract socket namespace belongs to one process until that process ends, however it ends: `kill -9` frees it
within a millisecond, without a file that could be left behind, and without asking Ray. So a process that stands by is told of a
death by the kernel. Nothing that must be right depends on it: two that both had the turn would fence each other in Kafka.
"""

from __future__ import annotations

import errno
import socket


class Turn:
    """The turn of one place, e.g. an owner's placement group. `take` until it is ours; it is until this process ends.

    >>> import os
    >>> ours, theirs = Turn(f"doctest-{os.getpid()}"), Turn(f"doctest-{os.getpid()}")
    >>> ours.take(), theirs.take(), ours.take()
    (True, False, True)
    >>> ours.leave()
    >>> theirs.take()
    True
    >>> theirs.leave()
    """

    def __init__(self, place: str) -> None:
        self._address = f"\0chipquality/turn/{place}"  # the first byte is what makes it abstract
        self._socket: socket.socket | None = None

    def take(self) -> bool:
        """Take the turn if nobody has it; say whether it is ours. Raises OSError where there are no such names."""
        if self._socket is None:
            holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                holder.bind(self._address)
            except OSError as error:
                holder.close()
                if error.errno != errno.EADDRINUSE:
                    raise
                return False
            self._socket = holder
        return True

    def leave(self) -> None:
        """Let another take it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
