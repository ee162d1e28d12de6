"""A store keeps contents by their hash, and gives none that was changed."""

from __future__ import annotations

import pickle
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from actors.packages import PackageRefused, PackageStore
from actors.packages.store import ARTEFACTS, PACKAGES, digest_of
from models.artefact import Artefact


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PackageStore:
    """A folder, and what stands for s3: another file system of fsspec."""
    return PackageStore(str(tmp_path / "a store") if request.param == "folder" else f"memory://{uuid4().hex}/x")


def test_what_is_put_is_there_once_under_its_digest(store: PackageStore) -> None:
    assert store.list() == []
    digest = store.put(b"code")
    assert digest == digest_of(b"code") == store.put(b"code")
    assert (store.get(digest), store.list(), store.exists(digest)) == (b"code", [digest], True)
    assert not store.exists("0" * 64)
    again = pickle.loads(pickle.dumps(store))  # noqa: S301 - made on this line
    assert again.get(digest) == b"code"
    model = Artefact("mean", {"mean": np.arange(3.0)}, {"rows": 3})
    kept = store.put_artefact(model)
    assert (store.get_artefact(kept), store.list(ARTEFACTS)) == (model, [kept])


def test_what_was_changed_is_refused_and_can_be_put_again(tmp_path: Path) -> None:
    store = PackageStore(f"{tmp_path}/store")
    digest = store.put(b"code")
    (entry,) = (tmp_path / "store" / PACKAGES).iterdir()
    entry.write_bytes(b"evil")
    with pytest.raises(PackageRefused, match=f"package {digest} has been changed: its content has digest"):
        store.get(digest)
    assert store.put(b"code") == digest
    assert store.get(digest) == b"code"
    bad = store.put(b"no npz", ARTEFACTS)
    with pytest.raises(PackageRefused, match="not an artefact"):
        store.get_artefact(bad)


def test_what_a_store_refuses(store: PackageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PackageRefused, match=f"has no package {'0' * 64}"):
        store.get("0" * 64)
    for digest in ("../../etc/passwd", "ABC", "0" * 63):
        with pytest.raises(PackageRefused, match="is no digest"):
            store.get(digest)
    digest = store.put(b"code")
    monkeypatch.setattr("actors.packages.store._BYTES_MAX", {PACKAGES: 3})
    for refused in (lambda: store.put(b"code"), lambda: store.get(digest)):
        with pytest.raises(PackageRefused, match="4 bytes: one of packages has 3 at most"):
            refused()


def test_a_store_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PackageRefused, match=r"cannot be used: (NotADirectory|FileExists)Error"):
        PackageStore(f"{tmp_path}/file").put(b"code")
    assert not list(tmp_path.rglob("*.tmp"))
    with pytest.raises(PackageRefused, match="a folder needs nothing installed, s3:// needs s3fs"):
        PackageStore("nowhere://x")
