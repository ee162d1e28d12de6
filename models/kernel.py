"""Kernels of detectors: `kernel` compiles them (schemas/kernel.py); here is what a loop over state columns needs besides.

Memory is what such a loop pays for. `prefetch` asks for the state of a series some rows before its turn: with 10,000 series it
lies outside the nearest cache, and waiting for it costs as much as a third of a loop's arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, types
from numba.core.extending import intrinsic

from schemas.kernel import kernel

__all__ = ["AHEAD", "frozen", "kernel", "prefetch"]


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
