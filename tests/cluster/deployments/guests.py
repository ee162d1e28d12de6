"""Detector packages for tests: a good one with state, and hostile ones, each as the text of its module."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from actors.packages.package import Package
from actors.packages.store import PackageStore
from models.detector import Detector

_HEAD = '''
from collections.abc import Mapping
from dataclasses import dataclass
import numpy as np
from models.detector import Column, Rule, SeriesBatch, Verdicts


@dataclass(frozen=True)
class Tail:
    """Signals the second value in a row above a limit; counts rows per series."""

    limit: float = 11.0
    name: str = "test.tail"
    version: int = 1
    statistics: tuple = ("run",)
    rules: tuple = (Rule("tail", "two in a row above the limit"),)

    @property
    def state(self) -> Mapping[str, Column]:
        return {"run": Column("i8"), "n": Column("i8")}

    def update(self, state, batch):
        n = len(batch)
        statistic, signal = np.full((n, 1), np.nan), np.zeros(n, np.uint32)
        for i, (row, value) in enumerate(zip(batch.row.tolist(), batch.value.tolist())):
            if not np.isfinite(value):
                continue
            state["n"][row] += 1
            self.meet(state, row, value)
            state["run"][row] = state["run"][row] + 1 if value > self.limit else 0
            statistic[i, 0] = state["run"][row] + state["n"][row] / 1024
            signal[i] = state["run"][row] >= 2
        blank = np.full((n, 1), np.nan)
        return Verdicts(statistic, blank, blank, np.full((n, 1), 2.0), signal, np.isfinite(batch.value))

    def meet(self, state, row, value):
        """What a hostile one does at a row of a series."""
'''

# what they do once a series has had 1,000 rows, at a value that no examination has
_WHEN = "        if state['n'][row] >= 1000 and value == 666.0:\n            "
HOSTILE = {
    "raises": "raise ArithmeticError('the thousandth row is not for me')\n",
    "loops": "while True:\n                pass\n",
    "leaks": "while True:\n                KEPT.append(np.ones(1_000_000))\n",
    "exits": "import os\n            os._exit(3)\n",
}


def package(kind: str = "good") -> Package:
    """Return the package of a detector."""
    text = f"KEPT = []\n{_HEAD}{_WHEN + HOSTILE[kind] if kind in HOSTILE else ''}"
    if kind == "absent":
        return Package.of(
            kind, "1", {"tail": "tail_absent:Tail"}, ["nowhere-to-be-found==9.9.9"], {"tail_absent.py": text.encode()}
        )
    module = "models" if kind == "shadows" else f"tail_{kind}"
    return Package.of(kind, "1", {"tail": f"{module}:Tail"}, [], {f"{module}.py": text.encode()})


def stored(folder: Path, kind: str = "good") -> tuple[str, str]:
    """Put a package into a store; return the store's URL, and the digest."""
    store = PackageStore(str(folder))
    return store.url, store.put(package(kind).data)


def detector(**parameters: Any) -> Detector:
    """Return the good one, made in this process: what an oracle folds with."""
    module = sys.modules.setdefault("tail_good", ModuleType("tail_good"))  # dataclasses look it up
    exec(_HEAD, vars(module))  # noqa: S102 - our own text
    found: Detector = module.Tail(**parameters)
    return found
