"""Artefacts: content-addressed, without pickles, whole or refused."""

import io
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from models import artefact
from models.artefact import Artefact, ArtefactError, of_kind
from models.cusum import Cusum
from models.detector import identity

ARRAYS = {"loadings": np.arange(6.0).reshape(2, 3), "names": np.array(["a", "bé"]), "n": np.array(3)}


def test_it_comes_back_whole_from_a_file(tmp_path: Path) -> None:
    model = Artefact("pca", ARRAYS, {"rows": 40, "range": ["a", 1.5]})
    again = Artefact.load(model.save(tmp_path / "model.npz"))
    assert again == model
    assert hash(again) == hash(model)
    assert (again.kind, dict(again.facts)) == ("pca", {"rows": 40, "range": ["a", 1.5]})
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(again.arrays[name], array)
        assert not again.arrays[name].flags.writeable
    assert pickle.loads(pickle.dumps(model)) == model  # noqa: S301 - made on this line
    assert model != "pca"
    assert repr(model) == f"Artefact('pca', {model.digest})"


def test_its_digest_covers_everything_and_nothing_else() -> None:
    model = Artefact("pca", ARRAYS, {"rows": 40})
    others = [
        Artefact("pcb", ARRAYS, {"rows": 40}),
        Artefact("pca", ARRAYS, {"rows": 41}),
        Artefact("pca", {**ARRAYS, "n": np.array(4)}, {"rows": 40}),
        Artefact("pca", {**ARRAYS, "loadings": np.arange(6.0).reshape(3, 2)}, {"rows": 40}),
        Artefact("pca", {**ARRAYS, "loadings": np.arange(6).reshape(2, 3)}, {"rows": 40}),
    ]
    assert len({model.digest, *(other.digest for other in others)}) == 6
    swapped = {name: np.asfortranarray(array).astype(array.dtype.newbyteorder(">")) for name, array in ARRAYS.items()}
    assert Artefact("pca", dict(reversed(swapped.items())), {"rows": 40}) == model


def test_a_detector_is_named_by_the_content_of_its_artefact() -> None:
    @dataclass(frozen=True)
    class WithModel(Cusum):
        model: Artefact | None = None

    first, same, other = (WithModel(model=Artefact("m", {"x": np.array([x])})) for x in (1.0, 1.0, 2.0))
    assert identity(first) == identity(same) != identity(other)


def test_what_is_no_artefact_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.npz"
    file.write_bytes(b"not a zip")
    with pytest.raises(ArtefactError, match=r"x\.npz: not an artefact"):
        Artefact.load(file)
    data = bytearray(Artefact("m", {"x": np.zeros(3)}).to_bytes())
    with pytest.raises(ArtefactError, match="not an artefact"):
        Artefact.from_bytes(bytes(data[: len(data) // 2]))
    with np.load(io.BytesIO(bytes(data))) as whole:
        parts = {name: whole[name] for name in whole.files}
    np.savez(file, **{**parts, "x": np.ones(3)})
    with pytest.raises(ArtefactError, match="its content has digest"):
        Artefact.load(file)
    monkeypatch.setattr(artefact, "BYTES_MAX", 10)
    with pytest.raises(ArtefactError, match="the limit is 10"):
        Artefact.load(file)
    with pytest.raises(ValueError, match="no objects"):
        Artefact("m", {"x": np.array([None])})
    with pytest.raises(ValueError, match="'pca' is wanted"):
        of_kind(Artefact("m", {}), "pca")
    assert of_kind(Artefact("pca", {}), "pca").kind == "pca"
