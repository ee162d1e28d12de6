"""The one way to compile: a sequential loop over rows with state columns as arrays.

numba's cache on disk notices a change of the file that a kernel stands in, not of a file that it calls into: after an
update of `run_rules.py` alone, the charts would go on with the old rules, without a word. `kernel` therefore adds the
sources of all kernels that a kernel calls to the key of its cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core.caching import FunctionCache

F = TypeVar("F", bound=Callable[..., object])


def _called_files(function: FunctionType, seen: set[str]) -> set[str]:
    """Return the source files of the kernels that `function` calls, and of those that they call."""
    for name in function.__code__.co_names:
        callee = getattr(function.__globals__.get(name), "py_func", None)
        if callee is not None and callee.__code__.co_filename not in seen:
            seen.add(callee.__code__.co_filename)
            _called_files(callee, seen)
    return seen


class _Cache(FunctionCache):
    """numba's cache of one function, keyed by the sources of what it calls as well."""

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        digest = hashlib.sha256()
        for file in sorted(_called_files(self._py_func, set())):
            digest.update(Path(file).read_bytes())
        return (*super()._index_key(sig, codegen), digest.hexdigest())  # type: ignore[no-untyped-call]


def kernel(function: F) -> F:
    """Compile a loop with numba: cached on disk across processes, GIL released, no fast-math.

    Without fast-math, bits do not depend on the CPU.
    The caller sees the function's own type. `function.py_func` is the uncompiled loop, for tests; NUMBA_DISABLE_JIT=1
    runs all kernels uncompiled. A kernel may call other kernels by their name in its module.
    """
    compiled: Any = numba.njit(nogil=True, fastmath=False, error_model="numpy")(function)
    if compiled is not function:  # NUMBA_DISABLE_JIT returns the function itself
        compiled._cache = _Cache(function)  # type: ignore[no-untyped-call]  # what njit(cache=True) does with its own
    return cast(F, compiled)


def frozen(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Return a contiguous read-only view of `array`: one type for numba, whoever owns the memory, so one compilation.

    Copies only what is of another dtype or not contiguous.
    """
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view
