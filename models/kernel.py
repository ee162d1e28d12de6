"""The one way to compile: a sequential loop over rows with state columns as arrays.

numba's cache on disk notices a change of the file that a kernel stands in, not of a file that it calls into: after an
update of `run_rules.py` alone, the charts would go on with the old rules, without a word. `kernel` therefore adds the
sources of all kernels that a kernel calls to the key of its cache, and the plain numbers that they take from their modules.

Calls and memory are what a short loop pays for. `kernel(inline=True)` puts a kernel's body into each loop that calls it: where
LLVM's own measure refuses, because the body is long, a call costs several nanoseconds a row. `prefetch` asks for the state of
a series some rows before its turn: with 10,000 series it lies outside the nearest cache, and waiting for it costs as much as
a third of a loop's arithmetic.
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


def prefetch(array: np.ndarray, s: int, byte: int) -> None:
    """Ask for the 64 bytes of memory about byte `byte` of row s: in a kernel a hint, which changes nothing; else nothing.

    array: contiguous; s must be a row of it. The answer takes some tens of nanoseconds: ask `AHEAD` rows of the log before.
    """


AHEAD = 4  # rows of the log


@intrinsic  # pragma: no cover - runs in the compiler, and not when the cache has what it made
def _prefetch_line(_context: Any, array: Any, s: Any, byte: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = context.make_array(signature.args[0])(context, builder, arguments[0])
        stride = builder.extract_value(made.strides, 0)
        place = builder.add(builder.mul(stride, arguments[1]), arguments[2])
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        asked = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        to_read, keep, data = number(0), number(3), number(1)
        builder.call(asked, [builder.gep(builder.bitcast(made.data, pointer), [place]), to_read, keep, data])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), generate


@extending.overload(prefetch, inline="always")  # pragma: no cover - the same
def _prefetch(array: np.ndarray, s: int, byte: int) -> Any:
    def line(array: np.ndarray, s: int, byte: int) -> None:
        _prefetch_line(array, s, byte)  # type: ignore[call-arg]  # numba passes the context

    return line


def frozen(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Return a contiguous read-only view of `array`: one type for numba, whoever owns the memory, so one compilation.

    Copies only what is of another dtype or not contiguous.
    """
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view
