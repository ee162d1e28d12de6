"""What a caller may do: roles by resource, action and patterns of names. What no grant allows is denied.

| role | may |
|---|---|
| viewer | read everything but keys and the audit trail |
| operator | also write: propose, approve, acknowledge, publish |
| admin | also manage: delete, reset, replay, keys; and read keys and the audit trail |

A grant is a text, `role[:resource[:pattern]]`: `operator:limits:ETCH-*` is operator for the limits of series whose key begins
with ETCH-. In a pattern `*` stands for any text and `?` for one character; upper and lower case differ, and nothing else is
special. A request that is about all of a resource, such as a list, needs a grant whose pattern is `*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, get_args

from cluster.access.needs import Action, Need, Resource

ROLES: tuple[str, ...] = ("viewer", "operator", "admin")  # each may what the one before may
RESOURCES: tuple[str, ...] = get_args(Resource)
ANY = "*"
GRANTS_MAX = 50  # of one key
GRANT_CHARS_MAX = 500
PATTERNS_KEPT = 10_000  # compiled

_ROLE_OF_ACTION: dict[Action, str] = {"read": "viewer", "write": "operator", "manage": "admin"}
_ADMINS_ONLY = frozenset({"keys", "audit"})
_EVERYBODYS = "session"  # one's own


class Grant(NamedTuple):
    """A role, for the names of a resource that match a pattern."""

    role: str
    resource: str = ANY
    pattern: str = ANY

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        if self.pattern != ANY:
            return f"{self.role}:{self.resource}:{self.pattern}"
        return self.role if self.resource == ANY else f"{self.role}:{self.resource}"

    def allows(self, need: Need, name: str) -> bool:
        """Tell whether it allows an action on what has this name; "" is all of the resource."""
        return (
            self.resource in (ANY, need.resource)
            and _rank(self.role) >= _rank(role_of(need))
            and (self.pattern == ANY or (name != "" and _compiled(self.pattern).fullmatch(name) is not None))
        )

    def covers(self, other: Grant) -> bool:
        """Tell whether who has this may pass `other` on."""
        return (
            _rank(self.role) >= _rank(other.role)
            and self.resource in (ANY, other.resource)
            and self.pattern in (ANY, other.pattern)
        )


def parse(text: str) -> Grant:
    """Return the grant that a text says. Raises ValueError that says what is wrong.

    >>> parse("operator:limits:ETCH-*"), str(parse("viewer"))
    (Grant(role='operator', resource='limits', pattern='ETCH-*'), 'viewer')
    >>> parse("root")
    Traceback (most recent call last):
    ValueError: grant 'root': no role 'root'; there are viewer, operator, admin
    """
    if len(text) > GRANT_CHARS_MAX:
        raise ValueError(f"a grant has at most {GRANT_CHARS_MAX} characters")
    role, _, rest = text.partition(":")
    resource, _, pattern = rest.partition(":")
    grant = Grant(role, resource or ANY, pattern or ANY)
    if role not in ROLES:
        raise ValueError(f"grant {text[:60]!r}: no role {role[:60]!r}; there are {', '.join(ROLES)}")
    if grant.resource not in (ANY, *RESOURCES):
        raise ValueError(f"grant {text[:60]!r}: no resource {resource[:60]!r}; there are {', '.join(RESOURCES)}")
    if grant.resource == ANY and grant.pattern != ANY:
        raise ValueError(f"grant {text[:60]!r}: a pattern is of the names of one resource: name it")
    return grant


def parse_all(texts: Iterable[str]) -> tuple[Grant, ...]:
    """Return the grants, each once. Raises ValueError for none, too many, or a bad one."""
    grants = tuple(dict.fromkeys(parse(text) for text in texts))
    if not 1 <= len(grants) <= GRANTS_MAX:
        raise ValueError(f"{len(grants)} grants; a key has 1 to {GRANTS_MAX}")
    return grants


def role_of(need: Need) -> str:
    """Return the least role that may do this."""
    if need.resource == _EVERYBODYS:
        return "viewer"
    return "admin" if need.resource in _ADMINS_ONLY else _ROLE_OF_ACTION[need.action]


def role_under(grants: Iterable[Grant], need: Need, name: str) -> str | None:
    """Return the strongest role under which the grants allow this; None: they do not.

    >>> grants = (Grant("viewer"), Grant("operator", "limits", "ETCH-*"))
    >>> [role_under(grants, Need("limits", "write"), name) for name in ("ETCH-07|B", "LITHO-1", "")]
    ['operator', None, None]
    >>> role_under(grants, Need("limits", "read"), "LITHO-1"), role_under(grants, Need("keys", "read"), "")
    ('viewer', None)
    """
    roles = [grant.role for grant in grants if grant.allows(need, name)]
    return max(roles, key=_rank, default=None)


def strongest(grants: Iterable[Grant]) -> str:
    """Return the strongest role of all, "" where there is none."""
    return max((grant.role for grant in grants), key=_rank, default="")


def may_pass_on(own: Sequence[Grant], wanted: Iterable[Grant]) -> list[Grant]:
    """Return those of the wanted grants that who has `own` may not give: nobody makes a key that may more than he does."""
    return [grant for grant in wanted if not any(mine.covers(grant) for mine in own)]


def allowed(grants: Iterable[Grant]) -> dict[str, list[str]]:
    """Return, for the page, what may be done without regard to names: actions by resource."""
    held = [grant for grant in grants if grant.pattern == ANY]
    actions: tuple[Action, ...] = ("read", "write", "manage")
    found: dict[str, list[str]] = {
        resource: [action for action in actions if role_under(held, Need(resource, action), "")]  # type: ignore[arg-type]
        for resource in RESOURCES
        if resource != _EVERYBODYS
    }
    return {resource: may for resource, may in found.items() if may}


def _rank(role: str) -> int:
    return ROLES.index(role)


@lru_cache(maxsize=PATTERNS_KEPT)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in re.sub(r"\*+", "*", pattern))
    return re.compile("".join(parts), re.DOTALL)
