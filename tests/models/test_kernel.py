"""What `kernel` adds to numba: a cache that notices every change, steps put into the loops, and asking for memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import models
from models.kernel import kernel, prefetch

STEPS = """from models.kernel import kernel
from far import far, scaled
FIRST = {first}
@kernel(inline=True)
def near(x):
    return x + FIRST
@kernel
def step(x):
    return far(x)
"""
FAR = """from models.kernel import kernel
import numbers_of
SCALE = numbers_of.SCALE
@kernel
def far(x):
    return x + {far}
@kernel
def scaled(x):
    return x * SCALE
"""
LOOP = """from models.kernel import kernel
from far import scaled
from steps import near, step
@kernel
def loop(x):
    return near(0), step(0), scaled(x)
"""


@pytest.mark.processes
def test_the_cache_notices_every_change_of_what_a_kernel_is_made_of(tmp_path: Path) -> None:
    """Of a step put into the loop, of what a called one calls, of a number that a module takes from another."""

    def run(first: int, far: int, scale: int) -> str:
        texts = {"steps": STEPS.format(first=first), "far": FAR.format(far=far), "loop": LOOP}
        for name, text in {**texts, "numbers_of": f"SCALE = {scale}\n"}.items():
            (tmp_path / f"{name}.py").write_text(text)
        root = Path(models.__file__).parent.parent
        code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(root)!r}]; from loop import loop; print(*loop(1))"
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    assert run(1, 1, 1) == "1 1 1"
    assert run(1, 20, 1) == "1 20 1"
    assert run(1, 20, 300) == "1 20 300"
    assert run(4, 20, 300) == "4 20 300"


def test_prefetch_changes_nothing() -> None:
    """Also at the ends of the array, of any dtype and layout of state, read-only or not."""

    @kernel
    def asked(array: np.ndarray) -> int:
        for s in range(array.shape[0]):
            prefetch(array, s, 0)
            prefetch(array, s, 64)
        return int(array.shape[0])

    for array in (np.arange(12.0).reshape(3, 4), np.zeros(5, np.int16), np.zeros(2, [("a", "f8"), ("b", "i8")])):
        array.flags.writeable = False
        before = array.copy()
        assert asked(array) == len(array)
        assert array.tobytes() == before.tobytes()


@pytest.mark.parametrize("inline", [False, True])
def test_a_step_gives_the_same_in_its_callers_or_called(inline: bool) -> None:
    @kernel(inline=inline)
    def step(x: float, y: float) -> float:
        if x > y:
            return x - y
        return x / y

    @kernel
    def loop(x: np.ndarray) -> float:
        total = 0.0
        for i in range(1, len(x)):
            total += step(x[i], x[i - 1])
        return total

    assert loop(np.array([1.0, 3.0, 0.1, 0.3])) == (3.0 - 1.0) + 0.1 / 3.0 + (0.3 - 0.1)
