"""What an entry of the audit trail says in words: bounded, and text that every reader can take. Pure."""

from __future__ import annotations

import json
from typing import Any

STATE_CHARS_MAX = 20_000  # of before and after; what is longer is cut and said so
TEXT_CHARS_MAX = 500  # of what comes from the caller


def cut(text: str) -> str:
    """Return a text of what a record may hold; half of a surrogate pair is none.

    >>> cut("a\\ud800b")
    'a?b'
    """
    return text[:TEXT_CHARS_MAX].encode("utf-8", "replace").decode()


def state_json(state: Any) -> str | None:
    """Return a state as JSON of bounded length, None for none.

    >>> state_json({"b": 1, "a": "é"}), state_json(None)
    ('{"a": "\\\\u00e9", "b": 1}', None)
    """
    if state is None:
        return None
    text = json.dumps(state, ensure_ascii=True, sort_keys=True, default=str)
    return text if len(text) <= STATE_CHARS_MAX else json.dumps({"cut": text[:STATE_CHARS_MAX]})
