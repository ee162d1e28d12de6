"""Making and revoking keys, ending sessions, on the real broker: what is written and what is cleaned up."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cluster.access import desk as desks
from cluster.access.desk import Refused, Taken
from cluster.access.following import read_book
from cluster.access.secret import Secret
from cluster.access.sessions import Session
from cluster.access.wiring import Access
from cluster.config import load
from cluster.local import Endpoints
from cluster.product import Product
from tests.cluster.access.conftest import settings
from tests.cluster.audit_trail import recorded
from tests.cluster.served import wait_for
from tests.fixtures_stack import prepared


@pytest.fixture(scope="module")
def access(stack: Endpoints) -> Iterator[Access]:
    prepared(stack)
    one = Access(settings(stack))
    assert one.following.wait(30)
    yield one
    one.close()


def test_a_first_key_is_made_once(access: Access) -> None:
    book = access.following.book
    made = access.desk.first(book)
    assert made
    wait_for(lambda: access.following.book.get(made.key.key_id), "it is known")
    assert access.desk.first(access.following.book) is None
    assert [str(grant) for grant in made.key.grants] == ["admin"]
    again = read_book(access.settings.cluster, access.settings.secret)
    assert [key.key_id for key in again.listed()] == [made.key.key_id]
    access.desk.revoke(again, made.key.key_id, "tests")
    wait_for(lambda: not access.following.book.live(made.key.key_id, access.guard.now_ms()), "it is revoked")
    assert access.desk.first(access.following.book)


def test_the_first_key_is_in_the_audit_trail(access: Access, stack: Endpoints) -> None:
    product = Product(load(), lambda *_: None)
    product.cluster, product._secret = access.settings.cluster, Secret(uuid.uuid4().hex)
    product._make_first_key()
    key_id = product.first_key.split("_")[1]
    [made] = recorded(stack, f"key {key_id}")
    assert (made["user_id"], made["action"]) == ("chipquality run", "keys.create")
    assert product.first_key not in str(made)


def test_ended_sessions_that_are_over_are_forgotten(access: Access) -> None:
    book, now = access.following.book, access.guard.now_ms()
    access.desk.end(book, Session("aa", "key", now - 1))
    wait_for(lambda: "aa" in access.following.book.over(now, 9), "it is known")
    access.desk.end(access.following.book, Session("bb", "key", now + 60_000))
    wait_for(lambda: "aa" not in access.following.book.over(now, 9), "the first is forgotten")
    assert "bb" in access.following.book.over(now + 60_000, 9)


def test_there_are_so_many_keys_and_worthless_ones_make_room(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    book = access.following.book
    short = access.desk.create(book, "short", ["viewer"], 1e-6, "tests")
    wait_for(lambda: book.get(short.key.key_id), "it is known")
    monkeypatch.setattr(desks, "KEYS_MAX", len(book.listed()))
    wait_for(lambda: any(key.name == "short" for key in book.worthless(access.guard.now_ms())), "it expires")
    count = len(book.listed())
    made = access.desk.create(book, "long", ["viewer"], 1, "tests")
    wait_for(lambda: book.get(made.key.key_id) and len(book.listed()) == count, "one came and one went")
    late = replace(access.desk, now_ms=lambda: 0)  # where nothing has ended yet
    monkeypatch.setattr(desks, "KEYS_MAX", 0)
    revoked = [key for key in book.listed() if key.revoked_ms is not None]
    for key in revoked:
        access.desk._forget(f"key|{key.key_id}")
    wait_for(lambda: not book.worthless(0), "only live ones are left")
    with pytest.raises(Taken, match="live keys: revoke some"):
        late.create(book, "one more", ["viewer"], 1, "tests")
    with pytest.raises(Refused, match="role"):
        access.desk.create(book, "x", ["root"], 1, "tests")
