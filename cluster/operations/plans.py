"""Plans: what would be done, as a value that is computed from facts, shown, and applied by its hash.

Theory of operation
-------------------
Who asks for something dangerous is shown a plan first. Applying it names the hash of what was shown; the plan is computed again
from the facts as they are then, and if its hash is another one, nothing is done and the new plan is shown. So nobody does what
they have not seen.

A plan has two parts. What it *does* is hashed. What it *estimates* moves by itself while a line runs (how far a topic
reaches by now), and is not: it is there to be read, and so that an operation knows how much there is to do.

Rules of this file: no I/O, no clock.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.operations.errors import Invalid

HASH_CHARS = 16  # of a plan's hash, hexadecimal digits
PLAN_BYTES_MAX = 512 * 1024  # of a plan as JSON: it stands in the operation's record


def canonical(value: Any) -> str:
    """Return JSON that is the same text for the same value.

    >>> canonical({"b": [1, 2.5], "a": "ä"})
    '{"a":"ä","b":[1,2.5]}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Return the hash of a value that JSON can say.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}), len(digest({}))
    (True, 16)
    """
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:HASH_CHARS]


@dataclass(frozen=True)
class Plan:
    """What would be done to what."""

    kind: str
    subject: str  # what no other operation may work on meanwhile
    does: Mapping[str, Any]  # JSON
    estimate: Mapping[str, Any] = field(default_factory=dict)  # JSON

    @property
    def hash(self) -> str:
        """Return the hash of what it does."""
        return digest({"kind": self.kind, "subject": self.subject, **self.does})

    def to_json(self) -> dict[str, Any]:
        """Return the plan as it is shown and kept. Raises Invalid if it is too long to be kept."""
        told = {"kind": self.kind, "subject": self.subject, **self.does, "estimate": dict(self.estimate)}
        size = len(canonical(told).encode())
        if size > PLAN_BYTES_MAX:
            raise Invalid(f"the plan has {size} bytes, more than {PLAN_BYTES_MAX}: ask for less at a time")
        return told

    def told(self) -> dict[str, Any]:
        """Return the answer to a dry run."""
        return {"plan": self.to_json(), "plan_hash": self.hash}
