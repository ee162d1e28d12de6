"""Running a notebook of examples/ as it stands, in a real kernel."""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
CELL_S = 150  # of one cell


def kernel_environment(monkeypatch: pytest.MonkeyPatch, folder: Path, product: Mapping[str, str]) -> None:
    """Set the environment of a kernel: where the product is, our programs first, and nothing of whoever runs the tests."""
    for name, value in product.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CHIPQUALITY_RUN", uuid.uuid4().hex[:8])
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("MPLBACKEND", "agg")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(folder / name.lower()))


def run_notebook(path: Path, asked: str) -> dict[str, Any]:
    """Run every cell; return what it knows afterwards: `asked`, a dictionary as Python."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({asked}))"))
    NotebookClient(notebook, timeout=CELL_S, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    facts: dict[str, Any] = json.loads(notebook.cells[-1].outputs[-1].text)
    return facts
