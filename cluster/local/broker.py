"""Apache Kafka in KRaft mode: one node, or three that replicate. Every node is broker and controller.

Listeners are on loopback. Health: the log says that the server started (in Kafka 4 that is after the controller has
admitted the broker), and the broker answers an ApiVersions request on its port.
"""

from __future__ import annotations

import base64
import contextlib
import shutil
import socket
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.local.fetch import Programs
from cluster.local.java import flags
from cluster.local.preflight import LOOPBACK
from cluster.local.processes import Child, Command

HEAP_MIB = 384
START_DEADLINE_S = 90.0
_LOG4J = Path(__file__).with_name("log4j2.xml")
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)  # size, api key, version, correlation id, no client id


@dataclass(frozen=True)
class Node:
    """One broker."""

    number: int  # node.id, from 1
    folder: Path
    port: int
    controller_port: int
    advertised_port: int = 0  # what clients and other brokers connect to instead, if a proxy stands between; 0: `port`
    advertised_controller_port: int = 0  # what the quorum connects to instead

    @property
    def client_address(self) -> str:
        """Where clients and other brokers go."""
        return f"{LOOPBACK}:{self.advertised_port or self.port}"

    @property
    def controller_address(self) -> str:
        """Where the other members of the quorum go."""
        return f"{LOOPBACK}:{self.advertised_controller_port or self.controller_port}"

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"broker-{self.number}"

    @property
    def settings_file(self) -> Path:
        """Kafka's server.properties."""
        return self.folder / "server.properties"

    @property
    def formatted(self) -> Path:
        """A file that is there when the data folder is ready."""
        return self.folder / "formatted"


def settings(node: Node, nodes: Sequence[Node]) -> dict[str, str]:
    """Return Kafka's settings of a node: small internal topics, no wait for a group's first members."""
    replicas = len(nodes)
    in_sync = 2 if replicas > 2 else 1
    chosen = {
        "process.roles": "broker,controller",
        "node.id": node.number,
        "controller.quorum.voters": ",".join(f"{one.number}@{one.controller_address}" for one in nodes),
        "controller.listener.names": "CONTROLLER",
        "listeners": f"CLIENTS://{LOOPBACK}:{node.port},CONTROLLER://{LOOPBACK}:{node.controller_port}",
        "advertised.listeners": ",".join(
            [f"CLIENTS://{node.client_address}"]
            + ([f"CONTROLLER://{node.controller_address}"] if node.advertised_controller_port else [])
        ),
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "CLIENTS",
        "log.dirs": node.folder / "data",
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "group.initial.rebalance.delay.ms": 0,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,  # the default takes 128 MiB of the heap
        "log.initial.task.delay.ms": 1000,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        # A broker that was killed may come back after 6 s, not 9, and three notice it as soon. Less, and a busy machine
        # takes live brokers for dead.
        "broker.session.timeout.ms": 6000,
        "broker.heartbeat.interval.ms": 1000,
        # A transaction ends when every leader has its marker: a coordinator waits 30 s for one that has gone silent, and so does
        # whoever takes over.
        "request.timeout.ms": 6000,
    }
    for topic, in_sync_setting in (
        ("offsets.topic", None),
        ("transaction.state.log", "transaction.state.log.min.isr"),
        ("share.coordinator.state.topic", "share.coordinator.state.topic.min.isr"),
    ):
        chosen |= {f"{topic}.replication.factor": replicas, f"{topic}.num.partitions": 4}
        if in_sync_setting:
            chosen[in_sync_setting] = in_sync
    return {name: str(value) for name, value in chosen.items()}


def write_settings(node: Node, nodes: Sequence[Node]) -> None:
    """Write server.properties."""
    node.folder.mkdir(parents=True, exist_ok=True)
    (node.folder / "tmp").mkdir(exist_ok=True)
    node.settings_file.write_text("".join(f"{name}={value}\n" for name, value in settings(node, nodes).items()))


def new_cluster_id() -> str:
    """Return a random id in the form that Kafka wants: 16 bytes, URL-safe base64 without padding, no dash in front."""
    first, *rest = uuid.uuid4().bytes
    return base64.urlsafe_b64encode(bytes((first & 0x7F, *rest))).decode().rstrip("=")


def format_data(nodes: Sequence[Node], programs: Programs, logs: Path) -> None:
    """Format the data folders of nodes that are new; a format that was cut off begins again."""
    new = [node for node in nodes if not node.formatted.exists()]
    cluster_id = new_cluster_id()
    runs = []
    for node in new:
        shutil.rmtree(node.folder / "data", ignore_errors=True)
        tool = ("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(node.settings_file))
        jvm = flags(node.folder / "tmp", 128, quick=True, archive=programs.archives.get("broker"))
        runs.append(Child(_command(node, programs, logs, jvm, tool)))
    for run in runs:
        run.wait_exit(START_DEADLINE_S)
    for node in new:
        node.formatted.touch()


def start(node: Node, programs: Programs, logs: Path, *, quick: bool = True, bound: bool = True) -> Child:
    """Start a formatted node. `quick`: see java.flags."""
    archive, archive_out = programs.archives.get("broker"), programs.archives_out.get("broker")
    jvm = flags(node.folder / "tmp", HEAP_MIB, quick=quick, archive=archive, archive_out=archive_out)
    return Child(_command(node, programs, logs, jvm, ("kafka.Kafka", str(node.settings_file))), bound=bound)


def _command(node: Node, programs: Programs, logs: Path, jvm: list[str], program: tuple[str, ...]) -> Command:
    log4j = f"-Dlog4j2.configurationFile={_LOG4J.as_uri()}"
    argv = (programs.java.path, *jvm, log4j, "-cp", programs.jars.broker_class_path, *program)
    return Command(node.name, argv, logs / f"{node.name}.log", node.folder)


def is_up(child: Child, node: Node) -> bool:
    """Return whether the node serves clients."""
    return "Kafka Server started" in child.output() and answers(LOOPBACK, node.port)


def answers(host: str, port: int, timeout_s: float = 2.0) -> bool:
    """Return whether a Kafka broker answers there: ApiVersions gets its correlation id and no error back."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout_s) as connection:
        connection.settimeout(timeout_s)
        connection.sendall(_API_VERSIONS)
        with connection.makefile("rb") as answer:
            head = answer.read(10)
        return len(head) == 10 and struct.unpack(">ih", head[4:]) == (1, 0)
    return False
