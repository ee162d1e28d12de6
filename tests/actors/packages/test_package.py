"""A folder, a zip of it and a wheel are the same package."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from actors.packages import Package, PackageRefused, read_package, read_package_bytes
from actors.packages import package as package_module
from actors.packages.archive import write_archive
from actors.packages.package import HEAD
from tests.actors.packages.made import ABOVE, package_of, project, stored


def test_folder_zip_wheel_and_what_is_stored_are_one_package(tmp_path: Path) -> None:
    folder = project(tmp_path / "p", dependencies='"numpy>=2", "six==1.16.0"')
    read = read_package(folder)
    assert sorted(read.files) == ["above_all/__init__.py", "above_all/table.csv"]
    assert (read.name, read.version, read.target) == ("above-all", "0.1", "above_all:Above")
    assert (read.requires, read.top_level) == (("numpy>=2", "six==1.16.0"), ("above_all",))
    inside = shutil.make_archive(str(tmp_path / "inside"), "zip", folder)
    around = shutil.make_archive(str(tmp_path / "around"), "zip", tmp_path, "p")
    source = project(tmp_path / "src-layout")
    (source / "src").mkdir()
    (source / "above_all").rename(source / "src" / "above_all")
    head = "Metadata-Version: 2.1\nName: above-all\nVersion: 0.1\nRequires-Dist: numpy>=2\nRequires-Dist: six==1.16.0\n"
    wheel = {
        **read.files,
        "above_all-0.1.dist-info/METADATA": (head + 'Requires-Dist: pytest>=8; extra == "dev"\n').encode(),
        "above_all-0.1.dist-info/entry_points.txt": b"[chipquality.detectors]\nabove = above_all:Above\n",
        "above_all-0.1.dist-info/RECORD": b"",
        "above_all-0.1.data/scripts/x": b"",
    }
    (tmp_path / "above_all-0.1-py3-none-any.whl").write_bytes(write_archive(wheel))
    (tmp_path / "stored").write_bytes(read.data)
    for path in (inside, around, tmp_path / "above_all-0.1-py3-none-any.whl", tmp_path / "stored"):
        assert read_package(path) == read, path
    (source / "pyproject.toml").write_text((folder / "pyproject.toml").read_text())
    assert read_package(source).digest == read.digest
    assert Package.get(stored(tmp_path, read), read.digest) == read


@pytest.mark.parametrize(
    ("dependencies", "why"),
    [
        ('"somebody"', "'somebody' is not pinned: write somebody==<version>"),
        ('"somebody>=1"', "is not pinned"),
        ('"somebody==1.*"', "is not pinned"),
        ('"somebody==1,!=1.1"', "is not pinned"),
        ('"somebody @ https://example.com/x.whl"', "is an address: write somebody==<version>"),
        ('"somebody=1"', "requirement 'somebody=1'"),
        ('"-r /etc/passwd"', "requirement '-r /etc/passwd'"),
        ('"a==1", "A==2"', "a is required twice"),
        (", ".join(f'"p{n}==1"' for n in range(60)), "60 requirements; a package has 50 at most"),
    ],
)
def test_requirements_that_are_refused(tmp_path: Path, dependencies: str, why: str) -> None:
    with pytest.raises(PackageRefused, match=why.replace("|", r"\|")):
        read_package(project(tmp_path / "p", dependencies=dependencies))


def test_what_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, why in ((tmp_path / "absent", "No such file"), (tmp_path, "no pyproject.toml, so it is no project")):
        with pytest.raises(PackageRefused, match=why):
            read_package(path)
    folder = project(tmp_path / "p")
    (folder / "pyproject.toml").write_text("[project]\nname='x'\n")
    with pytest.raises(PackageRefused, match=r"no .project. with name and version that can be read: 'version'"):
        read_package(folder)
    with pytest.raises(PackageRefused, match="there is no module in it"):
        Package.of("x", "1", {}, [], {"readme.txt": b""})
    with pytest.raises(PackageRefused, match="entry point 'no target' is not module:Class"):
        Package.of("x", "1", {"a": "no target"}, [], {"x.py": b""})
    with pytest.raises(PackageRefused, match="60 entry points"):
        Package.of("x", "1", {f"a{n}": "x:Y" for n in range(60)}, [], {"x.py": b""})
    for head in (b"", b"[]", b"{}", b'{"format": 1, "name": "x", "version": "1", "targets": [], "requires": []}'):
        with pytest.raises(PackageRefused, match="it is no detector package"):
            Package.from_bytes(write_archive({HEAD: head, "x.py": b""}))
    with pytest.raises(PackageRefused, match="of format 2, and 1 can be read"):
        Package.from_bytes(write_archive({HEAD: json.dumps({"format": 2}).encode()}))
    broken = {"x-1.dist-info/METADATA": b"Name: x\n", "x-1.dist-info/entry_points.txt": b"no section\n", "x.py": b""}
    with pytest.raises(PackageRefused, match=r"entry_points.txt cannot be read"):
        read_package_bytes(write_archive(broken), "x.whl")
    (folder / "above_all" / "link.py").symlink_to("/etc/passwd")
    with pytest.raises(PackageRefused, match="is a link that leads out of the project"):
        read_package(folder)
    monkeypatch.setattr(package_module, "FILES_MAX", 2)
    with pytest.raises(PackageRefused, match="is this the project's folder"):
        read_package(project(tmp_path / "q"))


def test_which_detector_is_meant() -> None:
    package = package_of()
    assert package.target == package.target_of("above") == "above_all:Above"
    assert package.target_of("above_all:Other") == "above_all:Other"
    with pytest.raises(
        PackageRefused, match=r"it has no detector 'below', .* entry points .*: above \(above_all:Above\)"
    ):
        package.target_of("below")
    two = Package.of("x", "1", {"a": "x:A", "b": "x:B"}, [], {"x.py": ABOVE.encode()})
    with pytest.raises(PackageRefused, match="say which detector is meant"):
        _ = two.target
