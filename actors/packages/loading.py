"""From a package to its detector, in this process: fetched, verified, unpacked, put last on sys.path, imported, made.

Theory of operation
-------------------
The folder of a package, and that of its requirements, stand at the end of sys.path: nothing in them can take the place of
what was there. A package whose names can be imported without it is refused all the same, because it would run something
else than it holds. Names of another package that this process has loaded are forgotten first, so that two versions can be
loaded one after the other; what has been made of the old one keeps its code.

Rules of this file: call it in a process of its own, with limits (actors/packages/limits.py). Whatever the code does wrong
becomes a PackageRefused with its traceback. What it does for ever, others must end (actors/packages/watching.py).
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import inspect
import linecache
import sys
import traceback
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from actors.packages.cache import cache_folder, kept
from actors.packages.errors import PackageRefused
from actors.packages.package import Package
from actors.packages.requirements import folder_name, install, missing_here
from actors.packages.store import PackageStore
from models.detector import Description, Detector

OURS = frozenset({"schemas", "models", "actors", "cluster"})
_ARTEFACT = "artefact"  # {"artefact": digest} in parameters
_loaded: set[Path] = set()  # folders of packages, and of what they need, on sys.path


def load(
    store: PackageStore, digest: str, target: str, parameters: Mapping[str, Any], cache: Path | None = None
) -> Detector:
    """Return the detector of a stored package. Raises PackageRefused, in one sentence, with a traceback where there is one."""
    package = Package.get(store, digest)
    cache = cache or cache_folder()
    given = {name: _plain(store, value) for name, value in parameters.items()}
    requirements = installed(package.requires, cache)
    folder = unpacked(package, cache)
    found = class_of(package, folder, target, requirements)
    return made(found, target, given)


def installed(requires: Iterable[str], cache: Path) -> Path | None:
    """Return the folder with what a package needs beside the product; None: nothing. Raises PackageRefused."""
    missing = missing_here(requires, {str(folder) for folder in _loaded})
    if not missing:
        return None
    return kept(cache / "requirements", folder_name(missing), lambda folder: install(missing, folder))


def unpacked(package: Package, cache: Path) -> Path:
    """Return the folder of a package's files. Raises PackageRefused."""

    def make(folder: Path) -> None:
        for name, content in package.files.items():  # names were looked at when the archive was read
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    return kept(cache / "code", package.digest, make)


def class_of(package: Package, folder: Path, target: str, requirements: Path | None = None) -> Any:
    """Return the class that a target names. Raises PackageRefused."""
    module, _, name = target.partition(":")
    folders = {folder} if requirements is None else {requirements, folder}
    forget(folders)
    check_names(package)
    if module.partition(".")[0] not in package.top_level:
        raise PackageRefused(f"{package.name}: {target}: there is no module {module.partition('.')[0]} in it")
    sys.path += [str(path) for path in (requirements, folder) if path is not None and str(path) not in sys.path]
    _loaded.update(folders)
    importlib.invalidate_caches()
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        lacking = (error.name or "").partition(".")[0]
        reason = f"there is no module {module}" if error.name == module else f"it imports {lacking}, which is not there"
        way = (
            ""
            if error.name == module
            else f": if it is a distribution's, add it to dependencies as {lacking}==<version>"
        )
        raise PackageRefused(f"{package.name}: {target}: {reason}{way}", traceback.format_exc()) from error
    except BaseException as error:
        raise _said(f"{package.name}: module {module} cannot be imported", error) from error
    if not inspect.isclass(found):
        what = "there is no" if found is None else "not a"
        raise PackageRefused(f"{package.name}: {target}: {what} class {name} in module {module}")
    return found


def made(found: Any, target: str, parameters: Mapping[str, Any]) -> Detector:
    """Return a detector of a class, made with parameters. Raises PackageRefused."""
    known = _parameters(found)
    if known is not None and (unknown := sorted(set(parameters) - set(known))):
        raise PackageRefused(f"{target} has no parameter {', '.join(unknown)}; it has {', '.join(known) or 'none'}")
    try:
        detector = found(**parameters)
        Description.of(detector)
    except BaseException as error:
        if (lacking := _lacking(found)) and not isinstance(found, Detector):
            raise _said(f"{target} is not a detector: it has no {', '.join(lacking)}", error) from error
        raise _said(f"{target} cannot be made", error) from error
    if not isinstance(detector, Detector):
        raise PackageRefused(f"{target} is not a detector: it has no {', '.join(_lacking(detector))}")
    return detector


def check_names(package: Package) -> None:
    """Raise PackageRefused if a name of the package is somebody else's here."""
    for name in package.top_level:
        if name in OURS:
            whose = "of the product itself"
        elif name in sys.stdlib_module_names:
            whose = "of Python's standard library"
        elif (spec := _spec(name)) is not None:
            whose = f"installed here already ({spec.origin or 'a folder on sys.path'})"
        else:
            continue
        raise PackageRefused(
            f"{package.name}: its module {name} has a name that is {whose}: give it another one, or uninstall that if it is yours"
        )


def forget(keep: Set[Path] = frozenset()) -> None:
    """Forget modules of other packages that this process has loaded, and where they are."""
    for other in _loaded - keep:
        inside = str(other) + "/"
        gone = [
            name for name, module in sys.modules.items() if (getattr(module, "__file__", None) or "").startswith(inside)
        ]
        for name in gone:
            del sys.modules[name]
        sys.path[:] = [path for path in sys.path if path != str(other)]
        sys.path_importer_cache.pop(str(other), None)
        _loaded.discard(other)
    linecache.checkcache()


def _spec(name: str) -> importlib.machinery.ModuleSpec | None:
    """Return where a name would be imported from without any package."""
    paths = [path for path in sys.path if Path(path) not in _loaded]
    if (there := sys.modules.get(name)) is not None and not _is_packages(there):
        return there.__spec__ or importlib.machinery.ModuleSpec(name, None, origin="loaded already")
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        if find is not None and (spec := find(name, None if finder is not importlib.machinery.PathFinder else paths)):
            found: importlib.machinery.ModuleSpec = spec
            return found if found.origin is not None else None  # a folder without __init__.py shadows nothing
    return None


def _is_packages(module: Any) -> bool:
    file = getattr(module, "__file__", None) or ""
    return any(file.startswith(f"{folder}/") for folder in _loaded)


def _parameters(found: Any) -> list[str] | None:
    """Return the names of a class's parameters; None: it takes any."""
    try:
        known = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return None
    if any(each.kind is each.VAR_KEYWORD for each in known.values()):
        return None
    return list(known)


def _lacking(found: Any) -> list[str]:
    return [part for part in ("name", "version", "state", "statistics", "rules", "update") if not hasattr(found, part)]


def _plain(store: PackageStore, value: Any) -> Any:
    """Return a parameter as a constructor takes it: lists become tuples, {"artefact": digest} the fitted model."""
    if isinstance(value, list):
        return tuple(_plain(store, each) for each in value)
    if isinstance(value, Mapping) and set(value) == {_ARTEFACT}:
        return store.get_artefact(str(value[_ARTEFACT]))
    return value


def _said(what: str, error: BaseException) -> PackageRefused:
    """Return what to raise for an error of somebody's code: SystemExit and KeyboardInterrupt among them."""
    last = "".join(traceback.format_exception_only(error)).strip().splitlines()
    said = last[-1][:300] if last else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        said += f" ({Path(error.filename).name}, line {error.lineno})"
    return PackageRefused(f"{what}: {said}", traceback.format_exc())
