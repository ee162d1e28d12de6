"""What a package needs beside the product: pinned, installed into a folder of its own, the same on every node.

Theory of operation
-------------------
A package names the distributions that it imports as `name==version`, all of them: pip installs exactly these (`--no-deps`),
so that two nodes, or two years, cannot have different ones. What one of them needs in turn, and nobody has named, is said.
What the product itself stands on (numpy, numba, …) is there in the product's version: a package may say which it can live
with, and cannot have another. Ray's own way (`runtime_env` with `pip`) copies the whole virtual environment for every set
of requirements, and may put another numpy below our kernels; here a set is a folder at the end of sys.path.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from actors.packages.errors import PackageRefused

REQUIREMENTS_MAX = 50
INSTALL_S = 120.0  # for pip; a distribution that does not exist takes it some seconds
PRODUCT = "chipquality"
_PIP_LINES = 12  # of what pip says last


@cache
def ours() -> frozenset[str]:
    """Return the names of the distributions that the product itself needs, and its own."""
    try:
        needed = metadata.requires(PRODUCT) or []
    except metadata.PackageNotFoundError:
        needed = []
    required = (Requirement(line) for line in needed)
    return frozenset({PRODUCT, *(canonicalize_name(each.name) for each in required if _applies(each))})


def requirements_of(lines: Iterable[str], source: str) -> tuple[str, ...]:
    """Return requirements in one form, sorted, without those of extras. Raises PackageRefused for one that is not pinned."""
    found: dict[str, str] = {}
    for line in lines:
        try:
            wanted = Requirement(line)
        except InvalidRequirement as error:
            raise PackageRefused(f"{source}: requirement {line[:200]!r}: {error}") from error
        if not _applies(wanted):
            continue
        wanted.marker = None
        name = canonicalize_name(wanted.name)
        if wanted.url:
            raise PackageRefused(f"{source}: requirement {line[:200]!r} is an address: write {name}==<version>")
        if name not in ours() and not _pinned(wanted):
            raise PackageRefused(
                f"{source}: requirement {line[:200]!r} is not pinned: write {name}==<version>, so that every node and every "
                "replay has the same"
            )
        if found.setdefault(name, str(wanted)) != str(wanted):
            raise PackageRefused(f"{source}: {name} is required twice, as {found[name]} and {wanted}")
    if len(found) > REQUIREMENTS_MAX:
        raise PackageRefused(f"{source}: {len(found)} requirements; a package has {REQUIREMENTS_MAX} at most")
    return tuple(found[name] for name in sorted(found))


def missing_here(requires: Iterable[str], elsewhere: Collection[str] = ()) -> tuple[str, ...]:
    """Return those that are to be installed: the product has not got them. `elsewhere`: of sys.path, what is not the product's.

    Raises PackageRefused for one that the product has in another version, or lacks.
    """
    missing = []
    for line in requires:
        wanted = Requirement(line)
        there = _version_here(wanted.name, elsewhere)
        if there is None and not _pinned(wanted):
            raise PackageRefused(f"it requires {line}, which is not installed here")
        if there is None:
            missing.append(line)
        elif not wanted.specifier.contains(there, prereleases=True):
            raise PackageRefused(
                f"it requires {line}, and the product runs with {wanted.name} {there}: a package cannot have another version of "
                "what is installed already"
            )
    return tuple(missing)


def folder_name(requires: Iterable[str]) -> str:
    """Return the name of the folder in which these are installed: another Python has another."""
    said = "\n".join([sys.implementation.cache_tag, *sorted(requires)])
    return hashlib.sha256(said.encode()).hexdigest()


def install(requires: Iterable[str], folder: Path) -> None:
    """Let pip install exactly these into a folder. Raises PackageRefused with pip's own words."""
    pins = sorted(requires)
    command = [sys.executable, "-m", "pip", "install", "--target", str(folder), "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--no-warn-script-location", "--quiet", "--no-compile", *pins]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise PackageRefused(f"pip did not install {', '.join(pins)} within {INSTALL_S:.0f} s") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")]
        reason = errors[-1] if errors else (said or ["it says nothing"])[-1]
        raise PackageRefused(f"pip cannot install {', '.join(pins)}: {reason}", "\n".join(said[-_PIP_LINES:]))
    if lacking := sorted(set(_lacking(folder))):
        raise PackageRefused(f"{'; '.join(lacking)}: name it too, with its version")


def _lacking(folder: Path) -> Iterator[str]:
    """Yield what distributions in a folder need that is neither there nor in the product."""
    there = {canonicalize_name(each.metadata["Name"]): each for each in metadata.distributions(path=[str(folder)])}
    for name, installed in there.items():
        for line in installed.requires or ():
            wanted = Requirement(line)
            if not _applies(wanted):
                continue
            other = there.get(canonicalize_name(wanted.name))
            version = other.version if other is not None else _version_here(wanted.name)
            if version is None:
                yield f"{name} needs {_plain(wanted)}, which is not required"
            elif not wanted.specifier.contains(version, prereleases=True):
                yield f"{name} needs {_plain(wanted)}, and {wanted.name} {version} is there"


def _version_here(name: str, elsewhere: Collection[str] = ()) -> str | None:
    paths = [path for path in sys.path if path not in elsewhere]
    return next((each.version for each in metadata.distributions(name=name, path=paths)), None)


def _plain(wanted: Requirement) -> str:
    return f"{wanted.name}{wanted.specifier}"


def _pinned(wanted: Requirement) -> bool:
    each = list(wanted.specifier)
    return len(each) == 1 and each[0].operator in ("==", "===") and "*" not in each[0].version


def _applies(wanted: Requirement) -> bool:
    environment = {key: str(value) for key, value in default_environment().items()}
    return wanted.marker is None or wanted.marker.evaluate({**environment, "extra": ""})
