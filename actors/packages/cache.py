"""What a node has unpacked and installed: folders by digest, which are made whole or not at all, and never too many.

Theory of operation
-------------------
A folder is made beside its place and renamed, so that whoever finds it finds it whole. Whoever uses one holds a shared lock
on it until its process ends; what nobody holds may go when there are too many, the one that was wanted longest ago first.
Processes of one node may make the same folder at once: the first to rename it has made it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO
from uuid import uuid4

from actors.packages.errors import PackageRefused

FOLDERS_MAX = 32  # of each kind; more only while all of them are in use
_held: dict[Path, IO[str]] = {}  # locks of this process, until it ends


def cache_folder() -> Path:
    """Return where this node keeps what it has unpacked; nobody else may write there."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "chipquality" / "packages"


def kept(root: Path, digest: str, make: Callable[[Path], None], most: int = FOLDERS_MAX) -> Path:
    """Return the folder of a digest, made by `make` where it is not there; it stays while this process lives."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _hold(root / f"{digest}.lock")
        folder = root / digest
        if not folder.is_dir():
            beside = root / f".{digest}.{uuid4().hex}"
            try:
                make(beside)
                _rename(beside, folder)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        os.utime(folder)
        _shrink(root, most)
    except OSError as error:
        raise PackageRefused(f"{root}: {error}: this node cannot unpack a package") from error
    return folder


def _hold(path: Path) -> None:
    """Hold a shared lock on a folder."""
    if path not in _held:
        file = path.open("a")
        fcntl.flock(file, fcntl.LOCK_SH)
        _held[path] = file


def _rename(beside: Path, folder: Path) -> None:
    try:
        beside.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was first
            raise


def _shrink(root: Path, most: int) -> None:
    """Delete the folders that were wanted longest ago and that nobody holds, until there are no more than `most`."""
    folders = sorted((each for each in root.iterdir() if each.is_dir() and each.name[0] != "."), key=_wanted)
    for folder in folders[: max(0, len(folders) - most)]:
        lock = root / f"{folder.name}.lock"
        with lock.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(folder, ignore_errors=True)


def _wanted(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # another process has deleted it
        return 0.0
