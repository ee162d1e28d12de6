"""A broker (or three) and a registry on this machine, for as long as we live, or until `chipquality local down`.

*Theory of operation.* `start` takes the first way that is open: what the caller has already; Java, with jars from the
cache or from Maven; Docker. Every process is bound to us (processes.py), so a stack needs no clean-up after a crash.
Kept data is in `kept/`, other data in `temporary/`, which is deleted at the stop and, after a crash, at the next start.
A lock on the folder keeps two stacks apart: the kernel lets go of it when we die.

Rules of this file: all that can be known to fail is checked before the first process starts; a start that fails leaves
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cluster.local import broker, docker, registry, running
from cluster.local.errors import WAYS_OUT, LocalStackError, ToolMissingError
from cluster.local.fetch import Programs, fetch
from cluster.local.folder import Claim
from cluster.local.java import find_java
from cluster.local.preflight import MIB, free_ports, plain_path, require_free, require_space
from cluster.local.processes import Child, stop_all
from cluster.local.warm import with_archives

if TYPE_CHECKING:
    from cluster.config import Config

DATA_BYTES_MIN = 512 * MIB
_STOP_GRACE_S = {True: 30.0, False: 3.0}  # by keep_data: what is deleted anyway need not stop in order

Progress = Callable[[str, float], None]  # (step, seconds it took)


@dataclass(frozen=True)
class Endpoints:
    """Where clients go."""

    bootstrap_servers: str
    registry_url: str  # what confluent-kafka's registry client takes as `url`; "" if no registry was asked for
    how: str  # "java", "docker", "yours"


def _silent(step: str, seconds: float) -> None:
    pass


@dataclass
class LocalStack:
    """A context manager around `start` and `stop`. A port that is None is chosen from the free ones.

    `bootstrap_servers` and `registry_url` are what the caller has already: only what is missing is started.
    `keep_running`: the processes outlive us; `chipquality local down` finds them by the state file in `directory`.
    """

    directory: Path
    cache: Path
    brokers: int = 1
    registry: bool = True
    kafka_port: int | None = None  # three brokers take this one and the next two
    registry_port: int | None = None
    keep_data: bool = False
    keep_running: bool = False
    bootstrap_servers: str | None = None
    registry_url: str | None = None
    data_bytes_min: int = DATA_BYTES_MIN
    advertised_ports: Sequence[
        tuple[int, int]
    ] = ()  # by broker, for clients and for the quorum: those of a proxy between
    _children: dict[str, Child] = field(default_factory=dict, init=False, repr=False)
    _starters: dict[str, Callable[[], Child]] = field(default_factory=dict, init=False, repr=False)
    _nodes: list[broker.Node] = field(default_factory=list, init=False, repr=False)
    _containers: docker.Containers | None = field(default=None, init=False, repr=False)
    _claim: Claim | None = field(default=None, init=False, repr=False)
    _registry_port: int = field(default=0, init=False, repr=False)
    _data: Path = field(default=Path(), init=False, repr=False)
    _endpoints: Endpoints | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.brokers not in (1, 3):
            raise LocalStackError(f"{self.brokers} brokers: 1 or 3 can be started")
        self.directory = plain_path(Path(self.directory), "local.directory")
        self.cache = plain_path(Path(self.cache), "local.cache")

    @classmethod
    def from_config(
        cls, config: Config, *, brokers: int = 1, keep_data: bool = False, keep_running: bool = False
    ) -> LocalStack:
        """Return the stack that the settings ask for: what they point to elsewhere is not started."""
        return cls(
            config.local.directory,
            config.local.cache,
            brokers=brokers,
            kafka_port=config.local.kafka_port,
            registry_port=config.local.registry_port,
            keep_data=keep_data,
            keep_running=keep_running,
            bootstrap_servers=config.kafka.bootstrap_servers,
            registry_url=config.registry.url,
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """Name → process id: "broker-1" …, "registry". Empty on the Docker way."""
        return {name: child.pid for name, child in self._children.items()}

    @property
    def endpoints(self) -> Endpoints:
        """Where clients go. Raises LocalStackError before the start and after the stop."""
        if self._endpoints is None:
            raise LocalStackError("the local stack is not running")
        return self._endpoints

    def start(self, progress: Progress = _silent) -> Endpoints:
        """Start what is missing and wait until it answers; `progress` is told each step and its seconds.

        Raises LocalStackError with one line for a person; nothing is left running then.
        """
        try:
            self._start(progress)
        except BaseException as error:
            self.stop()
            if isinstance(error, OSError):
                raise LocalStackError(f"the local stack cannot start: {error}") from error
            raise
        return self.endpoints

    def _start(self, progress: Progress) -> None:
        if not (self._wants_kafka or self._wants_registry):
            self._endpoints = self._where("yours")
            return
        self._claim = Claim(self.directory, keep_data=self.keep_data, brokers=self.brokers)
        self._data = self._claim.data
        require_space(self.directory, self.data_bytes_min, "the broker's data", "local.directory")
        self._choose_ports()
        try:
            programs = self._programs(progress)
        except ToolMissingError as missing:
            self._start_containers(missing, progress)
        else:
            self._start_processes(programs, progress)
        if self.keep_running:
            self._let_run()

    def stop(self) -> None:
        """Stop everything; temporary data is deleted. Nothing running: nothing happens."""
        try:
            stop_all(self._children.values(), _STOP_GRACE_S[self.keep_data])
            if self._containers:
                self._containers.stop()
        finally:
            if self._claim:
                self._claim.release()
            self._children, self._starters, self._nodes = {}, {}, []
            self._containers = self._claim = self._endpoints = None

    def check(self) -> None:
        """Raise LocalStackError, with the end of its log, if a process that we started has died."""
        for child in self._children.values():
            child.check()

    def kill(self, name: str) -> None:
        """End one process with SIGKILL, for tests of what happens then."""
        self._children[name].kill()

    def terminate(self, name: str) -> None:
        """Ask one process to stop in order, as a rolling restart does, and wait until it has."""
        child = self._children[name]
        child.terminate()
        if not child.wait(_STOP_GRACE_S[True]):
            raise child.failure(f"does not stop in {_STOP_GRACE_S[True]:.0f} s")

    def restart(self, name: str) -> None:
        """Start a process again that has ended, on its data and its port, and wait until it answers."""
        self.launch(name)
        self.wait_up(name)

    def launch(self, name: str) -> None:
        """Start a process again that has ended, without waiting: brokers that need each other are launched together."""
        self._children[name] = self._starters[name]()

    def wait_up(self, name: str) -> None:
        """Wait until a process answers. Raises LocalStackError if it dies first."""
        child = self._children[name]
        if name == "registry":
            address = registry.url(self._registry_port)
            child.wait_until(lambda: registry.answers(address), registry.START_DEADLINE_S)
            registry.set_compatibility(address)
        else:
            node = next(node for node in self._nodes if node.name == name)
            child.wait_until(lambda: broker.is_up(child, node), broker.START_DEADLINE_S)

    def exit_code(self, name: str) -> int | None:
        """Return how a process ended; None while it runs."""
        return self._children[name].exit_code

    @property
    def _wants_kafka(self) -> bool:
        return self.bootstrap_servers is None

    @property
    def _wants_registry(self) -> bool:
        return self.registry and self.registry_url is None

    def _choose_ports(self) -> None:
        chosen = free_ports(2 * self.brokers + 2)
        client_ports = [self.kafka_port + i if self.kafka_port else chosen.pop() for i in range(self.brokers)]
        self._nodes = []
        for i, port in enumerate(client_ports if self._wants_kafka else ()):
            if self.kafka_port:
                require_free(port, f"broker {i + 1}" if self.brokers > 1 else "broker", "local.kafka_port")
            advertised = self.advertised_ports[i] if self.advertised_ports else ()
            self._nodes.append(broker.Node(i + 1, self._data / f"node-{i + 1}", port, chosen.pop(), *advertised))
        if self._wants_registry:
            if self.registry_port:
                require_free(self.registry_port, "registry", "local.registry_port")
            self._registry_port = self.registry_port or chosen.pop()

    def _programs(self, progress: Progress) -> Programs:
        java = find_java()
        began = time.monotonic()
        jars = fetch(self.cache)
        progress("jars", time.monotonic() - began)
        began = time.monotonic()
        programs = with_archives(Programs(java, jars), self.cache)
        progress("class archives", time.monotonic() - began)
        return programs

    def _start_processes(self, programs: Programs, progress: Progress) -> None:
        """Start all at once, the registry first: the brokers' data is formatted meanwhile."""
        logs, bound = self.directory / "logs", not self.keep_running
        began = time.monotonic()
        if self._wants_registry:
            folder, port = self._data / "registry", self._registry_port
            self._starters["registry"] = partial(registry.start, folder, port, programs, logs, bound=bound)
            self._launch("registry")
        for node in self._nodes:
            broker.write_settings(node, self._nodes)
        broker.format_data(self._nodes, programs, logs)
        for node in self._nodes:
            self._starters[node.name] = partial(broker.start, node, programs, logs, quick=bound, bound=bound)
            self._launch(node.name)
        for name in sorted(self._children):
            self.wait_up(name)
            progress(name, time.monotonic() - began)
        self._endpoints = self._where("java")

    def _launch(self, name: str) -> None:
        self._children[name] = self._starters[name]()
        if self.keep_running:
            self._save()  # before it is up: if we are killed now, `local down` still finds it

    def _start_containers(self, missing: ToolMissingError, progress: Progress) -> None:
        if why_not := docker.why_not():
            raise LocalStackError(f"{missing}; {why_not}; {WAYS_OUT}") from missing
        if self.brokers != 1:
            raise LocalStackError(
                f"{missing}; from Docker there is one broker, not {self.brokers}; {WAYS_OUT}"
            ) from missing
        began = time.monotonic()
        kafka_port = self._nodes[0].port if self._nodes else free_ports(1)[0]
        self._containers = docker.Containers(
            kafka_port, self._registry_port or free_ports(1)[0], keep_data=self.keep_data, bound=not self.keep_running
        )
        self._containers.start()
        self._endpoints = self._where("docker")
        progress("docker compose", time.monotonic() - began)

    def _where(self, how: str) -> Endpoints:
        """Return what the caller gave, completed by what we start."""
        kafka, schemas = self.bootstrap_servers, self.registry_url
        if kafka is None:
            kafka = ",".join(node.client_address for node in self._nodes)
        if schemas is None:
            schemas = self._containers.registry_url if self._containers else registry.url(self._registry_port)
        return Endpoints(kafka, schemas if self.registry else "", how)

    def _let_run(self) -> None:
        """Write down what runs and let go of it: `stop` has nothing to stop then."""
        self._save()
        for child in self._children.values():
            child.leave()
        if self._claim:
            self._claim.hand_over()
        self._children, self._containers, self._claim = {}, None, None

    def _save(self) -> None:
        where = self._where("docker" if self._containers else "java")
        processes = tuple(running.Process.of(name, child.pid) for name, child in self._children.items())
        state = running.Running(
            where.how, where.bootstrap_servers, where.registry_url, self.keep_data, str(self._data), processes
        )
        state.save(self.directory)
