"""Something that a test does again and again beside what it looks at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def again_and_again(step: Callable[[], object], every_s: float) -> Iterator[None]:
    """Do it on a thread until the block is left; what it raises is an error of the test (filterwarnings)."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(every_s):
            step()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
