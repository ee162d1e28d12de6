"""A detector package: code by the hash of its content, which class in it is the detector, what it needs.

Theory of operation
-------------------
A package comes as a project folder, as a zip of one, or as a wheel. All three become the same thing (`Package`): the
importable files at their paths, without tests, documentation and metadata of a build, and `chipquality.json`, which says
name, version, targets and requirements. It is written so that the same files give the same bytes; their sha256 is the
package. A folder is read and not built: no code of a package runs before it is in a process of its own.

A folder has a pyproject.toml with [project] name, version, dependencies, and the entry points of group
`chipquality.detectors`; a wheel has the same as metadata.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from configparser import ConfigParser, Error
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path, PurePosixPath
from typing import Any

from actors.packages.archive import (
    FILES_MAX,
    NAME_CHARS_MAX,
    UNPACKED_BYTES_MAX,
    read_archive,
    write_archive,
)
from actors.packages.errors import PackageRefused
from actors.packages.requirements import requirements_of
from actors.packages.store import PackageStore, digest_of

HEAD = "chipquality.json"  # of a package: all that is not code
GROUP = "chipquality.detectors"  # of entry points
TARGETS_MAX = 50
_FORMAT = 1
_LEFT_OUT = frozenset(
    {"tests", "test", "docs", "doc", "build", "dist", "examples", "__pycache__", "venv", "env", "node_modules"}
)
_NO_MODULES = frozenset({"setup.py", "conftest.py", "noxfile.py", "tasks.py"})
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Package:
    """A package as it is stored. `data` is what its digest is of."""

    digest: str
    name: str
    version: str
    targets: Mapping[str, str]  # entry point → "module:Class"
    requires: tuple[str, ...]  # "name==version"; of what the product has, also a range
    files: Mapping[str, bytes]  # by path, without the head
    data: bytes

    @property
    def target(self) -> str:
        """Return the class of its only detector. Raises PackageRefused if there are several, or none."""
        return self.target_of(None)

    def target_of(self, wanted: str | None) -> str:
        """Return the class that an entry point's name, or "module:Class", means; None: the only one. Raises PackageRefused."""
        if wanted is not None and _TARGET.fullmatch(wanted):
            return wanted
        if wanted is None and len(self.targets) == 1:
            return next(iter(self.targets.values()))
        if wanted is not None and wanted in self.targets:
            return self.targets[wanted]
        there = ", ".join(f"{name} ({target})" for name, target in sorted(self.targets.items())) or "none"
        asked = "say which detector is meant" if wanted is None else f"it has no detector {wanted[:80]!r}"
        raise PackageRefused(f"{self.name}: {asked}, by its name or as module:Class; entry points of {GROUP}: {there}")

    @property
    def top_level(self) -> tuple[str, ...]:
        """Return the names that can be imported from it, sorted."""
        return top_level(self.files)

    @classmethod
    def of(
        cls, name: str, version: str, targets: Mapping[str, str], requires: Iterable[str], files: Mapping[str, bytes]
    ) -> Package:
        """Make a package of files. Raises PackageRefused."""
        _check_targets(name, targets)
        pins = requirements_of(requires, name)
        if not top_level(files):
            raise PackageRefused(f"{name}: there is no module in it")
        said = {"format": _FORMAT, "name": name, "version": version, "targets": dict(targets), "requires": list(pins)}
        head = json.dumps(said, sort_keys=True, indent=1).encode()
        data = write_archive({**files, HEAD: head})
        return cls(digest_of(data), name, version, dict(targets), pins, dict(files), data)

    @classmethod
    def from_bytes(cls, data: bytes, source: str = "package") -> Package:
        """Read a package as it is stored. Raises PackageRefused."""
        files = read_archive(data, source)
        try:
            said = json.loads(files.pop(HEAD))
            if said["format"] != _FORMAT:
                raise PackageRefused(f"{source}: it is of format {said['format']!r:.40}, and {_FORMAT} can be read")
            name, version, targets, requires = (said[each] for each in ("name", "version", "targets", "requires"))
            _check_targets(str(name), targets)
            return cls(
                digest_of(data), str(name), str(version), dict(targets), requirements_of(requires, source), files, data
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, PackageRefused):
                raise
            raise PackageRefused(f"{source}: no {HEAD} that can be read: it is no detector package") from error

    @classmethod
    def get(cls, store: PackageStore, digest: str) -> Package:
        """Return a package of a store. Raises PackageRefused."""
        return cls.from_bytes(store.get(digest), f"package {digest[:12]}")


def read_package(path: str | Path) -> Package:
    """Return what a path holds: a project folder, a zip of one, a wheel, a package as stored. Raises PackageRefused."""
    path = Path(path)
    try:
        if path.is_dir():
            return _project(_folder(path), str(path))
        data = path.read_bytes()
    except OSError as error:
        raise PackageRefused(
            f"{path}: {error.strerror}: a project folder, a zip of one, or a wheel is wanted"
        ) from error
    return read_package_bytes(data, path.name)


def read_package_bytes(data: bytes, source: str) -> Package:
    """Return what was sent: a zip of a project folder, a wheel, a package as stored. Raises PackageRefused."""
    files = read_archive(data, source)
    if HEAD in files:
        return Package.from_bytes(data, source)
    infos = [name for name in files if name.endswith(".dist-info/METADATA")]
    if len(infos) == 1:
        return _wheel(files, infos[0].removesuffix("/METADATA"), source)
    roots = {name.partition("/")[0] for name in files}
    if "pyproject.toml" not in files and len(roots) == 1:  # the folder itself was zipped, not what is in it
        files = {name.partition("/")[2]: content for name, content in files.items()}
    return _project(files, source)


def top_level(files: Iterable[str]) -> tuple[str, ...]:
    """Return the names that can be imported from files.

    >>> top_level(["mine/__init__.py", "mine/rows.csv", "other.py", "fast.cpython-311-x86_64-linux-gnu.so", "LICENSE"])
    ('fast', 'mine', 'other')
    """
    found = set()
    for name in files:
        first, _, rest = name.partition("/")
        stem, _, suffix = first.partition(".")
        if rest:
            found.add(first)
        elif suffix.endswith(("py", "so", "pyd")):
            found.add(stem)
    return tuple(sorted(found))


def _check_targets(name: str, targets: Mapping[str, Any]) -> None:
    if len(targets) > TARGETS_MAX:
        raise PackageRefused(f"{name}: {len(targets)} entry points; a package has {TARGETS_MAX} at most")
    for target in targets.values():
        if not isinstance(target, str) or not _TARGET.fullmatch(target):
            raise PackageRefused(f"{name}: entry point {target!r:.80} is not module:Class")


def _folder(root: Path) -> dict[str, bytes]:
    """Return the files of a project folder that may be of its package: recorded data beside it may be large, and is not read.

    Raises PackageRefused for too much, and for a link that leads out of the folder.
    """
    found: dict[str, bytes] = {}
    left = UNPACKED_BYTES_MAX
    inside = root.resolve()
    for folder, folders, names in os.walk(root):
        at_the_root = Path(folder) == root
        folders[:] = sorted(
            each
            for each in folders
            if _kept_folder(each) and (not at_the_root or each == "src" or (root / each / "__init__.py").exists())
        )
        for name in sorted(names):
            if at_the_root and not name.endswith((".py", ".toml")):
                continue
            path = Path(folder, name)
            if name.startswith(".") or not path.is_file():
                continue
            if not path.resolve().is_relative_to(inside):
                raise PackageRefused(f"{path} is a link that leads out of the project")
            said = path.relative_to(root).as_posix()
            left -= path.stat().st_size
            if left < 0 or len(found) >= FILES_MAX or len(said) > NAME_CHARS_MAX:
                raise PackageRefused(
                    f"{root}: more than {FILES_MAX} files, {UNPACKED_BYTES_MAX} bytes, or a path of {NAME_CHARS_MAX} characters: "
                    "is this the project's folder?"
                )
            found[said] = path.read_bytes()
    return found


def _project(files: Mapping[str, bytes], source: str) -> Package:
    """Return the package of a project's files."""
    if "pyproject.toml" not in files:
        raise PackageRefused(
            f"{source}: no pyproject.toml, so it is no project; `chipquality detector new NAME` makes one"
        )
    try:
        project = tomllib.loads(files["pyproject.toml"].decode())["project"]
        name, version = str(project["name"]), str(project["version"])
        targets = dict(project.get("entry-points", {}).get(GROUP, {}))
        requires = [str(each) for each in project.get("dependencies", [])]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PackageRefused(
            f"{source}: pyproject.toml has no [project] with name and version that can be read: {error}"
        ) from error
    under = "src/" if any(path.startswith("src/") for path in files) else ""
    code = {path.removeprefix(under): content for path, content in files.items() if path.startswith(under)}
    packages = {PurePosixPath(path).parts[0] for path in code if path.endswith("/__init__.py")}
    kept = {
        path: content
        for path, content in code.items()
        if _kept(path) and (PurePosixPath(path).parts[0] in packages or ("/" not in path and path.endswith(".py")))
    }
    return Package.of(name, version, targets, requires, kept)


def _wheel(files: Mapping[str, bytes], info: str, source: str) -> Package:
    """Return the package of a wheel's files."""
    head = Parser().parsestr(files[f"{info}/METADATA"].decode(errors="replace"))
    entries = ConfigParser(delimiters=("=",), interpolation=None)
    entries.optionxform = str  # type: ignore[assignment, method-assign]  # names of entry points have cases
    try:
        entries.read_string(files.get(f"{info}/entry_points.txt", b"").decode(errors="replace"))
    except Error as error:
        raise PackageRefused(f"{source}: entry_points.txt cannot be read: {error}") from error
    targets = dict(entries[GROUP]) if entries.has_section(GROUP) else {}
    stem = info.removesuffix(".dist-info")
    kept = {
        path: content
        for path, content in files.items()
        if not path.startswith((f"{info}/", f"{stem}.data/")) and not path.endswith(".pyc")
    }
    name, version = head.get("Name", stem), head.get("Version", "0")
    return Package.of(name, version, targets, head.get_all("Requires-Dist", []), kept)


def _kept_folder(name: str) -> bool:
    return name not in _LEFT_OUT and not name.startswith(".") and not name.endswith(".egg-info")


def _kept(path: str) -> bool:
    *folders, name = PurePosixPath(path).parts
    compiled = name.endswith((".pyc", ".nbi", ".nbc"))
    return all(map(_kept_folder, folders)) and not name.startswith(".") and not compiled and path not in _NO_MODULES
