"""Zip archives that nobody vouches for: read into memory within limits, written so that the same files give the same bytes.

Rules of this file: nothing of an archive reaches a disk before every name in it has been looked at; what an archive says of
its own sizes is not believed.
"""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath

from actors.packages.errors import PackageRefused

PACKAGE_BYTES_MAX = 32 * 1024 * 1024  # of a package as it is stored
UNPACKED_BYTES_MAX = 128 * 1024 * 1024  # of all its files
FILES_MAX = 2_000
NAME_CHARS_MAX = 200  # of a file's path
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_READ_BYTES = 1024 * 1024


def read_archive(data: bytes, source: str) -> dict[str, bytes]:
    """Return the files of a zip by their paths, without folders. Raises PackageRefused, naming `source`, for what is unsafe."""
    if len(data) > PACKAGE_BYTES_MAX:
        raise PackageRefused(f"{source}: {len(data)} bytes; a package has {PACKAGE_BYTES_MAX} at most")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if len(archive.infolist()) > FILES_MAX:
                raise PackageRefused(
                    f"{source}: {len(archive.infolist())} entries; a package has {FILES_MAX} files at most"
                )
            found: dict[str, bytes] = {}
            left = UNPACKED_BYTES_MAX
            for entry in archive.infolist():
                if entry.is_dir():
                    continue
                name = _checked(entry, source)
                if name in found:
                    raise PackageRefused(f"{source}: {name} stands twice in it")
                found[name] = _content(archive, entry, left, source)
                left -= len(found[name])
            return found
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError) as error:
        raise PackageRefused(f"{source}: not a zip archive that can be read: {error}") from error


def write_archive(files: Mapping[str, bytes]) -> bytes:
    """Return a zip of these files: sorted, all of one time and mode, so that the same files give the same bytes.

    >>> write_archive({"b.py": b"2", "a.py": b"1"}) == write_archive({"a.py": b"1", "b.py": b"2"})
    True
    """
    check_size(files, "the package")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.create_system = 3  # Unix, wherever it is written
            archive.writestr(entry, files[name])  # stored: the bytes must not depend on a version of zlib
    data = out.getvalue()
    if len(data) > PACKAGE_BYTES_MAX:
        raise PackageRefused(f"the package has {len(data)} bytes; the limit is {PACKAGE_BYTES_MAX}")
    return data


def check_size(files: Mapping[str, bytes], source: str) -> None:
    """Raise PackageRefused for too many files, or too large ones."""
    if len(files) > FILES_MAX:
        raise PackageRefused(f"{source} has {len(files)} files; the limit is {FILES_MAX}")
    size = sum(map(len, files.values()))
    if size > UNPACKED_BYTES_MAX:
        raise PackageRefused(f"{source} has {size} bytes; the limit is {UNPACKED_BYTES_MAX}")


def _checked(entry: zipfile.ZipInfo, source: str) -> str:
    """Return the path of an entry. Raises PackageRefused for one that leads elsewhere, or is no plain file."""
    name = entry.filename
    shown = repr(name[:NAME_CHARS_MAX])
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or str(path) != name:
        raise PackageRefused(f"{source}: {shown} leads out of the package")
    if len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise PackageRefused(f"{source}: {shown}: a path has {NAME_CHARS_MAX} printable characters at most")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise PackageRefused(f"{source}: {shown} is a link or no plain file")
    if entry.flag_bits & 0x1:
        raise PackageRefused(f"{source}: {shown} is encrypted")
    return name


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, left: int, source: str) -> bytes:
    """Return the content of an entry, of which `left` bytes are read at most. Raises PackageRefused if there is more."""
    content = bytearray()
    with archive.open(entry) as file:
        while piece := file.read(_READ_BYTES):
            content += piece
            if len(content) > left:
                raise PackageRefused(f"{source}: unpacked it has more than {UNPACKED_BYTES_MAX} bytes")
    return bytes(content)
