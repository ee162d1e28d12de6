"""Packages for tests: a small detector without kernels, and what can be wrong with it."""

from __future__ import annotations

from pathlib import Path

from actors.packages import Package, PackageStore
from cluster.project import TESTS

ABOVE = '''"""A detector for tests."""

from dataclasses import dataclass

import numpy as np

from models.detector import Column, Rule, Verdicts


@dataclass(frozen=True)
class Above:
    """A value is above a limit."""

    limit: float = 12.0
    name = "mine.above"
    version = 1
    statistics = ("value",)
    state = {"seen": Column("i8"), "last": Column("f8", (), np.nan)}
    rules = (Rule("above", "the value is above the limit", "critical"),)

    def update(self, state, batch):
        n = len(batch)
        valid = np.isfinite(batch.value)
        np.add.at(state["seen"], batch.row[valid], 1)
        for i in np.flatnonzero(valid):
            state["last"][batch.row[i]] = batch.value[i]
        nothing = np.full((n, 1), np.nan)
        signal = (valid & (batch.value > self.limit)).astype(np.uint32)
        return Verdicts(batch.value.reshape(n, 1).copy(), nothing, nothing, np.full((n, 1), self.limit), signal, valid)
'''
_UPDATE = "        n = len(batch)\n"

HANGS_AT_IMPORT = ABOVE + "\nwhile True:\n    pass\n"
RAISES_AT_IMPORT = ABOVE + "\nraise OSError('no licence')\n"
EXITS_AT_IMPORT = ABOVE + "\nraise SystemExit(3)\n"
HANGS_IN_UPDATE = ABOVE.replace(_UPDATE, _UPDATE + "        while n:\n            pass\n")
RAISES_IN_CONSTRUCTOR = ABOVE.replace(
    "    def update", "    def __post_init__(self):\n        raise RuntimeError('no data file')\n\n    def update"
)
LEAKS = ABOVE.replace(_UPDATE, _UPDATE + "        LEAK.append(np.ones(2_000_000))\n") + "\nLEAK = []\n"
DIES = ABOVE.replace(_UPDATE, _UPDATE + "        import os; print('about to die', flush=True); os._exit(3)\n")
RAISES_LATER = ABOVE.replace(
    _UPDATE, _UPDATE + "        if (state['seen'] > 100).any():\n            raise ZeroDivisionError('row 100')\n"
)
DEPENDS_ON_CUTS = ABOVE.replace("np.full((n, 1), self.limit)", "np.full((n, 1), float(n))")


def package_of(code: str = ABOVE, name: str = "above_all", requires: tuple[str, ...] = ()) -> Package:
    """Return a package of one module."""
    return Package.of(name, "0.1", {"above": f"{name}:Above"}, requires, {f"{name}.py": code.encode()})


def stored(folder: Path, *packages: Package) -> PackageStore:
    """Return a store in a folder with these packages."""
    store = PackageStore(str(folder / "store"))
    for package in packages:
        store.put(package.data)
    return store


def project(folder: Path, code: str = ABOVE, *, name: str = "above-all", dependencies: str = "") -> Path:
    """Write a project folder."""
    module = name.replace("-", "_")
    for path, content in {
        "pyproject.toml": f'[project]\nname = "{name}"\nversion = "0.1"\ndependencies = [{dependencies}]\n'
        f'[project.entry-points."chipquality.detectors"]\nabove = "{module}:Above"\n',
        f"{module}/__init__.py": code,
        f"{module}/table.csv": "a,b\n",
        f"{module}/__pycache__/x.pyc": "no",
        f"{TESTS}/test_it.py": "no",
        "setup.py": "no",
        "data/rows.csv": "no",
        "rows.csv": "no",
        ".git/config": "no",
    }.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder
