"""Pages of lists that are at hand whole, sorted by a key that stays: a cursor is right while items come and go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from actors import cursors
from cluster.api.problems import Problem

T = TypeVar("T")
Key = tuple[Any, ...]


def page(items: Sequence[T], key: Callable[[T], Key], limit: int, cursor: str | None) -> dict[str, Any]:
    """Return `{"items", "next", "total"}`: those behind the cursor, in the order of the key. Raises Problem for a bad cursor.

    >>> first = page("cab", lambda letter: (letter,), 2, None)
    >>> first["items"], page("cab", lambda letter: (letter,), 2, first["next"])["items"]
    (['a', 'b'], ['c'])
    """
    ordered = sorted(items, key=key)
    try:
        if cursor is not None:
            edge = cursors.decode(cursor, _key)
            ordered = [item for item in ordered if key(item) > edge]
    except (ValueError, TypeError) as error:
        raise Problem(422, "cursor: this cursor was not given by this API") from error
    more = len(ordered) > limit
    return {
        "items": ordered[:limit],
        "next": cursors.encode(key(ordered[limit - 1])) if more else None,
        "total": len(items),
    }


def _key(said: Any) -> Key:
    if not isinstance(said, list):
        raise TypeError("no list")
    return tuple(said)
