"""Keys and their book: made, recognised, revoked; forged, changed and malformed ones are none."""

from __future__ import annotations

import hmac
import logging
from typing import Any

import pytest

from cluster.access import book as books
from cluster.access import keys
from cluster.access.book import Book, key_name, session_name
from cluster.access.keys import DAY_MS, Key, from_record, id_of, matches, mint, to_record
from cluster.access.secret import Secret
from cluster.access.sessions import Session

SECRET, OTHER = Secret("s" * 32), Secret("t" * 32)
NOW = 1_800_000_000_000


def counted(start: int = 0) -> Any:
    """Return something that gives bytes, others each time."""
    numbers = iter(range(start, start + 200))
    return lambda n: next(numbers).to_bytes(n, "big")


def made(days: float = 1.0, start: int = 0, name: str = "ann") -> keys.Minted:
    return mint(SECRET, name, ["viewer", "operator:limits:E*"], days, "root", NOW, counted(start))


def taken(*found: Key, secret: Secret = SECRET) -> Book:
    book = Book(SECRET)
    book.take([(key_name(key.key_id).encode(), b"x") for key in found], _reading(found, secret))
    return book


def _reading(found: tuple[Key, ...], secret: Secret) -> Any:
    records = iter([to_record(secret, key) for key in found])
    return lambda _: next(records)


def test_a_key_is_known_by_its_text_until_it_expires() -> None:
    minted = made()
    book = taken(minted.key)
    assert book.find(minted.text, NOW) == minted.key
    assert book.find(minted.text, NOW + DAY_MS - 1) == minted.key
    assert book.find(minted.text, NOW + DAY_MS) is None
    assert book.name_of(minted.text) == "ann"
    assert minted.key.shown(NOW)["state"] == "live"
    assert minted.key.shown(NOW + DAY_MS)["state"] == "expired"


def test_what_is_kept_and_shown_does_not_hold_the_key() -> None:
    minted = made()
    kept = str(to_record(SECRET, minted.key)) + repr(minted) + repr(SECRET) + str(minted.key.shown(NOW))
    for part in (minted.text, minted.text.rpartition("_")[2], SECRET.text, minted.key.digest.hex()):
        assert part not in kept


@pytest.mark.parametrize("change", [lambda t: t[:-1] + "g", lambda t: t[:-1] + ("0" if t[-1] != "0" else "1"), str.upper,
                                    lambda t: t + "0", lambda t: t + "\n", lambda t: t.replace("cq_", "cq-"), lambda t: "",
                                    lambda t: t[:20], lambda t: "cq_" + "é" * 16 + t[19:]])  # fmt: skip
def test_another_text_is_none(change: Any) -> None:
    minted = made()
    assert taken(minted.key).find(change(minted.text), NOW) is None


def test_the_comparison_takes_as_long_where_there_is_no_such_key(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def spy(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return compare(a, b)

    monkeypatch.setattr(keys.hmac, "compare_digest", spy)
    minted = made()
    assert not matches(SECRET, None, minted.text)
    assert matches(SECRET, minted.key, minted.text)
    assert not matches(SECRET, minted.key, minted.text[:-2] + "xx")
    assert compared == [(32, 32)] * 3


def test_who_writes_to_the_topic_can_neither_make_a_key_nor_change_one(caplog: pytest.LogCaptureFixture) -> None:
    minted = made()
    record = to_record(SECRET, minted.key)
    for name, value in {
        "grants": ["admin"], "expires_ms": NOW * 2, "name": "root", "digest": b"\0" * 32, "key_id": "1" * 16, "seal": b"",
        "revoked_ms": 1,
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match="seal"):
            from_record(SECRET, {**record, name: value})
    assert from_record(SECRET, {**record, "seen_ms": 7}) == minted.key, "a later field is nothing to an older reader"
    with caplog.at_level(logging.ERROR):
        assert taken(minted.key, secret=OTHER).refused == 1
    assert "left out" in caplog.text
    assert minted.text not in caplog.text
    book = Book(SECRET)
    book.take([(key_name("another").encode(), b"x")], lambda _: record)
    assert (book.refused, book.listed()) == (1, [])


def test_revoked_is_revoked_whatever_comes_later() -> None:
    minted = made()
    revoked = minted.key.revoked("bob", NOW + 1)
    assert revoked.revoked("eve", NOW + 2) is revoked
    book = taken(minted.key, revoked, minted.key)
    assert book.refused == 1
    assert book.find(minted.text, NOW) is None
    assert book.live(minted.key.key_id, NOW) is None
    assert (revoked.shown(NOW)["state"], revoked.shown(NOW)["revoked_by"]) == ("revoked", "bob")


def test_revoked_is_revoked_though_its_record_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    minted = made()
    book = taken(minted.key, minted.key.revoked("bob", NOW + 1))
    entry = key_name(minted.key.key_id).encode()
    book.take([(entry, None), (entry, b"x")], lambda _: to_record(SECRET, minted.key))
    assert (book.refused, book.find(minted.text, NOW), book.listed()) == (1, None, [])
    monkeypatch.setattr(books, "DELETED_MAX", 0)
    book.take([(entry, b"x"), (entry, None)], lambda _: to_record(SECRET, minted.key.revoked("bob", NOW + 1)))
    assert len(book._deleted) == 0


def test_a_session_ends_with_its_key_or_when_it_is_ended() -> None:
    minted = made()
    session = Session("5e", minted.key.key_id, NOW + 100)
    book = taken(minted.key)
    assert book.holds(session, NOW) == minted.key
    book.take([(session_name("5e").encode(), b"x")], lambda _: {"expires_ms": NOW + 100})
    assert book.holds(session, NOW) is None
    assert (book.over(NOW, 10), book.over(NOW + 100, 10)) == ([], ["5e"])
    book.take([(session_name("5e").encode(), None), (key_name(minted.key.key_id).encode(), None)], lambda _: {})
    assert book.over(NOW + 100, 10) == []
    assert book.listed() == []


def test_nothing_grows_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "KEYS_MAX", 2)
    monkeypatch.setattr(books, "ENDED_SESSIONS_MAX", 2)
    book = taken(*(made(start=2 * i).key for i in range(4)))
    assert (len(book.listed()), book.refused) == (2, 2)
    book.take([(session_name(str(i)).encode(), b"x") for i in range(4)], lambda _: {"expires_ms": 0})
    assert book.over(1, 10) == ["2", "3"]
    first, second = (book.get(key.key_id) for key in book.listed())
    assert book.worthless(NOW) == []
    assert first
    assert second
    assert [key.key_id for key in book.worthless(NOW + DAY_MS)] == [first.key_id, second.key_id]


@pytest.mark.parametrize(
    ("name", "days", "why"),
    [
        ("", 1, "name"),
        (" ann", 1, "name"),
        ("a\nb", 1, "name"),
        ("a" * 101, 1, "name"),
        ("ann", 0, "days"),
        ("ann", 1e9, "days"),
    ],
)
def test_what_is_no_key(name: str, days: float, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        mint(SECRET, name, ["viewer"], days, "root", NOW, counted())


def test_every_key_has_an_id_and_a_secret_of_its_own() -> None:
    texts = {made(start=2 * i).text for i in range(20)}
    assert len(texts) == len({id_of(text) for text in texts}) == 20
