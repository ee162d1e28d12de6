"""When this process compiles kernels: that takes seconds, and is no sign of code that never ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from numba.core import event

COMPILE_S = 60.0  # for all kernels of a phase
_EVENT = "numba:compile"


class CompileWatch(event.Listener):
    """Adds up how long numba has compiled; tells when it begins and ends, if somebody wants to know."""

    def __init__(self, tell: Callable[[bool], None] | None = None) -> None:
        self._tell = tell
        self._depth = 0
        self._since = 0.0
        self._total_s = 0.0

    def __enter__(self) -> CompileWatch:
        event.register(_EVENT, self)  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *_: object) -> None:
        event.unregister(_EVENT, self)  # type: ignore[no-untyped-call]

    def on_start(self, _event: Any) -> None:
        """Take notice of the first of some compilations inside each other."""
        self._depth += 1
        if self._depth == 1:
            self._since = time.monotonic()
            if self._tell is not None:
                self._tell(True)

    def on_end(self, _event: Any) -> None:
        """Take notice of the end of the outermost."""
        self._depth -= 1
        if self._depth == 0:
            self._total_s += time.monotonic() - self._since
            if self._tell is not None:
                self._tell(False)

    def seconds(self) -> float:
        """Return how long it has compiled, until now."""
        running = time.monotonic() - self._since if self._depth else 0.0
        return self._total_s + running
