"""What is measured side by side: the product in its two hostings, and its peers, each as a user would start it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from actors import supervisor
from cluster.local import Endpoints
from models.detector import Detector
from models.univariate import UnivariateSet
from tests.bench.stream.data import PHASE_ONE_ROWS
from tests.faults import steering
from tests.integration.line import TestLine

HERE = Path(__file__).parent.parent / "peers"
START_S = 120.0
STOP_S = 20.0
COMMIT_S = 0.05  # between commits, as ours at most, where a system commits by the clock


class Spent(NamedTuple):
    """What processes have taken: seconds of processor time, and bytes that are theirs alone."""

    processor_s: float
    uss: int


@dataclass
class System(ABC):
    """One system over one topic of its own."""

    endpoints: Endpoints
    folder: Path
    partitions: int
    detectors: tuple[Detector, ...] = (UnivariateSet(phase_one_rows=PHASE_ONE_ROWS),)
    slots: int = 1
    commit_s: float = COMMIT_S
    line: TestLine = field(init=False)

    name = ""
    does = ""  # what it does of what was asked for
    tells = "alert"  # what stands in its output

    def __post_init__(self) -> None:
        self.line = TestLine(self.endpoints, self.partitions, {"spc": self.detectors}, self.settings())

    def settings(self) -> dict[str, Any]:
        """Return settings of our pipeline."""
        return {}

    @property
    def group(self) -> str:
        """Return the consumer group by whose offsets its progress is seen; empty: by its output."""
        return self.line.name

    @property
    def out(self) -> str:
        """Return the topic where it tells of what it finds."""
        return self.line.topics.alerts

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start it, and end it afterwards, also where it did not start."""
        try:
            self.start()
            yield
        finally:
            self.stop()

    @abstractmethod
    def start(self) -> None:
        """Start it; return when it consumes."""

    @abstractmethod
    def stop(self) -> None:
        """End it."""

    @abstractmethod
    def processes(self) -> list[psutil.Process]:
        """Return the processes that do its work."""

    def spent(self) -> Spent:
        """Return what its processes have taken so far."""
        every = self.processes()
        times = [process.cpu_times() for process in every]
        return Spent(sum(each.user + each.system for each in times), sum(each.memory_full_info().uss for each in every))


class Ours(System):
    """The product in Ray, detectors in the owner's process."""

    name = "chipquality, in the owner"
    does = "exactly once; I-MR with 8 rules, EWMA, CUSUM, Cpk; every verdict, alerts; state"
    hosting = "owner"

    def settings(self) -> dict[str, Any]:
        """Return what a user gets by default."""
        return {
            "hosting": self.hosting,
            "slots": self.slots,
            "commit_interval_ms": round(COMMIT_S * 1000),
            "snapshot_interval_ms": 5_000,
        }

    def start(self) -> None:
        """Start its supervisor, and wait for the slot."""
        supervisor.start_pipeline(self.line.pipeline())
        supervisor.wait_live(self.line.name, START_S)

    def stop(self) -> None:
        """Stop it in order."""
        supervisor.stop_pipeline(self.line.name)

    def processes(self) -> list[psutil.Process]:
        """Return its owners, and the detectors of the first."""
        name = self.line.name
        pids = {*steering.pids(name).values(), *steering.detector_pids(name).values()}
        return [psutil.Process(pid) for pid in sorted(pids)]


class OursInActors(Ours):
    """The product in Ray, detectors in actors of their own."""

    name = "chipquality, in actors"
    hosting = "actor"


class Peer(System):
    """A program in a process of its own."""

    process: subprocess.Popen[str] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command."""

    def start(self) -> None:
        """Start it, and wait until it says that it runs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = (self.folder / "log").open("w")
        self.process = subprocess.Popen(
            self.command(),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "running" in line:
                return
        raise RuntimeError(f"{self.name} did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """End it."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """Return the program, and what it has started."""
        assert self.process is not None
        program = psutil.Process(self.process.pid)
        return [program, *program.children(recursive=True)]


class PythonPeer(Peer):
    """A peer in Python, in the peers' virtual environment."""

    program = ""
    tells = "verdict"

    def command(self) -> list[str]:
        """Return the command."""
        where = {
            "bootstrap": self.endpoints.bootstrap_servers,
            "registry": self.endpoints.registry_url,
            "topic": self.line.input,
            "out": self.out,
            "group": self.line.name,
            "folder": str(self.folder / "state"),
            "commit-s": str(self.commit_s),
        }
        arguments = [part for name, value in where.items() for part in (f"--{name}", value)]
        return [str(self.python()), str(HERE / self.program), *arguments]

    @classmethod
    def python(cls) -> Path:
        """Return the Python that it runs in; make it first, if it is not there."""
        return python()


class ClientOnly(PythonPeer):
    """A program that needs nothing but Kafka's client, which we have too."""

    @classmethod
    def python(cls) -> Path:
        """Return ours."""
        return Path(sys.executable)


class ByHand(PythonPeer):
    """A loop written by hand."""

    name = "loop by hand"
    does = "at least once; EWMA only; every verdict; no state kept"
    program = "by_hand.py"


class Raw(ClientOnly):
    """Reading itself."""

    name = "raw consume()"
    does = "consumes, and does nothing"
    program = "raw.py"


class Bare(ClientOnly):
    """Kafka itself."""

    name = "bare loop"
    does = "exactly once; copies, and judges nothing"
    program = "bare.py"
    tells = "stamp"


class Quix(PythonPeer):
    """Quix Streams."""

    name = "Quix Streams"
    does = "exactly once; EWMA only; every verdict; state"
    program = "quix.py"


class Bytewax(PythonPeer):
    """Bytewax."""

    name = "Bytewax"
    does = "at least once; EWMA only; every verdict; state"
    program = "bytewax_flow.py"

    @property
    def group(self) -> str:
        """Return that it has none."""
        return ""


class Streams(Peer):
    """Kafka Streams."""

    name = "Kafka Streams"
    does = "exactly once; I-MR with 8 rules, EWMA, CUSUM, Cpk; every verdict, alerts; state"
    store = "memory"
    tells = "verdict"

    def command(self) -> list[str]:
        """Return the command."""
        topics = self.line.topics
        return [
            "java", "-Xmx1g", "-cp", f"{HERE / 'streams' / 'target' / 'libs'}/*", "com.chipquality.bench.Streams",
            self.endpoints.bootstrap_servers, self.endpoints.registry_url, self.line.input, topics.charts, topics.alerts,
            self.line.name, str(self.folder / "state"), "2", self.store, str(round(self.commit_s * 1000)),
        ]  # fmt: skip


class StreamsOnRocks(Streams):
    """Kafka Streams with its usual store."""

    name = "Kafka Streams, RocksDB"
    store = "rocksdb"


SYSTEMS: dict[str, type[System]] = {
    "raw": Raw,
    "bare": Bare,
    "owner": Ours,
    "actors": OursInActors,
    "streams": Streams,
    "streams-rocksdb": StreamsOnRocks,
    "by-hand": ByHand,
    "quix": Quix,
    "bytewax": Bytewax,
}


def python() -> Path:
    """Return the peers' Python; make their virtual environment first, if it is not there."""
    folder = HERE / ".venv"
    found = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        lock = ["--require-hashes", "--no-deps", "-r", str(HERE / "requirements.lock")]
        subprocess.run([str(found), "-m", "pip", "install", "--quiet", *lock], check=True)
        (folder / ".ready").touch()
    return found


def build_streams() -> None:
    """Build the peer in Java, if it is not there."""
    folder = HERE / "streams"
    if not (folder / "target" / "libs").exists():
        subprocess.run(["mvn", "-B", "-q", "-f", str(folder / "pom.xml"), "package"], check=True)
