"""Where an owner's time goes: processor time a record, by part of the loop and by thread, under a full stream.

    .venv/bin/python -m tests.bench.stream.profile

The slot runs in this process, as it does in an owner with `hosting: owner`; a producer beside it writes as fast as records are
consumed. The parts of our two threads are measured by the threads' own clocks, without what they call that has a line of its own;
the threads of librdkafka by what the kernel says of them.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

import actors.engine.family
import actors.kafka.consumer
from actors.collecting import collect_seldom
from actors.engine.family import FamilyFold
from actors.engine.fold import PartitionFold
from actors.engine.judge import Judge
from actors.kafka.consumer import PartitionReader
from actors.kafka.transaction import TransactionalWriter
from actors.slot import Slot
from cluster.config import load
from cluster.local import LocalStack
from schemas.columnar.reader import ColumnReader, warm
from schemas.decode import MeasurementDecoder
from tests.bench.stream.feeding import Feeding
from tests.bench.stream.rounds import PARTITIONS, SERIES
from tests.bench.stream.sustained import LAG, WARM_S
from tests.bench.stream.systems import Ours

TICKS_S = 0.01  # the kernel counts processor time in these
PARTS: list[tuple[object, str, str]] = [
    (PartitionReader, "_consume", "poll: consume(), a Message for every record"),
    (PartitionReader, "poll", "poll: the rest"),
    (actors.kafka.consumer, "_raw", "poll: offsets, times, keys, values of the messages"),
    (ColumnReader, "read", "decode: join, and the kernel that reads Avro"),
    (MeasurementDecoder, "decode", "decode: codes of series, lots, wafers"),
    (PartitionFold, "begin", "begin a step: the rest"),
    (Judge, "step", "judge: the detectors and the book of alerts"),
    (actors.engine.family, "pack_bounded", "charts: pack into Arrow"),
    (FamilyFold, "step", "judge: the rest"),
    (PartitionFold, "conclude", "conclude: position, alerts, letters, pages"),
    (Slot, "step", "the slot: the rest"),
    (TransactionalWriter, "_produce_all", "commit: produce() and flush()"),
    (TransactionalWriter, "_send_offsets", "commit: send offsets"),
    (TransactionalWriter, "_end", "commit: end"),
]


class Parts:
    """Seconds of processor time by part, without what a part calls that is one itself. For several threads."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self._inner = threading.local()

    def timed(self, call: Callable[..., Any], part: str) -> Callable[..., Any]:
        """Return a function that is counted."""

        @functools.wraps(call)
        def counted(*arguments: Any, **named: Any) -> Any:
            outer = getattr(self._inner, "s", 0.0)
            self._inner.s = 0.0
            began = time.thread_time()
            try:
                return call(*arguments, **named)
            finally:
                took = time.thread_time() - began
                self.spent[part] += took - self._inner.s  # type: ignore[assignment]  # a Counter adds floats as well
                self._inner.s = outer + took

        return counted

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what is called meanwhile."""
        plain = [(place, name, getattr(place, name)) for place, name, _ in PARTS]
        for place, name, part in PARTS:
            setattr(place, name, self.timed(getattr(place, name), part))
        try:
            yield
        finally:
            for place, name, call in plain:
                setattr(place, name, call)


class InThisProcess(Ours):
    """The slot on a thread of this process."""

    name = "chipquality, in this process"

    def start(self) -> None:
        """Open the slot, and let it step."""
        warm()
        collect_seldom()
        self._over = threading.Event()
        self._slot = self.line.slot()
        self._slot.open()
        self._thread = threading.Thread(target=self._run, name="slot")
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            self._slot.step()
        self._slot.close()

    @property
    def steps(self) -> int:
        """Return how many steps it has taken."""
        return self._slot.status.steps

    def stop(self) -> None:
        """Close it."""
        self._over.set()
        self._thread.join()

    def processes(self) -> list[psutil.Process]:
        """Return this one."""
        return [psutil.Process()]


def by_thread() -> dict[str, float]:
    """Return seconds of processor time by name of thread."""
    spent: Counter[str] = Counter()
    for task in Path("/proc/self/task").iterdir():
        name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
        user, system = rest.split()[11:13]
        spent[name] += (int(user) + int(system)) * TICKS_S  # type: ignore[assignment]
    return dict(spent)


def table(parts: Mapping[str, float], threads: Mapping[str, float], whole_s: float, records: int) -> str:
    """Return the parts of our threads, then librdkafka's threads, in microseconds a record and in percent."""
    every = {part: parts.get(part, 0.0) for _, _, part in PARTS}
    every |= {f"librdkafka: thread {name}": spent for name, spent in sorted(threads.items()) if name.startswith("rdk:")}
    every["what no line above says"] = whole_s - sum(every.values())
    lines = ["| part | µs a record | % |", "|---|---|---|"]
    for part, spent in (*every.items(), ("together", whole_s)):
        lines.append(f"| {part} | {spent / records * 1e6:.3f} | {spent / whole_s * 100:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Processor time of an owner, by part.")
    parser.add_argument("--window", type=float, default=30.0, help="seconds")
    parser.add_argument("--series", type=int, default=SERIES)
    parser.add_argument("--partitions", type=int, default=PARTITIONS)
    asked = parser.parse_args()
    parts = Parts()
    with tempfile.TemporaryDirectory() as folder, LocalStack(Path(folder) / "stack", cache=load().local.cache) as stack:
        system = InThisProcess(stack.endpoints, Path(folder) / "of-it", asked.partitions)
        with parts.counted(), system.running(), Feeding(system, asked.series, lag=LAG) as feeding:
            began = time.monotonic()
            told = feeding.told()
            while time.monotonic() - began < WARM_S:
                told = feeding.told()
            first, spent, threads, of_parts = told, time.process_time(), by_thread(), Counter(parts.spent)
            steps = system.steps
            while told["at"] - first["at"] < asked.window:
                told = feeding.told()
            whole_s = time.process_time() - spent
            of_threads = {name: now - threads.get(name, 0.0) for name, now in by_thread().items()}
            of_window = {part: now - of_parts[part] for part, now in parts.spent.items()}
            steps = system.steps - steps
    records = told["consumed"] - first["consumed"]
    seconds = told["at"] - first["at"]
    sys.stdout.write(table(of_window, of_threads, whole_s, records))
    sys.stdout.write(f"\n{records / seconds:,.0f} records a second, {records / steps:,.0f} a step\n")


if __name__ == "__main__":
    main()
