"""Whose turn it is: of several processes for one job on one machine, one works and the others stand by.

A name in Linux's abstract socket namespace belongs to one process until that process ends, however it ends: `kill -9` frees it
within a millisecond, without a file that could be left behind, and without asking Ray. So a process that stands by is told of a
death by the kernel, and of who has the turn: so it can end one that has fallen silent, which Ray takes seconds to do. Nothing
that must be right depends on it: two that both had the turn would fence each other in Kafka.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import struct

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_WAITING_MAX = 64  # looks at who has the turn; nobody accepts them, and they are gone with who has it


class Turn:
    """The turn of one place, e.g. an owner's placement group. `take` until it is ours; it is until this process ends.

    >>> import os
    >>> ours, theirs = Turn(f"doctest-{os.getpid()}"), Turn(f"doctest-{os.getpid()}")
    >>> ours.take(), theirs.take(), ours.take()
    (True, False, True)
    >>> theirs.holder() == os.getpid()
    True
    >>> ours.leave()
    >>> theirs.take()
    True
    >>> theirs.leave()
    >>> theirs.holder() is None
    True
    """

    def __init__(self, place: str) -> None:
        self._address = f"\0chipquality/turn/{place}"  # the first byte is what makes it abstract
        self._socket: socket.socket | None = None

    def take(self) -> bool:
        """Take the turn if nobody has it; say whether it is ours. Raises OSError where there are no such names."""
        if self._socket is None:
            holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                holder.bind(self._address)
                holder.listen(_WAITING_MAX)
            except OSError as error:
                holder.close()
                if error.errno != errno.EADDRINUSE:
                    raise
                return False
            self._socket = holder
        return True

    def holder(self) -> int | None:
        """Return the id of the process that has the turn, as the kernel knows it; None if nobody has, or it cannot be told."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.setblocking(False)
            try:
                asking.connect(self._address)
            except OSError:  # nobody listens, or too many have asked
                return None
            told = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid: int = _CREDENTIALS.unpack(told)[0]
        return pid or None  # 0: a process of another namespace

    def end_holder(self) -> int | None:
        """End the process that has the turn, with SIGKILL, which ends a stopped one too; return its id, None if there is none."""
        pid = self.holder()
        if pid is None or pid == os.getpid():
            return None
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.kill(pid, signal.SIGKILL)
        return pid

    def leave(self) -> None:
        """Let another take it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
