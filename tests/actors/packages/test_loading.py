"""Loading a package into this process: its detector, or one sentence with a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.packages import Package, PackageRefused, cache
from actors.packages.loading import check_names, forget, load, unpacked
from models.artefact import Artefact
from models.checks import check_detector
from models.detector import Detector, identity
from tests.actors.packages.made import (
    ABOVE,
    EXITS_AT_IMPORT,
    RAISES_AT_IMPORT,
    RAISES_IN_CONSTRUCTOR,
    package_of,
    stored,
)


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    before = list(sys.path)
    yield
    forget()
    assert sys.path == before


def loaded(tmp_path: Path, package: Package, target: str = "above_all:Above", **given: Any) -> Detector:
    return load(stored(tmp_path, package), package.digest, target, given, tmp_path / "cache")


def refusal(tmp_path: Path, package: Package, target: str = "above_all:Above", **given: Any) -> PackageRefused:
    with pytest.raises(PackageRefused) as refused:
        loaded(tmp_path, package, target, **given)
    return refused.value


def test_a_package_is_loaded_last_on_the_path_and_versions_one_after_the_other(tmp_path: Path) -> None:
    first, second = package_of(), package_of(ABOVE.replace("version = 1", "version = 2"))
    one = loaded(tmp_path, first, limit=11.0)
    assert sys.path[-1] == str(tmp_path / "cache" / "code" / first.digest)
    assert identity(one).startswith("mine.above@1-")
    check_detector(one)
    two = loaded(tmp_path, second)
    assert (two.version, one.version) == (2, 1)
    assert sys.path[-1] == str(tmp_path / "cache" / "code" / second.digest)
    assert loaded(tmp_path, second).version == 2
    assert loaded(tmp_path, first).version == 1


def test_parameters_are_those_of_a_constructor(tmp_path: Path) -> None:
    code = ABOVE.replace("limit: float = 12.0", "limit: float = 12.0\n    model: object = None\n    more: tuple = ()")
    package = package_of(code)
    model = Artefact("mean", {"mean": np.arange(3.0)})
    digest = stored(tmp_path).put_artefact(model)
    detector: Any = loaded(tmp_path, package, model={"artefact": digest}, more=[1, [2]])
    assert (detector.model, detector.more) == (model, (1, (2,)))
    assert "has no artefact" in str(refusal(tmp_path, package, model={"artefact": "0" * 64}))
    assert str(refusal(tmp_path, package_of(), width=1)) == "above_all:Above has no parameter width; it has limit"


@pytest.mark.parametrize(
    ("code", "why", "traced"),
    [
        (RAISES_IN_CONSTRUCTOR, "above_all:Above cannot be made: RuntimeError: no data file", "__post_init__"),
        (RAISES_AT_IMPORT, "above_all: module above_all cannot be imported: OSError: no licence", "above_all.py"),
        (EXITS_AT_IMPORT, "above_all: module above_all cannot be imported: SystemExit: 3", "above_all.py"),
        ("import (", "above_all: module above_all cannot be imported: SyntaxError", "above_all.py"),
        (
            "import nobody_has_it.x\n",
            "above_all: above_all:Above: it imports nobody_has_it, which is not there: if it is a distribution's, add it to "
            "dependencies as nobody_has_it==<version>",
            "above_all.py",
        ),
        ("x = 1\n", "above_all: above_all:Above: there is no class Above in module above_all", ""),
        ("Above = 1\n", "above_all: above_all:Above: not a class Above in module above_all", ""),
        (
            "class Above:\n    name = 'x'\n",
            "above_all:Above is not a detector: it has no version, state, statistics, rules, update",
            "AttributeError",
        ),
    ],
)
def test_what_cannot_be_loaded(tmp_path: Path, code: str, why: str, traced: str) -> None:
    refused = refusal(tmp_path, package_of(code))
    assert str(refused).startswith(why)
    assert traced in refused.detail
    assert bool(refused.detail) == bool(traced)


def test_a_target_that_is_elsewhere(tmp_path: Path) -> None:
    assert "there is no module os in it" in str(refusal(tmp_path, package_of(), "os:PathLike"))
    package = Package.of("x", "1", {}, [], {"above_all/__init__.py": b""})
    assert "there is no module above_all.below" in str(refusal(tmp_path, package, "above_all.below:Above"))


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("models", "of the product itself"),
        ("actors", "of the product itself"),
        ("json", "of Python's standard library"),
        ("numpy", "installed here already"),
        ("pip", "installed here already"),
    ],
)
def test_a_name_that_is_somebody_elses_is_refused(tmp_path: Path, name: str, whose: str) -> None:
    code = ABOVE.encode()
    package = Package.of("mine", "1", {"a": "mine:Above"}, [], {"mine.py": code, f"{name}/__init__.py": b"evil = 1"})
    refused = refusal(tmp_path, package, "mine:Above")
    assert f"mine: its module {name} has a name that is {whose}" in str(refused)
    assert not hasattr(sys.modules.get(name), "evil")


def test_a_name_that_was_made_by_hand_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "above_all", type(sys)("above_all"))
    with pytest.raises(PackageRefused, match="installed here already"):
        check_names(package_of())


def test_a_folder_is_made_once_and_few_are_kept(tmp_path: Path) -> None:
    root = tmp_path / "code"
    package = package_of()
    folder = unpacked(package, tmp_path)
    (folder / "mark").write_text("")
    assert unpacked(package, tmp_path) == folder
    assert (folder / "mark").exists()
    cache._held.pop(root / f"{package.digest}.lock").close()  # as if another process had made it, and ended
    others = [package_of(f"x = {n}\n") for n in range(3)]
    for other in others:
        cache.kept(root, other.digest, lambda made: made.mkdir(), most=2)
    assert sorted(each.name for each in root.iterdir() if each.is_dir()) == sorted(other.digest for other in others), (
        "those that are held stay"
    )
    (tmp_path / "file").write_text("")
    with pytest.raises(PackageRefused, match="this node cannot unpack a package"):
        cache.kept(tmp_path / "file" / "x", package.digest, lambda made: made.mkdir())


def test_another_process_may_be_first(tmp_path: Path) -> None:
    def late(made: Path) -> None:
        made.mkdir()
        (tmp_path / "code" / "0").mkdir()
        (tmp_path / "code" / "0" / "first").write_text("")

    assert (cache.kept(tmp_path / "code", "0", late) / "first").exists()
    assert cache._wanted(tmp_path / "absent") == 0.0
