"""Grants: what they allow, what may be passed on, what is no grant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.access.grants import GRANTS_MAX, Grant, allowed, may_pass_on, parse, parse_all, role_under
from cluster.api.access import Need

TEXT = st.text(alphabet="abAB-*?[]|.\n", max_size=6)


@pytest.mark.parametrize(
    "text",
    ["", "root", "viewer:nothing", "viewer::x", "Viewer", "viewer:*:x", "admin:", "x" * 600, "operator : limits"],
)
def test_what_is_no_grant(text: str) -> None:
    if text == "admin:":
        assert parse(text) == Grant("admin")
        return
    with pytest.raises(ValueError, match="grant"):
        parse(text)


def test_of_too_many_and_of_none_there_is_no_key() -> None:
    with pytest.raises(ValueError, match="0 grants"):
        parse_all([])
    with pytest.raises(ValueError, match=f"1 to {GRANTS_MAX}"):
        parse_all([f"viewer:charts:{i}" for i in range(GRANTS_MAX + 1)])
    assert len(parse_all(["viewer"] * 100)) == 1


def naive(pattern: str, name: str) -> bool:
    """Match as slowly and obviously as can be."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return naive(pattern[1:], name) or (bool(name) and naive(pattern, name[1:]))
    return bool(name) and pattern[0] in ("?", name[0]) and naive(pattern[1:], name[1:])


@given(TEXT.filter(lambda text: text != "*"), TEXT)
def test_a_pattern_knows_two_signs_and_no_others(pattern: str, name: str) -> None:
    found = Grant("viewer", "charts", pattern).allows(Need("charts", "read"), name)
    assert found == (name != "" and naive(pattern, name))


@given(st.sampled_from(["viewer", "operator", "admin"]), st.sampled_from(["", ":charts", ":charts:E*"]))
def test_what_is_said_is_what_is_read(role: str, rest: str) -> None:
    assert str(parse(role + rest)) == role + rest


def test_nobody_passes_on_more_than_he_has() -> None:
    own = (Grant("viewer"), Grant("admin", "keys"), Grant("operator", "limits", "ETCH-*"))
    assert may_pass_on(own, own) == []
    assert (
        may_pass_on(own, [Grant("viewer", "charts"), Grant("viewer", "limits", "x"), Grant("operator", "keys")]) == []
    )
    more = [Grant("operator"), Grant("admin"), Grant("operator", "limits"), Grant("operator", "limits", "*-1")]
    assert may_pass_on(own, more) == more
    assert may_pass_on((), [Grant("viewer")]) == [Grant("viewer")]


def test_what_the_page_is_told() -> None:
    told = allowed([Grant("viewer"), Grant("operator", "limits", "ETCH-*"), Grant("admin", "alerts")])
    assert (told["charts"], told["limits"], told["alerts"]) == (["read"], ["read"], ["read", "write", "manage"])
    assert {"keys", "audit", "session"}.isdisjoint(told)
    assert allowed([]) == {}


def test_without_a_grant_there_is_nothing() -> None:
    assert role_under((), Need("session", "read"), "") is None
    assert role_under((Grant("viewer"),), Need("session", "write"), "") == "viewer"
