"""Every notebook of examples/ runs from its first cell to its last, in a real kernel, against a product that runs.

A notebook is added by putting it into examples/ and its expectations into `EXPECTED`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from cluster.local import Endpoints
from tests.examples.notebooks import EXAMPLES, kernel_environment, run_notebook
from tests.examples.product_line import RunningProduct, running_product

NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
BESIDE_A_DEMO = {"idea_to_live.ipynb"}  # tests/integration/test_tutorial.py runs it: it deploys


def first_steps(facts: dict[str, Any]) -> None:
    assert facts["events"] == {"measurement": 52_403, "inspection": 1_571}
    assert facts["delivered"] == facts["events"]
    assert facts["judged"] == 52_403
    assert facts["series"] == 74
    assert facts["alerts"] > 0
    assert facts["plotted"] == 500
    assert facts["cpk"] is None or isinstance(facts["cpk"], float)
    assert facts["bins"] > 5


# notebook → what is asked of it when it has run, as Python, and what must hold of the answer
EXPECTED: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "first_steps.ipynb": (
        "{'events': imported['events'], 'delivered': imported['delivered'], 'judged': judged(), 'series': len(series),"
        " 'alerts': len(alerts), 'plotted': len(plotted), 'cpk': capability['Cpk'], 'bins': dies['defect_type'].nunique()}",
        first_steps,
    ),
}


@pytest.fixture(scope="module")
def product(stack: Endpoints) -> Iterator[RunningProduct]:
    with running_product(stack) as running:
        yield running


@pytest.fixture
def kernel(product: RunningProduct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel_environment(monkeypatch, tmp_path, product.environment())


def test_every_notebook_is_expected() -> None:
    assert {path.name for path in NOTEBOOKS} == EXPECTED.keys() | BESIDE_A_DEMO


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_without_its_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in cells if cell.outputs or cell.execution_count is not None] == []


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("name", EXPECTED)
def test_a_notebook_runs_to_its_end(name: str) -> None:
    asked, holds = EXPECTED[name]
    holds(run_notebook(EXAMPLES / name, asked))
