"""The real broker and registry: up, down, one node lost, killed with their parent, started again on kept data."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from cluster.config import load
from cluster.local import LocalStack, LocalStackError, broker, registry
from cluster.local.preflight import LOOPBACK, free_ports, require_free

pytestmark = [pytest.mark.kafka, pytest.mark.processes]

REPOSITORY = Path(__file__).parents[2]
AVRO = Schema('{"type": "record", "name": "M", "fields": [{"name": "a", "type": "double"}]}', "AVRO")


def create(bootstrap: str, topic: str, replicas: int = -1) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.list_topics(
        timeout=30
    )  # librdkafka drops its bootstrap connections, and what is asked there, once it knows the brokers
    admin.create_topics([NewTopic(topic, 1, replicas)])[topic].result(30)


def produce(bootstrap: str, topic: str, values: Iterable[bytes]) -> None:
    """Write with acks=all; every record is acknowledged, or this raises."""
    failed: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "delivery.timeout.ms": 60_000})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: failed.append(error) if error else None)
    assert producer.flush(60) == 0
    if failed:
        raise KafkaException(failed[0])


def consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        return [message.value() for message in consumer.consume(count, 30.0)]
    finally:
        consumer.close()


def eventually(condition: Callable[[], bool], what: str, deadline_s: float = 60.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.1)


def test_up_and_down_leaves_nothing(tmp_path: Path, local_cache: Path) -> None:
    steps: dict[str, float] = {}
    stack = LocalStack(tmp_path / "with space", cache=local_cache)
    with pytest.raises(LocalStackError, match="not running"):
        _ = stack.endpoints
    with stack:
        where = stack.endpoints
        assert where.how == "java"
        host, port = where.bootstrap_servers.split(":")
        assert broker.answers(host, int(port))
        assert registry.answers(where.registry_url)
        for pid in stack.pids.values():
            listening = [
                c.laddr.ip for c in psutil.Process(pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN
            ]
            assert listening
            assert {ip.removeprefix("::ffff:") for ip in listening} == {LOOPBACK}
        with pytest.raises(LocalStackError, match="another local stack runs in"):
            LocalStack(stack.directory, cache=local_cache).start(lambda step, took_s: steps.update({step: took_s}))
        stack.check()
        processes = [psutil.Process(pid) for pid in stack.pids.values()]
    _, left = psutil.wait_procs(processes, timeout=10)
    assert not left
    require_free(int(port), "broker", "local.kafka_port")
    assert sorted(path.name for path in stack.directory.iterdir()) == ["lock", "logs"]
    stack.stop()  # again: nothing happens


def test_kept_data_survives_a_restart(tmp_path: Path, local_cache: Path) -> None:
    ports = dict(zip(("kafka_port", "registry_port"), free_ports(2), strict=True))
    steps: dict[str, float] = {}
    stack = LocalStack(tmp_path, cache=local_cache, keep_data=True, **ports)
    where = stack.start(lambda step, took_s: steps.update({step: took_s}))
    assert set(steps) == {"jars", "class archives", "broker-1", "registry"}
    assert where.bootstrap_servers == f"{LOOPBACK}:{ports['kafka_port']}"
    create(where.bootstrap_servers, "kept")
    produce(where.bootstrap_servers, "kept", [b"one", b"two"])
    number = SchemaRegistryClient({"url": where.registry_url}).register_schema("kept-value", AVRO)
    stack.kill("registry")  # the id that it gave is on the disk
    with pytest.raises(LocalStackError, match=r"registry died \(exit code -9\); log .*registry\.log ends: "):
        stack.check()
    stack.stop()

    with pytest.raises(LocalStackError, match=r"keeps the data of 1 broker\(s\), not of 3"):
        LocalStack(tmp_path, cache=local_cache, keep_data=True, brokers=3).start()

    with LocalStack(tmp_path, cache=local_cache, keep_data=True, **ports) as again:
        assert consume(again.endpoints.bootstrap_servers, "kept", 2) == [b"one", b"two"]
        client = SchemaRegistryClient({"url": again.endpoints.registry_url})
        assert client.lookup_schema("kept-value", AVRO).schema_id == number
        assert client.get_compatibility() == "BACKWARD"


def test_data_that_the_broker_refuses_is_told_and_leaves_nothing(tmp_path: Path, local_cache: Path) -> None:
    node = tmp_path / "kept" / "node-1"
    (node / "data").mkdir(parents=True)
    (node / "formatted").touch()
    stack = LocalStack(tmp_path, cache=local_cache, keep_data=True)
    started: list[psutil.Process] = []
    launch = stack._launch
    stack._launch = lambda name: (launch(name), started.append(psutil.Process(stack.pids[name])))[0]  # type: ignore[method-assign]
    with pytest.raises(
        LocalStackError, match=rf"broker-1 died .* log {tmp_path}/logs/broker-1\.log ends: .*meta\.prop"
    ):
        stack.start()
    assert len(started) == 2
    _, left = psutil.wait_procs(started, timeout=10)
    assert not left


def test_three_nodes_lose_one_and_go_on_writing(tmp_path: Path, local_cache: Path) -> None:
    with LocalStack(tmp_path, cache=local_cache, brokers=3, registry=False) as stack:
        servers = stack.endpoints.bootstrap_servers
        assert stack.endpoints.registry_url == ""
        assert len(servers.split(",")) == 3
        create(servers, "replicated")
        admin = AdminClient({"bootstrap.servers": servers})

        def partition() -> tuple[int, list[int], list[int]]:
            # Not describe_topics: librdkafka may wait for a dead broker, reconnecting in a tight loop, until its timeout.
            found = admin.list_topics("replicated", timeout=30).topics["replicated"].partitions[0]
            return found.leader, sorted(found.replicas), sorted(found.isrs)

        # a broker that has not heard of the topic yet tells of it without partitions
        eventually(lambda: bool(admin.list_topics("replicated", timeout=30).topics["replicated"].partitions), "known")
        leader, replicas, in_sync = partition()
        assert replicas == in_sync == [1, 2, 3]
        produce(servers, "replicated", [b"before"])
        stack.kill(f"broker-{leader}")
        assert stack.exit_code(f"broker-{leader}") == -signal.SIGKILL
        produce(servers, "replicated", [b"after"])
        eventually(lambda: len(partition()[2]) == 2, "the dead broker is out of the in-sync replicas")
        assert partition()[0] != leader
        stack.restart(f"broker-{leader}")
        eventually(lambda: partition()[2] == [1, 2, 3], "the broker is in sync again")
        assert consume(servers, "replicated", 2) == [b"before", b"after"]
        stack.terminate(f"broker-{leader}")
        assert stack.exit_code(f"broker-{leader}") == 128 + signal.SIGTERM
        assert partition()[0] != leader  # one that stops in order hands its partitions over first


def test_a_killed_parent_leaves_no_process_and_no_port(tmp_path: Path, local_cache: Path) -> None:
    script = (
        "import json, pathlib, signal, sys\n"
        "from cluster.local import LocalStack\n"
        "stack = LocalStack(pathlib.Path(sys.argv[1]), cache=pathlib.Path(sys.argv[2]))\n"
        "where = stack.start()\n"
        "print(json.dumps([list(stack.pids.values()), where.bootstrap_servers, where.registry_url]), flush=True)\n"
        "signal.pause()\n"
    )
    argv = (sys.executable, "-c", script, str(tmp_path), str(local_cache))
    with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids, *addresses = json.loads(parent.stdout.readline())
        processes = [psutil.Process(pid) for pid in pids]
        parent.send_signal(signal.SIGKILL)
    _, left = psutil.wait_procs(processes, timeout=10)
    assert not left
    for address in addresses:
        require_free(int(re.findall(r":(\d+)", address)[0]), "test", "local.kafka_port")
    assert (tmp_path / "temporary").exists()
    with pytest.raises(LocalStackError, match="disk full"):  # the next start tidies up before it looks at the disk
        LocalStack(tmp_path, cache=local_cache, data_bytes_min=1 << 60).start()
    assert not (tmp_path / "temporary").exists()


def test_only_what_is_missing_is_started(tmp_path: Path, local_cache: Path) -> None:
    yours = "kafka.example:9092"
    with LocalStack(tmp_path, cache=local_cache, bootstrap_servers=yours) as stack:
        assert stack.endpoints.bootstrap_servers == yours
        assert set(stack.pids) == {"registry"}
        assert registry.answers(stack.endpoints.registry_url)


def test_nothing_is_fetched_or_started_where_both_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    config = load(
        kafka={"bootstrap_servers": "kafka.example:9092"},
        registry={"url": "http://registry.example"},
        local={"directory": tmp_path / "work", "cache": tmp_path / "cache"},
    )
    where = LocalStack.from_config(config).start()
    assert (where.bootstrap_servers, where.registry_url) == ("kafka.example:9092", "http://registry.example")
    assert where.how == "yours"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["kafka", "registry"])
def test_a_taken_port_is_one_clear_line_and_nothing_is_started(tmp_path: Path, local_cache: Path, what: str) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        config = load(local={"directory": tmp_path, "cache": local_cache, f"{what}_port": port, **_others(what)})
        with pytest.raises(LocalStackError) as caught:
            LocalStack.from_config(config).start()
    assert f"port {port}" in str(caught.value)
    assert f"local.{what}_port (CHIPQUALITY_LOCAL__{what.upper()}_PORT=…)" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def _others(what: str) -> dict[str, int]:
    return {f"{other}_port": free_ports(1)[0] for other in ("kafka", "registry") if other != what}


def test_the_second_of_three_ports_is_looked_at_too(tmp_path: Path, local_cache: Path) -> None:
    port = free_ports(1)[0]
    with (
        socket.create_server((LOOPBACK, port + 1)),
        pytest.raises(LocalStackError, match=f"port {port + 1} for the broker 2"),
    ):
        LocalStack(tmp_path, cache=local_cache, brokers=3, kafka_port=port).start()


def test_what_cannot_be_asked_for(tmp_path: Path, local_cache: Path) -> None:
    with pytest.raises(LocalStackError, match="2 brokers: 1 or 3"):
        LocalStack(tmp_path, cache=local_cache, brokers=2)
    with pytest.raises(LocalStackError, match=r"local\.cache = "):
        LocalStack(tmp_path, cache=tmp_path / "a:b")
    (tmp_path / "file").touch()
    with pytest.raises(LocalStackError, match=r"local\.directory = .*file: File exists"):
        LocalStack(tmp_path / "file", cache=local_cache).start()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "logs").touch()
    with pytest.raises(LocalStackError, match=r"the local stack cannot start: .*logs"):
        LocalStack(tmp_path / "work", cache=local_cache).start()


def test_a_proxy_may_stand_before_a_broker(tmp_path: Path) -> None:
    nodes = [broker.Node(1, tmp_path, 21, 31, 41, 51), broker.Node(2, tmp_path, 22, 32)]
    settings = broker.settings(nodes[0], nodes)
    assert settings["listeners"] == f"CLIENTS://{LOOPBACK}:21,CONTROLLER://{LOOPBACK}:31"
    assert settings["advertised.listeners"] == f"CLIENTS://{LOOPBACK}:41,CONTROLLER://{LOOPBACK}:51"
    assert settings["controller.quorum.voters"] == f"1@{LOOPBACK}:51,2@{LOOPBACK}:32"
    assert broker.settings(nodes[1], nodes)["advertised.listeners"] == f"CLIENTS://{LOOPBACK}:22"


def test_no_cluster_id_looks_like_an_option() -> None:
    ids = {broker.new_cluster_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(cluster_id) == 22 and not cluster_id.startswith("-") for cluster_id in ids)


def test_something_else_at_the_port_is_no_broker() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert not broker.answers(LOOPBACK, port, timeout_s=0.1)
    assert not broker.answers(LOOPBACK, port)
