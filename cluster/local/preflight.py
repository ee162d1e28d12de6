"""What must hold before a process starts: ports that are free, room on the disk, paths that the programs can take."""

from __future__ import annotations

import errno
import random
import shutil
import socket
from pathlib import Path

from cluster.local.errors import LocalStackError

LOOPBACK = "127.0.0.1"
MIB = 1024 * 1024
_FREE_PORTS = range(20_000, 30_000)  # below the range from which the kernel takes ports for outgoing connections


def _bound(port: int) -> socket.socket:
    """Bind a port on loopback as the JVM does; raises OSError if it is taken."""
    probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((LOOPBACK, port))
        probe.listen(1)
    except OSError:
        probe.close()
        raise
    return probe


def free_ports(count: int) -> list[int]:
    """Return so many different free ports on loopback, drawn at random so that two runs at once seldom draw the same.

    >>> len(set(free_ports(3)))
    3
    """
    found: list[int] = []
    for port in random.SystemRandom().sample(_FREE_PORTS, len(_FREE_PORTS)):
        if len(found) == count:
            return found
        try:
            _bound(port).close()
        except OSError:
            continue
        found.append(port)
    raise LocalStackError(f"no {count} free ports on {LOOPBACK} between {_FREE_PORTS.start} and {_FREE_PORTS.stop - 1}")


def require_free(port: int, what: str, setting: str) -> None:
    """Raise LocalStackError, which names the port and the setting that moves it, if someone has the port."""
    try:
        _bound(port).close()
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be bound ({error.strerror})"
        variable = "CHIPQUALITY_" + setting.upper().replace(".", "__")
        raise LocalStackError(
            f"port {port} for the {what} {why}: stop what uses it, or move ours with {setting} ({variable}=…)"
        ) from error


def free_bytes(folder: Path) -> int:
    """Return the free bytes where `folder` is, or will be."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free


def require_space(folder: Path, needed_bytes: int, what: str, setting: str) -> None:
    """Raise LocalStackError, which names folder and setting, if the disk has not that much room."""
    free = free_bytes(folder)
    if free < needed_bytes:
        variable = "CHIPQUALITY_" + setting.upper().replace(".", "__")
        raise LocalStackError(
            f"disk full: {what} needs {needed_bytes // MIB} MiB in {folder}, {free // MIB} MiB are free: "
            f"make room, or move it with {setting} ({variable}=…)"
        )


def plain_path(folder: Path, setting: str) -> Path:
    """Return the absolute path. Raises LocalStackError for one that a class path, a JDBC URL or log.dirs would cut."""
    absolute = folder.expanduser().resolve()
    if bad := sorted(set(str(absolute)) & set(",;:\\\"'\n")):
        raise LocalStackError(f"{setting} = {absolute}: Kafka cannot take a path with {' '.join(bad)!r} in it")
    return absolute
