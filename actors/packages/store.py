"""Packages and artefacts by the hash of their content, in a folder or at a URL that fsspec knows (s3://…).

Theory of operation
-------------------
An entry is named by the sha256 of its bytes, which is looked at whenever it is read: what was changed in the store is refused,
and not run. So an entry never changes, and may be cached anywhere. Nothing is deleted here: a version that somebody may go
back to must be there.
"""

from __future__ import annotations

import builtins
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager

from actors.packages.archive import PACKAGE_BYTES_MAX
from actors.packages.errors import PackageRefused
from actors.packages.places import place_of, url_of
from models.artefact import BYTES_MAX as ARTEFACT_BYTES_MAX
from models.artefact import Artefact

ENTRIES_MAX = 10_000  # that a list has
DIGEST = re.compile(r"[0-9a-f]{64}")
PACKAGES, ARTEFACTS = "packages", "artefacts"
_SUFFIX = {PACKAGES: ".zip", ARTEFACTS: ".npz"}
_BYTES_MAX = {PACKAGES: PACKAGE_BYTES_MAX, ARTEFACTS: ARTEFACT_BYTES_MAX}


def digest_of(data: bytes) -> str:
    """Return the name of a content: sha256, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


class PackageStore:
    """A store: a folder (a path, or file://…), or s3://bucket/prefix where s3fs is installed.

    All methods raise PackageRefused where the store cannot be used, in one sentence.
    """

    def __init__(self, url: str) -> None:
        self.url = url_of(url)
        self._place = place_of(self.url)

    def __reduce__(self) -> tuple[type[PackageStore], tuple[str]]:
        return PackageStore, (self.url,)

    def put(self, data: bytes, kind: str = PACKAGES) -> str:
        """Keep a content; return its digest. One that is there and whole is left as it is."""
        self._check_size(kind, len(data))
        digest = digest_of(data)
        name = _name(kind, digest)
        with self._one_sentence():
            if self._place.size(name) != len(data) or self._place.read(name) != data:
                self._place.write(name, data)
        return digest

    def get(self, digest: str, kind: str = PACKAGES) -> bytes:
        """Return the content that has this digest."""
        name = _name(kind, digest)
        with self._one_sentence():
            size = self._place.size(name)
            if size is None:
                raise PackageRefused(f"store {self.url} has no {kind[:-1]} {digest}")
            self._check_size(kind, size)
            data = self._place.read(name)
        if digest_of(data) != digest:
            raise PackageRefused(
                f"store {self.url}: {kind[:-1]} {digest} has been changed: its content has digest {digest_of(data)}"
            )
        return data

    def exists(self, digest: str, kind: str = PACKAGES) -> bool:
        """Tell whether there is such an entry; its content is not looked at."""
        with self._one_sentence():
            return self._place.size(_name(kind, digest)) is not None

    def list(self, kind: str = PACKAGES) -> builtins.list[str]:
        """Return the digests, sorted; ENTRIES_MAX at most."""
        with self._one_sentence():
            stems = [name.removesuffix(_SUFFIX[kind]) for name in self._place.names(kind)]
        return sorted(stem for stem in stems if DIGEST.fullmatch(stem))[:ENTRIES_MAX]

    def put_artefact(self, artefact: Artefact) -> str:
        """Keep a fitted model; return the digest of its file: in parameters it is {"artefact": digest}."""
        return self.put(artefact.to_bytes(), ARTEFACTS)

    def get_artefact(self, digest: str) -> Artefact:
        """Return a fitted model."""
        try:
            return Artefact.from_bytes(self.get(digest, ARTEFACTS), f"artefact {digest}")
        except ValueError as error:
            raise PackageRefused(str(error)) from error

    @staticmethod
    def _check_size(kind: str, size: int) -> None:
        if size > _BYTES_MAX[kind]:
            raise PackageRefused(f"{size} bytes: one of {kind} has {_BYTES_MAX[kind]} at most")

    @contextmanager
    def _one_sentence(self) -> Iterator[None]:
        try:
            yield
        except PackageRefused:
            raise
        except Exception as error:  # fsspec's back ends have errors of their own
            raise PackageRefused(f"store {self.url} cannot be used: {type(error).__name__}: {error}") from error


def _name(kind: str, digest: str) -> str:
    if not DIGEST.fullmatch(digest):
        raise PackageRefused(f"{digest[:80]!r} is no digest: 64 hexadecimal digits are wanted")
    return f"{kind}/{digest}{_SUFFIX[kind]}"
