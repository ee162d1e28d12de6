"""What stands for a detector says the same of itself, and has no code."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.engine.family import FamilyFold, configured
from actors.engine.judge import Assignment, Judge, assigned
from actors.engine.share import EVERY_SERIES
from actors.packages import Packaged, PackageRefused, describing, resolve
from actors.packages.loading import forget, load
from actors.packages.packaged import packaged_in
from models.builtin import FAMILIES
from models.detector import Column, Description, Detector, dimension, identity, parameters
from models.ewma import Ewma
from tests.actors.packages.made import package_of, stored


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Detector, Packaged]]:
    """A detector of a package, and what stands for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    package = package_of()
    store = stored(tmp_path, package)
    detector = load(store, package.digest, package.target, {"limit": 9.5})
    yield detector, Packaged(store.url, package.digest, package.target, {"limit": 9.5}, Description.of(detector))
    forget()


def test_it_says_what_the_detector_says(both: tuple[Detector, Packaged]) -> None:
    detector, packaged = both
    assert isinstance(packaged, Detector)
    assert identity(packaged) == packaged.identity == identity(detector)
    assert parameters(packaged) == parameters(detector) == {"limit": 9.5}
    assert (dimension(packaged), packaged.cut_dependent) == (dimension(detector), False)
    assert Description.of(packaged) == Description.of(detector)
    assert packaged.described.doc == "A value is above a limit."
    judge, real = (Judge("mine", assigned([each])[0]) for each in (packaged, detector))
    assert (judge.table.layout, judge.book.layout, judge.name) == (real.table.layout, real.book.layout, "mine.above")
    fold = FamilyFold("p", "mine", [detector])
    fold.open("t", 0, ["a"], ())
    pages = fold.snapshot(0, 1)
    assert pages
    assert all(map(configured({"mine": [packaged]}), pages))
    with pytest.raises(PackageRefused, match="which runs in a detector process only"):
        packaged.update({}, None)  # type: ignore[arg-type]


def test_it_travels(both: tuple[Detector, Packaged]) -> None:
    _, packaged = both
    text = json.dumps(packaged.to_json(), allow_nan=False)
    again = Packaged.of_json(json.loads(text))
    assert again == packaged == pickle.loads(pickle.dumps(packaged))  # noqa: S301 - made on this line
    assert len({again, packaged}) == 1
    assert packaged != "something else"
    assert again.described.state["last"].dtype == "f8"
    assert again.load().name == "mine.above"


def test_it_is_resolved_among_others(both: tuple[Detector, Packaged]) -> None:
    _, packaged = both
    others = [Ewma(), Assignment(Ewma(weight=0.5), ("A*",))]
    here = [*others, packaged, Assignment(packaged, ("B*",), "label")]
    found = resolve(here)
    assert found[:2] == tuple(others)
    assert not packaged_in(found)
    assert packaged_in(here) == [packaged, packaged]
    assert found[3][1:] == (("B*",), "label", EVERY_SERIES)  # type: ignore[index]
    assert type(found[2]).__module__ == "above_all"


def test_what_says_something_else_than_before_is_refused(both: tuple[Detector, Packaged]) -> None:
    _, packaged = both
    other = replace(packaged, described=replace(packaged.described, statistics=("other",), doc="x"))
    with pytest.raises(PackageRefused, match="says another doc, statistics of itself than when it was examined"):
        other.load()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_built_in_detector_can_be_described(family: str) -> None:
    for detector in FAMILIES[family](50):
        said = Description.of(detector)
        again = describing.of_json(json.loads(json.dumps(describing.to_json(said), allow_nan=False)))
        assert replace(again, parameters={}, state={}) == replace(said, parameters={}, state={})
        assert describing.to_json(again) == describing.to_json(said)


def wrong(**changes: Any) -> dict[str, Any]:
    return {**describing.to_json(Description.of(Ewma())), **changes}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "KeyError: 'identity'"),
        (wrong(name="other"), "is not of other version"),
        (wrong(identity="no identity"), "ValueError"),
        (wrong(name=["list"]), "is no text of 400 characters"),
        (wrong(doc="x" * 500), "is no text of 400 characters"),
        (wrong(state={"a": {"dtype": "O", "shape": [], "fill": 0}}), "a state column holds plain numbers"),
        (wrong(state={"a": {"dtype": "evil", "shape": [], "fill": 0}}), "TypeError"),
        (wrong(statistics=["x"] * 100), "100 statistics; a detector has 64 at most"),
        (wrong(parameters={"x": "y" * 300_000}), "more than 262144 bytes"),
    ],
)
def test_a_description_that_cannot_be(said: dict[str, Any], why: str) -> None:
    with pytest.raises(PackageRefused, match=why):
        describing.of_json(said)


def test_what_is_no_packaged_detector(both: tuple[Detector, Packaged]) -> None:
    for said in ({}, {**both[1].to_json(), "parameters": 3}, {**both[1].to_json(), "description": {}}):
        with pytest.raises(PackageRefused, match=r"not a detector of a package|not the description of a detector"):
            Packaged.of_json(said)
    assert describing.to_json(replace(Description.of(Ewma()), state={"a": Column("f8", (), float("inf"))}))[
        "state"
    ] == {"a": {"dtype": "f8", "shape": [], "fill": "inf"}}
    assert "above_all" in sys.modules
