"""A loop that only consumes, and commits now and then: what reading a topic takes at least.

The garbage collector is off: it would walk the records of a call, and take as long as reading them.
"""

from __future__ import annotations

import gc
import time

from common import arguments, say_running, subscribed


def main() -> None:
    """Consume for ever."""
    asked = arguments()
    consumer = subscribed(asked)
    gc.disable()
    say_running()
    committed = time.monotonic()
    while True:
        messages = consumer.consume(10_000, 0.02)
        if messages and time.monotonic() - committed > asked.commit_s:
            consumer.commit(asynchronous=True)
            committed = time.monotonic()


if __name__ == "__main__":
    main()
