"""The built-in families, and every detector × every check."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from models.anomaly import RobustZ
from models.builtin import FAMILIES, warm
from models.capability import Capability
from models.checks import CHECKS, check_one
from models.detector import Detector, identity
from models.drift import LearnedCusum
from models.individuals import IndividualsChart
from models.judging import judge
from models.kernel import frozen
from models.xbar import XbarChart
from tests.models.catalogue import DETECTORS


def configurations() -> list[Any]:
    """Return every configuration; of a detector of several, the first one also runs interpreted, where time is dear."""
    names = [detector.name for detector in DETECTORS]
    further = [name in names[:i] for i, name in enumerate(names)]
    return [
        pytest.param(detector, id=identity(detector), marks=[pytest.mark.compiled_only] if more else [])
        for detector, more in zip(DETECTORS, further, strict=True)
    ]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("detector", configurations())
def test_every_detector_passes_every_check(detector: Detector, check: str) -> None:
    check_one(detector, check)


def test_public_names() -> None:
    assert models.__all__ == ["Detector", "SeriesBatch", "Verdicts", "check_detector", "judge"]
    assert all(hasattr(models, name) for name in models.__all__)


@pytest.mark.parametrize("rows", [2, 10, 50, 10_000])
def test_families(rows: int) -> None:
    named: Mapping[str, list[str]] = {
        family: [detector.name for detector in make(rows)] for family, make in FAMILIES.items()
    }
    assert named == {
        "spc": ["spc.individuals", "spc.xbar"],
        "capability": ["capability.running"],
        "anomaly": ["anomaly.robust_z"],
        "drift": ["drift.cusum"],
    }


def test_families_with_the_default_phase_one() -> None:
    assert FAMILIES["spc"](50) == (IndividualsChart(), XbarChart())
    assert FAMILIES["anomaly"](50) == (RobustZ(),)
    assert FAMILIES["drift"](50) == (LearnedCusum(),)
    assert FAMILIES["capability"](50) == (Capability(min_rows=50, ppm=False),)


def test_warm_leaves_nothing_to_compile() -> None:
    """After `warm`, rows of an engine's step do not make numba compile another version of a kernel."""
    detectors = [detector for make in FAMILIES.values() for detector in make(10)]
    warm(detectors)
    kernels = [sys.modules[type(detector).__mro__[-2].__module__]._loop for detector in detectors]
    before = [len(getattr(kernel, "signatures", ())) for kernel in kernels]
    for detector in detectors:
        for check in ("batch cuts", "arguments not modified", "empty batch"):
            check_one(detector, check)
        judge(detector, np.arange(5))
    assert [len(getattr(kernel, "signatures", ())) for kernel in kernels] == before


def test_frozen_is_a_read_only_view() -> None:
    array = np.arange(3.0)
    view = frozen(array, np.float64)
    assert np.shares_memory(view, array)
    assert not view.flags.writeable
    assert array.flags.writeable
    assert frozen(np.arange(3), np.float64).dtype == np.float64


STEP = "from models.kernel import kernel\n@kernel\ndef step(x):\n    return x + {}\n"
TWICE = "from models.kernel import kernel\nfrom step import step\n@kernel\ndef twice(x):\n    return step(step(x))\n"
RUN = "import warnings; from loop import loop; print(loop(1))"
LOOP = "from models.kernel import kernel\nfrom twice import twice\n@kernel\ndef loop(x):\n    return twice(x)\n"


@pytest.mark.processes
def test_a_kernel_is_compiled_anew_when_one_that_it_calls_changes(tmp_path: Path) -> None:
    """numba alone would serve the old code from its cache: it looks at the file of the outermost kernel only."""

    def run() -> str:
        root = Path(models.__file__).parent.parent
        code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(root)!r}]; " + RUN
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()

    for name, text in (("step", STEP.format(1)), ("twice", TWICE), ("loop", LOOP)):
        (tmp_path / f"{name}.py").write_text(text)
    assert run() == "3"
    (tmp_path / "step.py").write_text(STEP.format(10))
    assert run() == "21"
