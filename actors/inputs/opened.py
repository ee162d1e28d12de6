"""Files as streams of bytes, decompressed if their content says that they are compressed, whatever they are called."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

_MAGIC_BYTES = 4


class InputError(ValueError):
    """A file is not what it should be: one line that says where and why."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a plain, gzip or bzip2 file for reading. Raises InputError if it cannot be opened.

    What is read may raise EOFError, OSError or zlib.error where compressed data break off or are damaged.
    """
    try:
        raw = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    with raw:
        magic = raw.read(_MAGIC_BYTES)
        raw.seek(0)
        if magic.startswith(b"\x1f\x8b"):
            with gzip.open(raw) as unpacked:
                yield cast("BinaryIO", unpacked)
        elif magic.startswith(b"BZh"):
            with bz2.open(raw) as unpacked:
                yield cast("BinaryIO", unpacked)
        else:
            yield raw
