"""The project that `chipquality detector new` writes: its files are templates beside this one, with $names in them."""

from __future__ import annotations

import csv
import io
import re
import sys
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np

from actors.errors import ConfigError
from actors.packages.loading import OURS

NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
NAME_CHARS_MAX = 40
TEMPLATES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "package.py.txt": "{module}/__init__.py",
    "detector.py.txt": "{module}/detector.py",
    "test_detector.py.txt": "{tests}/test_detector.py",
}
TESTS, SAMPLE = "tests", "data/sample.csv"
_SERIES = ("ETCH-01|A|POLY|4200|CD_WIDTH", "ETCH-02|A|POLY|4200|CD_WIDTH")
_ROWS = 120  # of each series
_SHIFT_FROM, _SHIFT = 80, 4.0  # sigmas, of the second series: the middle of every third wafer jumps


def new_project(name: str, parent: Path) -> list[Path]:
    """Write a detector project into a new folder of this name; return its files. Raises ConfigError."""
    module = module_of(name)
    folder = parent / name
    if folder.exists():
        raise ConfigError(f"{folder} is there already: take another name, or --dir")
    said = {"name": name, "module": module, "class_name": "".join(map(str.capitalize, module.split("_")))}
    here = files(__name__)
    contents = {
        target.format(module=module, tests=TESTS): Template((here / template).read_text(encoding="utf-8")).substitute(
            said
        )
        for template, target in TEMPLATES.items()
    }
    contents[SAMPLE] = sample()
    for path, content in contents.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return [folder / path for path in contents]


def module_of(name: str) -> str:
    """Return the module's name of a project. Raises ConfigError for one that cannot be, or is somebody else's.

    >>> module_of("edge-roughness")
    'edge_roughness'
    """
    if not NAME.fullmatch(name) or len(name) > NAME_CHARS_MAX:
        raise ConfigError(
            f"{name[:80]!r}: small letters, digits, and single - or _ between them, a letter first, "
            f"{NAME_CHARS_MAX} at most"
        )
    module = name.replace("-", "_")
    if module in OURS or module in sys.stdlib_module_names or module in {TESTS, "data"}:
        raise ConfigError(f"{name}: a module of that name is there already (of the product or of Python): take another")
    return module


def sample() -> str:
    """Return sample data as CSV: two series about 50 with sigma 1; from row 80 on, one value in three of the second jumps."""
    random = np.random.default_rng(1)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["series", "event_time_ms", "value"])
    for i in range(_ROWS):
        for s, series in enumerate(_SERIES):
            jump = _SHIFT if s == 1 and i >= _SHIFT_FROM and i % 3 == 0 else 0.0
            rows.writerow([series, 1_700_000_000_000 + 60_000 * i + s, f"{random.normal(50.0 + jump, 0.6):.3f}"])
    return text.getvalue()
