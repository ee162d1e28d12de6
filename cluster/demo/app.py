"""`chipquality demo`: everything up, a real line through it, a live terminal; and `--once`, which measures and stops."""

from __future__ import annotations

import json
import logging
import os
import signal
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from rich.console import Console

from actors.calls import answer
from actors.errors import ReopenError
from actors.kafka.consumer import Offsets, PartitionReader, read_to_end
from actors.producers.publisher import Publisher
from actors.view import vector as vectors
from actors.view.actor import connect
from cluster.config import Config
from cluster.demo import secom
from cluster.demo.stream import Planted, Streamer, missing_letters
from cluster.local.die_with_parent import bind
from cluster.local.reaper import start_reaper
from cluster.product import Product, log_to_file
from schemas.decode import decode_event
from schemas.encode import Encoder
from schemas.registry import Registry
from schemas.topics import ALERTS, CHARTS, MEASUREMENTS, dead_letter_topic, late_topic, schema_text, subject_of

PACED_EVENTS_PER_S = 10_000
LINE_S = 1.0  # between two live lines
CATCH_UP_S = 300.0  # for the pipeline to reach the end of what was produced
ASK_S = 10.0
TROUBLE_CHARS = 80  # of what a live line says of itself

_LOG = logging.getLogger("chipquality.demo")


@contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    """Turn the first Ctrl-C, TERM or hang-up into an orderly stop, and the second into an immediate one.

    An immediate end leaves nothing behind either: local processes and Ray die with this process.
    """

    def handle(_: int, __: FrameType | None) -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()
        os.write(2, b"\nstopping; once more to stop at once\n")
        raise KeyboardInterrupt

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Terminal:
    """Progress for a person: start-up steps with their times, then a live line. All on standard error."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)

    def step(self, what: str, seconds: float) -> None:
        """Tell that a start-up step is done."""
        self.console.print(f"  [green]✓[/green] {what:<28} {seconds:6.1f} s")

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, soft_wrap=True)

    def live(self, text: str) -> None:
        """Replace the live line; on something that is no terminal, print it."""
        if self.console.is_terminal:
            self.console.print(f"\r{text}", end="\x1b[K", soft_wrap=True)
        else:
            self.console.print(text, soft_wrap=True)


def run_demo(config: Config, *, once: bool, wafers_per_s: float, paced_s: float, wafers: int | None) -> int:
    """Run the demo; return the exit code."""
    log_to_file(config)
    started = time.monotonic()
    bind(os.getppid(), signal.SIGTERM)  # a killed parent (make, a terminal) stops us as Ctrl-C does
    start_reaper()
    stop = threading.Event()
    terminal = Terminal()
    with stopping(stop):
        try:
            terminal.say("chipquality: a real semiconductor line through Kafka and Ray to live control charts\n")
            with Product(config, terminal.step, notes=secom.NOTES) as product:
                wait_page(product.page_url)
                page_up_s = time.monotonic() - started
                _introduce(terminal, product, page_up_s)
                demo = Demo(product, terminal, stop)
                if not once:
                    return demo.live(wafers_per_s)
                result, trouble = demo.once(page_up_s, paced_s, wafers)
        except KeyboardInterrupt:
            terminal.say("\nstopped")
            return 130 if once else 0
    for line in trouble:
        terminal.say(f"[red]not as it must be:[/red] {line}")
    print(json.dumps(result), flush=True)  # last of all, after everything else has ended: a program reads this line
    return 1 if trouble else 0


def run_product(config: Config) -> int:
    """Run the product without a demo line, until it is stopped."""
    log_to_file(config)
    start_reaper()
    stop = threading.Event()
    terminal = Terminal()
    with stopping(stop):
        try:
            with Product(config, terminal.step, keep_data=True) as product:
                wait_page(product.page_url)
                terminal.say(f"\n  page  {product.entrance}\n  API   {product.page_url}docs\n{_about_keys(product)}\n")
                stop.wait()
        except KeyboardInterrupt:
            terminal.say("stopped")
    return 0


def wait_page(url: str, timeout_s: float = 30.0) -> None:
    """Wait until the page answers. Raises the last error after the deadline."""
    deadline = time.monotonic() + timeout_s
    unchecked = ssl._create_unverified_context()  # noqa: S323 - nothing is said or believed: does it answer?
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5, context=unchecked) as answer:  # noqa: S310 - our own address
                answer.read()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _introduce(terminal: Terminal, product: Product, page_up_s: float) -> None:
    terminal.say(f"\n  up after {page_up_s:.1f} s; broker and registry: {product.how}")
    terminal.say(f"  page       {product.entrance}")
    terminal.say(f"  API docs   {product.page_url}docs")
    if product.dashboard_url:
        terminal.say(f"  Ray        {product.dashboard_url}")
    terminal.say(_about_keys(product))
    for note in product.notes:
        terminal.say(f"  [dim]{note}[/dim]")
    terminal.say("")


def _about_keys(product: Product) -> str:
    if product.first_key:
        return "  [dim]The address holds a key for everything, shown this once; `chipquality keys` makes others.[/dim]"
    return "  [dim]Sign in with a key; `chipquality keys create` makes one.[/dim]"


class Demo:
    """A line on a running product."""

    def __init__(self, product: Product, terminal: Terminal, stop: threading.Event) -> None:
        self.product = product
        self.terminal = terminal
        self.stop = stop
        cluster = product.cluster
        self.registry = Registry(cluster.registry_url, cluster.registry_client)
        self.publisher = Publisher(cluster.bootstrap_servers, self.registry, cluster.client)
        schema_id = self.registry.register(subject_of(MEASUREMENTS, "measurement"), schema_text("measurement"))
        encoder = Encoder("measurement", schema_id)
        self.streamer = Streamer(self.publisher, encoder, secom.load(), stop, product.config.vectors.vector)
        self.view = connect(product.config.pipeline.name)
        self.offsets = Offsets(cluster)
        self.partitions = tuple(range(product.config.kafka.input_partitions))
        self.reader = PartitionReader(cluster, product.config.pipeline.name, MEASUREMENTS)
        self._before = (time.monotonic(), 0, 0)

    def summary(self) -> dict[str, Any]:
        """Return what the view has read so far."""
        said: dict[str, Any] = answer(self.view.summary.remote(), ASK_S)
        return said

    def live(self, wafers_per_s: float) -> int:
        """Stream at a speed and show a live line until stopped."""
        self.streamer.start(wafers_per_s)
        told = False
        while not self.stop.is_set():
            self.terminal.live(self._figures())
            counts = self.streamer.counts
            if counts.error is not None:
                raise counts.error
            if counts.done and not told:
                told = True
                self.terminal.say(
                    f"\nall {counts.wafers} wafers are streamed; the page stays up; Ctrl-C stops everything"
                )
            self.stop.wait(LINE_S)
        return 0

    def _figures(self) -> str:
        """Return the live line; a broker or a view that is late with its answer ends nothing."""
        from ray.exceptions import RayError  # noqa: PLC0415 - the product has imported it by now

        try:
            return self._line()
        except (ReopenError, RayError) as error:
            _LOG.warning("no figures: %s", error)
            return f"no figures just now: {' '.join(str(error).split())[:TROUBLE_CHARS]}"

    def _line(self) -> str:
        summary, now = self.summary(), time.monotonic()
        seen = summary["judged"] + summary["missing"]
        produced = self.streamer.counts.produced
        then, produced_then, seen_then = self._before
        self._before = (now, produced, seen)
        seconds = max(now - then, 1e-6)
        p95 = summary["latency_ms"]["p95"]
        return (
            f"wafer {self.streamer.counts.wafers:>5}  in {(produced - produced_then) / seconds:>7,.0f}/s  "
            f"judged {(seen - seen_then) / seconds:>7,.0f}/s  alerts {summary['alerts']['opened']:>6,}  "
            f"p95 {'–' if p95 is None else format(p95, '.0f')} ms  lag {self.lag():>7,}"
        )

    def lag(self) -> int:
        """Return how many records are not committed as judged."""
        committed = self.reader.committed(self.partitions)
        return sum(end - (committed[p] or 0) for p, end in self.offsets.end(MEASUREMENTS, self.partitions).items())

    def once(self, page_up_s: float, paced_s: float, wafers: int | None) -> tuple[dict[str, Any], list[str]]:
        """Stream everything as fast as it goes, then a paced phase; return the figures, and what is not as it must be."""
        before = self.summary()
        dead, aside = dead_letter_topic(MEASUREMENTS), late_topic(MEASUREMENTS)
        since = {topic: self.offsets.end(topic, self.partitions) for topic in (dead, aside)}
        started = time.monotonic()
        self.streamer.as_fast_as_it_goes(wafers)
        self._catch_up("streamed")
        seconds = time.monotonic() - started
        events_per_s = self.streamer.counts.produced / seconds
        answer(self.view.mark.remote(), ASK_S)
        self.streamer.paced(PACED_EVENTS_PER_S, paced_s)
        self._catch_up("paced")
        after = self.summary()
        letters = self._letters(dead, since[dead])
        counts = self.streamer.counts
        result = {
            "produced": counts.produced,
            "judged": after["judged"] - before["judged"],
            "missing": after["missing"] - before["missing"],
            "dead_lettered": len(letters),
            "set_aside": len(self._letters(aside, since[aside])),
            "alerts": after["alerts"]["opened"] - before["alerts"]["opened"],
            "events_per_s": round(events_per_s),
            "p95_ms_at_10k": after["since_mark_ms"]["p95"],
            "page_up_s": round(page_up_s, 1),
        }
        faults = {what: after[what] - before[what] for what in ("duplicated", "gaps")}
        trouble = _trouble(result, faults, missing_letters(counts.planted, letters))
        self.publisher.close()
        return result, trouble

    def _catch_up(self, what: str) -> None:
        """Wait, by offsets, until the pipeline has committed all that was produced and the view has read what came of it."""
        ends = self.offsets.end(MEASUREMENTS, self.partitions)
        self._until(lambda: self._reached(self.reader.committed(self.partitions), ends), f"{what}: judging")
        for short, topic in ((vectors.CHARTS, CHARTS), (vectors.ALERTS, ALERTS)):
            out = self.offsets.end(topic, self.partitions, committed=True)
            self._until(partial(self._has_read, short, out), f"{what}: reading {topic}")

    def _has_read(self, short: str, ends: dict[int, int]) -> bool:
        return self._reached(self._read(short), ends)

    def _read(self, topic: str) -> dict[int, int | None]:
        read: dict[int, int | None] = {**vectors.parse(self.summary()["vector"])[topic]}
        return read

    def _reached(self, at: dict[int, int | None], ends: dict[int, int]) -> bool:
        return all((at.get(partition) or 0) >= end for partition, end in ends.items())

    def _until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + CATCH_UP_S
        shown = 0.0
        while not done():
            now = time.monotonic()
            if now > deadline:
                raise TimeoutError(f"{what}: not there after {CATCH_UP_S:.0f} s")
            if now - shown >= LINE_S:
                shown = now
                self.terminal.live(f"{what:<24}{self._figures()}")
            time.sleep(0.02)

    def _letters(self, topic: str, since: dict[int, int]) -> list[dict[str, Any]]:
        """Return the records of this run that were not judged, read from one of their topics."""
        ends = self.offsets.end(topic, self.partitions, committed=True)
        records = read_to_end(self.product.cluster, "chipquality-demo", topic, ends, ASK_S, since)
        return [
            decode_event(value, self.registry.schema)
            for part in records.values()
            for _, value in part
            if value is not None
        ]


def _trouble(result: dict[str, Any], faults: dict[str, int], lost: list[Planted]) -> list[str]:
    """Return what is not as it must be: nothing, if every record came out exactly once and every planted one was found."""
    trouble = [f"no dead letter for {bad}" for bad in lost]
    out = result["judged"] + result["missing"] + result["dead_lettered"] + result["set_aside"]
    if result["produced"] != out:
        trouble.append(f"produced {result['produced']}, but judged + missing + dead-lettered + set aside = {out}")
    return trouble + [f"{count} rows {what} in the output" for what, count in faults.items() if count]
