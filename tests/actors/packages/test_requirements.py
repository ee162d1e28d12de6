"""What a package needs beside the product: installed as it is named, or refused in pip's words. pip finds wheels in a folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from actors.packages import PackageRefused, requirements
from actors.packages.archive import write_archive
from actors.packages.loading import forget, installed, load
from actors.packages.requirements import folder_name, missing_here, ours, requirements_of
from tests.actors.packages.made import ABOVE, package_of, stored


def wheel(folder: Path, name: str, version: str, *needs: str) -> None:
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(
        f"Requires-Dist: {n}\n" for n in needs
    )
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = '{version}'\n".encode(),
        f"{info}/METADATA": head.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    (folder / f"{name}-{version}-py3-none-any.whl").write_bytes(
        write_archive({**files, f"{info}/RECORD": record.encode()})
    )


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which pip looks, and nowhere else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": folder.as_uri(), "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    before = list(sys.path)
    yield folder
    forget()
    assert sys.path == before


def test_what_the_product_has_needs_no_pin() -> None:
    assert {"chipquality", "numpy", "numba", "scikit-learn"} <= ours()
    said = ["Numpy>=2", "six==1.16.0", 'pytest>=8; extra == "dev"', 'tomli==2.0; python_version < "3"', "chipquality"]
    assert requirements_of(said, "it") == ("chipquality", "Numpy>=2", "six==1.16.0")
    assert missing_here(("numpy>=2", f"numpy=={np.__version__}", "nobody==1")) == ("nobody==1",)
    for line, why in (
        ("numpy==1.0", "the product runs with numpy"),
        ("nobody", "requires nobody, which is not installed"),
    ):
        with pytest.raises(PackageRefused, match=why):
            missing_here([line])
    assert folder_name(["a==1", "b==2"]) == folder_name(["b==2", "a==1"]) != folder_name(["a==1"])


def test_the_product_may_not_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "PRODUCT", "nobody")
    ours.cache_clear()
    assert ours() == {"nobody"}
    monkeypatch.undo()
    ours.cache_clear()


@pytest.mark.slow
def test_pins_are_installed_beside_the_product(tmp_path: Path, wheels: Path) -> None:
    wheel(wheels, "one_of_two", "1.5", "the_other>=2", 'pytest; extra == "x"', "numpy>=1")
    wheel(wheels, "one_of_two", "1.6")
    wheel(wheels, "the_other", "2.5")
    code = ABOVE.replace("version = 1\n", "version = int(one_of_two.VERSION[2:])\n")
    package = package_of("import one_of_two, the_other\n" + code, requires=("one-of-two==1.5", "the-other==2.5"))
    store = stored(tmp_path, package)
    assert load(store, package.digest, package.target, {}, tmp_path / "cache").version == 5
    folder = installed(package.requires, tmp_path / "cache")
    assert folder is not None
    assert str(folder) == sys.path[-2]
    assert installed(["numpy"], tmp_path / "cache") is None


@pytest.mark.slow
def test_what_pip_cannot_do_is_refused_in_its_words(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        PackageRefused, match=r"^pip cannot install nobody-has-it==1: No matching distribution found for"
    ) as said:
        installed(["nobody-has-it==1"], tmp_path)
    assert "Could not find a version that satisfies the requirement nobody-has-it==1" in said.value.detail
    assert not [each for each in (tmp_path / "requirements").iterdir() if each.is_dir()], "nothing is left of it"
    wheel(wheels, "one_of_two", "1.5", "the_other>=2", "numpy<1")
    with pytest.raises(PackageRefused, match="one-of-two needs the_other>=2, which is not required: name it too"):
        installed(["one-of-two==1.5"], tmp_path)
    with pytest.raises(PackageRefused, match=r"one-of-two needs numpy<1, and numpy .* is there"):
        installed(["one-of-two==1.5"], tmp_path)
    monkeypatch.setattr(requirements, "INSTALL_S", 0.01)
    with pytest.raises(PackageRefused, match=r"pip did not install one-of-two==1.5 within 0 s"):
        installed(["one-of-two==1.5"], tmp_path)
