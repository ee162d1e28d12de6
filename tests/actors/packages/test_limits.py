"""What a guest may use, and waiting for its code."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from actors.errors import ConfigError
from actors.packages import Guest, Limits, PackageRefused, watching
from actors.packages.compiling import CompileWatch
from actors.packages.watching import within

HELD = """
import os, resource
import numpy as np
from actors.packages.limits import Limits, confine, data_bytes, peak_bytes, relieve
before, priority = data_bytes(), os.nice(0)
confine(Limits(memory_bytes=128 * 2**20, nice=5))
leak = []
try:
    while True:
        leak.append(np.ones(2**20))
except MemoryError:
    print("MemoryError", data_bytes() - before <= 128 * 2**20)
relieve()
leak.append(np.ones(2**20))
print(os.nice(0) - priority, peak_bytes() > 64 * 2**20, resource.getrlimit(resource.RLIMIT_CORE))
"""


@pytest.mark.slow
def test_a_leak_is_a_memory_error_and_the_process_goes_on() -> None:
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines() == ["MemoryError True", "5 True (0, 0)"], done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("cpus", 0.0), ("memory_bytes", 1), ("step_s", 0.0), ("load_s", 1e9), ("nice", 20), ("nice", -1)],
)
def test_limits_that_make_no_sense(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"limit {name} = "):
        Limits(**{name: value})


def test_limits_as_json() -> None:
    assert Limits.of_json(Limits(step_s=2.0).to_json()) == Limits(step_s=2.0)
    assert Limits.of_json({}) == Limits()
    with pytest.raises(ConfigError, match="no limit bytes; there are cpus, memory_bytes"):
        Limits.of_json({"bytes": 3})
    assert Guest().runtime_env()["env_vars"]["OMP_NUM_THREADS"] == "1"


def test_a_call_is_waited_for_so_long() -> None:
    assert within(5.0, "it", lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(5.0, "it", lambda: 1 // 0)
    ends = threading.Event()
    with pytest.raises(PackageRefused, match=r"^loading it was not done within 0.05 s$") as refused:
        within(0.05, "loading it", lambda: ends.wait(30.0))
    assert "ends.wait(30.0)" in refused.value.detail
    ends.set()


def test_time_in_which_kernels_are_compiled_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_S", 0.01)
    told: list[bool] = []

    def compiles() -> int:
        from numba.core import event

        with event.trigger_event("numba:compile"), event.trigger_event("numba:compile"):
            time.sleep(0.3)
        return 4

    with CompileWatch(told.append) as watch:
        assert within(0.2, "it", compiles) == 4
    assert told == [True, False]
    assert 0.3 <= watch.seconds() < 30
