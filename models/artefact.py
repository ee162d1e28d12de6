"""A fitted model as a thing of its own: arrays and facts under one digest.

Theory of operation
-------------------
A detector never fits (rule 6 of models/detector.py). What has been fitted by a job (loadings, trees, a reference sample) is an
`Artefact`: named arrays, and facts about how they came to be (data range, parameters, scores). It is content-addressed: its
digest covers every array and every fact, is part of the identity of the detector that holds it, and so keys its state. The
same content has the same digest on every machine. On disk it is one `.npz` file without pickles, whatever is in it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

_HEAD = "__artefact__"
BYTES_MAX = 256 * 1024 * 1024  # of a file that `load` will read


class ArtefactError(ValueError):
    """A file is no artefact, or not what it says it is."""


class Artefact:
    """A fitted model: what kind it is, its arrays (read-only), its facts (plain JSON).

    >>> model = Artefact("mean", {"mean": np.array([1.0, 2.0])}, {"rows": 40})
    >>> model.digest, Artefact.from_bytes(model.to_bytes()) == model
    ('1212e8f69e6d29c5b630', True)
    """

    def __init__(self, kind: str, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any] | None = None) -> None:
        self.kind = kind
        self.arrays: Mapping[str, np.ndarray] = MappingProxyType({name: _kept(arrays[name]) for name in sorted(arrays)})
        self.facts: Mapping[str, Any] = MappingProxyType(json.loads(json.dumps(dict(facts or {}), allow_nan=False)))

    @cached_property
    def digest(self) -> str:
        """Return the 20 hexadecimal digits that name this content."""
        content = hashlib.blake2b(json.dumps([self.kind, dict(self.facts)], sort_keys=True).encode(), digest_size=10)
        for name, array in self.arrays.items():
            content.update(json.dumps([name, array.dtype.str, array.shape]).encode())
            content.update(array.tobytes())
        return content.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Artefact) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Artefact({self.kind!r}, {self.digest})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Artefact, (self.kind, dict(self.arrays), dict(self.facts))

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        head = json.dumps({"kind": self.kind, "facts": dict(self.facts), "digest": self.digest}, sort_keys=True)
        file = io.BytesIO()
        named: dict[str, Any] = {**self.arrays, _HEAD: np.frombuffer(head.encode(), np.uint8)}
        np.savez_compressed(file, **named)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, source: str = "artefact") -> Artefact:
        """Read what `to_bytes` wrote. Raises ArtefactError, naming `source`, if it is not whole."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files if name != _HEAD}
                head = json.loads(file[_HEAD].tobytes())
            found = cls(head["kind"], arrays, head["facts"])
            said = head["digest"]
        except Exception as error:
            raise ArtefactError(f"{source}: not an artefact: {error}") from error
        if found.digest != said:
            raise ArtefactError(f"{source}: its content has digest {found.digest}, not {said} as it says")
        return found

    def save(self, path: str | Path) -> Path:
        """Write the file; return its path."""
        path = Path(path)
        path.write_bytes(self.to_bytes())
        return path

    @classmethod
    def load(cls, path: str | Path) -> Artefact:
        """Read a file. Raises ArtefactError if it is none or longer than BYTES_MAX, OSError if it cannot be read."""
        path = Path(path)
        if path.stat().st_size > BYTES_MAX:
            raise ArtefactError(f"{path}: {path.stat().st_size} bytes; the limit is {BYTES_MAX}")
        return cls.from_bytes(path.read_bytes(), str(path))


def of_kind(model: Artefact, kind: str) -> Artefact:
    """Return the artefact if it is of this kind; raise ValueError that says which it is."""
    if not isinstance(model, Artefact) or model.kind != kind:
        raise ValueError(f"model = {model!r}: an artefact of kind {kind!r} is wanted")
    return model


def _kept(array: np.ndarray) -> np.ndarray:
    kept = np.ascontiguousarray(array).copy()
    if kept.dtype.hasobject:
        raise ValueError("an artefact holds plain numbers and fixed-length text, no objects")
    kept = kept.astype(kept.dtype.newbyteorder("<"), copy=False)
    kept.flags.writeable = False
    return kept
