"""The one way to compile: a sequential loop over rows, as arrays in and arrays out.

numba's cache on disk notices a change of the file that a kernel stands in, not of a file that it calls into: after an
update of `run_rules.py` alone, the charts would go on with the old rules, without a word. `kernel` therefore adds the
sources of all kernels that a kernel calls to the key of its cache, and the plain numbers that they take from their modules.

Calls are what a short loop pays for. `kernel(inline=True)` puts a kernel's body into each loop that calls it: where LLVM's own
measure refuses, because the body is long, a call costs several nanoseconds a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any, Literal, TypeVar, cast, overload

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, types
from numba.core.caching import FunctionCache
from numba.core.extending import intrinsic

F = TypeVar("F", bound=Callable[..., object])


def _called(function: FunctionType, seen: dict[str, FunctionType]) -> dict[str, FunctionType]:
    """Return `function`, the kernels that it calls, and those that they call, by module and name."""
    key = f"{function.__module__}.{function.__qualname__}"
    if key not in seen:
        seen[key] = function
        for name in function.__code__.co_names:
            callee = getattr(function.__globals__.get(name), "py_func", None)
            if callee is not None:
                _called(callee, seen)
    return seen


def _constants(function: FunctionType) -> Iterator[tuple[str, str]]:
    """Yield the numbers, and tuples of numbers, of its module that `function` names: they stand in the compiled code."""
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if all(isinstance(part, int | float) for part in (value if isinstance(value, tuple) else (value,))):
            yield name, repr(value)


class _Cache(FunctionCache):
    """numba's cache of one function, keyed by the sources of what it calls as well, and by this module's."""

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        called = _called(self._py_func, {})
        digest = hashlib.sha256()
        for file in sorted({__file__, *(function.__code__.co_filename for function in called.values())}):
            digest.update(Path(file).read_bytes())
        for key in sorted(called):
            digest.update(repr((key, *_constants(called[key]))).encode())
        return (*super()._index_key(sig, codegen), digest.hexdigest())  # type: ignore[no-untyped-call]


@overload
def kernel(function: F) -> F: ...
@overload
def kernel(*, inline: bool) -> Callable[[F], F]: ...
def kernel(function: F | None = None, *, inline: bool = False) -> F | Callable[[F], F]:
    """Compile a loop with numba: cached on disk across processes, GIL released, no fast-math.

    Without fast-math, bits do not depend on the CPU.
    The caller sees the function's own type. `function.py_func` is the uncompiled loop, for tests; NUMBA_DISABLE_JIT=1
    runs all kernels uncompiled. A kernel may call other kernels by their name in its module.

    `@kernel(inline=True)` is for a step that a loop calls for every row: its body becomes a part of each caller's. The bits
    are the same. It costs compilation time in every caller, so it is for steps of which a measurement says that it pays.
    """
    if function is None:
        return lambda each: _compiled(each, inline)
    return _compiled(function, inline)


def _compiled(function: F, inline: bool) -> F:
    when: Literal["always", "never"] = "always" if inline else "never"
    compiled: Any = numba.njit(nogil=True, fastmath=False, error_model="numpy", inline=when)(function)
    if compiled is not function:  # NUMBA_DISABLE_JIT returns the function itself
        compiled._cache = _Cache(function)  # type: ignore[no-untyped-call]  # what njit(cache=True) does with its own
    return cast(F, compiled)


# ---- numbers at any byte of a buffer. A kernel that goes beyond the end reads memory that is not its own: ask first.


def word(buffer: np.ndarray, at: int) -> np.uint64:
    """Return the 8 bytes of `buffer` from `at` on as a little-endian number."""
    return np.uint64(int.from_bytes(buffer[at : at + 8].tobytes(), "little"))


def real(buffer: np.ndarray, at: int) -> float:
    """Return the 8 bytes of `buffer` from `at` on as a little-endian double."""
    return float(buffer[at : at + 8].view("<f8")[0])


def short_real(buffer: np.ndarray, at: int) -> float:
    """Return the 4 bytes of `buffer` from `at` on as a little-endian float."""
    return float(buffer[at : at + 4].view("<f4")[0])


def _load(kind: Any, result: Any) -> Any:  # pragma: no cover - runs in the compiler
    @intrinsic
    def load(_context: Any, buffer: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            made = context.make_array(signature.args[0])(context, builder, arguments[0])
            first = builder.bitcast(made.data, ir.IntType(8).as_pointer())
            place = builder.bitcast(builder.gep(first, [arguments[1]]), kind.as_pointer())
            return builder.load(place, align=1)

        return result(buffer, types.intp), generate

    return load


_word, _real, _short_real = (
    _load(ir.IntType(64), types.uint64),
    _load(ir.DoubleType(), types.float64),
    _load(ir.FloatType(), types.float32),
)


@extending.overload(word, inline="always")  # pragma: no cover - the same, and the next two
def _word_of(buffer: np.ndarray, at: int) -> Any:
    def load(buffer: np.ndarray, at: int) -> Any:
        return _word(buffer, at)

    return load


@extending.overload(real, inline="always")  # pragma: no cover
def _real_of(buffer: np.ndarray, at: int) -> Any:
    def load(buffer: np.ndarray, at: int) -> Any:
        return _real(buffer, at)

    return load


@extending.overload(short_real, inline="always")  # pragma: no cover
def _short_real_of(buffer: np.ndarray, at: int) -> Any:
    def load(buffer: np.ndarray, at: int) -> Any:
        return np.float64(_short_real(buffer, at))

    return load
