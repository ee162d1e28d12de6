"""Where the bytes of a store are: a folder, or whatever fsspec knows by its URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from actors.packages.errors import PackageRefused


class Place(Protocol):
    """Named contents. Names have slashes. A name has a whole content, or none."""

    def size(self, name: str) -> int | None:
        """Return how many bytes there are; None: no such name."""
        ...

    def read(self, name: str) -> bytes:
        """Return a content."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write a content; whoever reads sees all of it, or what was there before."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, without it."""
        ...


class Folder:
    """A folder of this machine, or one that all nodes have mounted."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def size(self, name: str) -> int | None:
        """Return how many bytes there are; None: no such name."""
        path = self._root / name
        return path.stat().st_size if path.is_file() else None

    def read(self, name: str) -> bytes:
        """Return a content."""
        return (self._root / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Write a content beside its name, see to it that it is on the disk, rename it."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, without it."""
        path = self._root / folder
        return [each.name for each in path.iterdir()] if path.is_dir() else []


class Remote:
    """What fsspec knows: s3://bucket/prefix where s3fs is installed, and so on. One write is whole or not at all there."""

    def __init__(self, url: str) -> None:
        import fsspec  # noqa: PLC0415 - not there where nobody needs it

        files, root = fsspec.core.url_to_fs(url)
        self._files: Any = files
        self._root = str(root).rstrip("/")

    def size(self, name: str) -> int | None:
        """Return how many bytes there are; None: no such name."""
        try:
            return int(self._files.info(self._path(name))["size"])
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        """Return a content."""
        return bytes(self._files.cat_file(self._path(name)))

    def write(self, name: str, data: bytes) -> None:
        """Write a content."""
        path = self._path(name)
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(path, data)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, without it."""
        try:
            found = self._files.ls(self._path(folder), detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return [str(name).rsplit("/", 1)[-1] for name in found]

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def url_of(place: str) -> str:
    """Return the URL of a store that a person names by a path or a URL.

    >>> url_of("/srv/detectors"), url_of("s3://quality/detectors")
    ('file:///srv/detectors', 's3://quality/detectors')
    """
    return place if "://" in place else Path(place).absolute().as_uri()


def place_of(url: str) -> Place:
    """Return what is at a URL. Raises PackageRefused if nothing here can read it."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Folder(Path(unquote(parts.path)))
    try:
        return Remote(url)
    except (ImportError, ValueError) as error:
        raise PackageRefused(f"store {url!r}: {error}; a folder needs nothing installed, s3:// needs s3fs") from error
