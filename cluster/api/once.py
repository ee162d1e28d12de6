"""Idempotency keys of what is kept under an id: the same key and request again makes the same id, and so the same thing.

The first half of the id says whose key it was, the second what was asked with it. So it is known from what is kept itself, after
a restart and in every replica, and nothing else need be kept.
"""

from __future__ import annotations

import hashlib
from typing import Any

from actors.limit_desk import LimitDesk
from cluster.api.problems import Problem
from cluster.operations.plans import canonical
from models.limit_versions import Change

HALF = 16  # hexadecimal digits
OTHER = "this Idempotency-Key was used for another request: take a new key"


def ident_of(caller: str, key: str, asked: Any) -> str:
    """Return the id of what a request makes; empty, which is a new one, without a key.

    >>> first, again = (ident_of("ada", "k", {"offset": 7}) for _ in range(2))
    >>> other = ident_of("ada", "k", {"offset": 8})
    >>> first == again, first == other, first[:HALF] == other[:HALF], ident_of("ada", "", {})
    (True, False, True, '')
    """
    return key and _half([caller, key]) + _half(asked)


def _half(value: Any) -> str:
    return hashlib.blake2b(canonical(value).encode("utf-8", "replace"), digest_size=HALF // 2).hexdigest()


def known(desk: LimitDesk, ident: str) -> Change | None:
    """Return the change that this id's key has made, as it stands now. Raises Problem 422 if it was for another request."""
    if not ident:
        return None
    made = (change for change in desk.changes() if len(change.change_id) == len(ident))
    found = next((change for change in made if change.change_id[:HALF] == ident[:HALF]), None)
    if found is not None and found.change_id != ident:
        raise Problem(422, OTHER)
    return found
