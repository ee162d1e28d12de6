"""The Docker way, as far as it can be checked without an engine: a program in place of `docker`, and the files themselves.

docker-compose.yml is read by docker-compose itself, with its defaults filled in; what is pinned, limited, healthy and on
loopback is checked on that.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.local import Endpoints, LocalStack, LocalStackError, docker, running
from cluster.local.preflight import LOOPBACK

REPOSITORY = Path(__file__).parents[2]
COMPOSE = REPOSITORY / "docker-compose.yml"
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()

# Answers as an engine would and writes down what it was asked; FAIL in its folder says which command fails.
_DOCKER = r"""#!/bin/sh
here=$(dirname "$0")
echo "$CHIPQUALITY_LOCAL__KAFKA_PORT $CHIPQUALITY_LOCAL__REGISTRY_PORT $*" >> "$here/calls.log"
fail=$(cat "$here/FAIL" 2>/dev/null)
case "$*" in *"${fail:-nothing fails}"*) echo "cannot do that" >&2; exit 1 ;; esac
"""


class Engine:
    """What the program in place of Docker was asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def calls(self) -> list[str]:
        log = self._folder / "calls.log"
        return log.read_text().splitlines() if log.exists() else []

    def fail(self, command: str) -> None:
        (self._folder / "FAIL").write_text(command)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A PATH with Docker and a shell, without Java and Maven."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "cat", "dirname"):
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    (folder / "docker").write_text(_DOCKER)
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return Engine(folder)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., LocalStack]:
    """Make a stack with a cold cache."""
    ports = {"kafka_port": 29092, "registry_port": 28081}
    return lambda **options: LocalStack(tmp_path / "work", cache=tmp_path / "cache", **{**ports, **options})


@pytest.mark.processes
def test_without_java_the_same_comes_from_docker(engine: Engine, make: Callable[..., LocalStack]) -> None:
    steps: list[str] = []
    stack = make()
    where = stack.start(lambda step, _: steps.append(step))
    assert where == Endpoints(f"{LOOPBACK}:29092", f"http://{LOOPBACK}:28081", "docker")
    assert steps == ["docker compose"]
    compose = f"compose -p chipquality-local -f {COMPOSE}"
    assert engine.calls[-1] == f"29092 28081 {compose} up -d --wait kafka registry"
    assert engine.calls[-2].endswith("down --timeout 10 --volumes")  # what an earlier run may have left
    stack.stop()
    assert engine.calls[-1].endswith(f"{compose} down --timeout 10 --volumes")


@pytest.mark.processes
def test_kept_data_stays_in_the_volumes(engine: Engine, make: Callable[..., LocalStack]) -> None:
    with make(keep_data=True) as stack:
        assert stack.endpoints.how == "docker"
        assert stack.pids == {}
    assert engine.calls[-1].endswith("down --timeout 10")
    assert not any("--volumes" in call for call in engine.calls)


@pytest.mark.processes
def test_containers_are_taken_down_when_their_owner_is_killed(engine: Engine, tmp_path: Path) -> None:
    script = (
        "import pathlib, signal, sys\n"
        "from cluster.local import LocalStack\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "LocalStack(here / 'work', cache=here / 'cache').start()\n"
        "print('up', flush=True); signal.pause()\n"
    )
    argv = (sys.executable, "-c", script, str(tmp_path))
    with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        calls = len(engine.calls)
        owner.kill()
    assert _eventually(lambda: len(engine.calls) > calls)
    assert engine.calls[-1].endswith("down --timeout 10 --volumes")


def _eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@pytest.mark.processes
def test_a_compose_that_fails_is_told_and_taken_down(engine: Engine, make: Callable[..., LocalStack]) -> None:
    engine.fail("up -d")
    with pytest.raises(LocalStackError, match=r"docker compose up failed: cannot do that; ways out: \(1\)"):
        make().start()
    assert engine.calls[-1].endswith("down --timeout 10 --volumes")


@pytest.mark.processes
def test_what_runs_on_is_found_and_taken_down(engine: Engine, make: Callable[..., LocalStack], tmp_path: Path) -> None:
    stack = make(keep_running=True)
    stack.start()
    stack.stop()  # it was let go of
    found = running.load(tmp_path / "work")
    assert found is not None
    assert found.how == "docker"
    assert found.health() == {f"{LOOPBACK}:29092": False, f"http://{LOOPBACK}:28081": False}
    assert not found.alive()
    assert "up -d" in engine.calls[-1]
    assert running.stop_in(tmp_path / "work") == ["kafka", "registry"]
    assert engine.calls[-1].endswith("down --timeout 10 --volumes")
    engine.fail("down")
    with pytest.raises(LocalStackError, match="docker compose down failed: cannot do that"):
        docker.down(keep_data=True)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("fails", "says"),
    [("info", "no Docker engine answers either"), ("compose version", "Docker answers, but has no Compose v2")],
)
def test_why_docker_cannot_do_it(engine: Engine, make: Callable[..., LocalStack], fails: str, says: str) -> None:
    engine.fail(fails)
    with pytest.raises(LocalStackError) as caught:
        make().start()
    text = str(caught.value)
    assert text.startswith(f"Java is missing (Java 17 or newer is needed); {says}; ways out: (1) install Java")
    assert "(2) install Docker" in text
    assert "(3) point CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS and CHIPQUALITY_REGISTRY__URL" in text
    assert "\n" not in text


def test_neither_java_nor_docker(
    tmp_path: Path, make: Callable[..., LocalStack], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalStackError, match=r"Java is missing .*; Docker is missing too; ways out"):
        make().start()


@pytest.mark.processes
def test_java_without_maven_goes_to_docker_if_the_cache_is_cold(
    engine: Engine, make: Callable[..., LocalStack]
) -> None:
    java = engine._folder / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"21.0.2\" 2024-01-16' >&2\n")
    java.chmod(0o755)
    engine.fail("info")
    with pytest.raises(LocalStackError, match=r"Maven \(mvn\) is missing, and the jars are not in .* yet; no Docker"):
        make().start()
    engine.fail("nothing at all")
    with make() as stack:
        assert stack.endpoints.how == "docker"


@pytest.mark.processes
def test_docker_has_one_broker_and_needs_the_checkout(
    engine: Engine, make: Callable[..., LocalStack], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(LocalStackError, match="from Docker there is one broker, not 3"):
        make(brokers=3).start()
    monkeypatch.setattr(docker, "COMPOSE_FILE", tmp_path / "none.yml")
    assert docker.why_not() == "Docker answers, but docker-compose.yml is not here: this is no checkout of the project"
    monkeypatch.setattr(docker, "_ENGINE_DEADLINE_S", 0.0)
    assert docker.why_not() == "no Docker engine answers either"


@pytest.mark.processes
def test_a_guard_that_hangs_is_ended(
    engine: Engine, make: Callable[..., LocalStack], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = make()
    stack.start()
    (engine._folder / "docker").write_text("#!/bin/sh\nwhile :; do :; done\n")
    monkeypatch.setattr(docker, "DOWN_DEADLINE_S", 0.3)
    with pytest.raises(LocalStackError, match="docker compose down is not done"):
        stack.stop()


# The files.


def _interpolated() -> dict[str, Any]:
    """Return docker-compose.yml with its variables' defaults, as a person without docker-compose reads it."""
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", r"\2", COMPOSE.read_text())
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


SERVICES: dict[str, dict[str, Any]] = _interpolated()["services"]


def _composes() -> list[tuple[str, ...]]:
    """Return the Compose programs of this machine: Debian's v1, Docker's v2. CI must have one."""
    found = [("docker-compose",)] if shutil.which("docker-compose") else []
    v2 = ("docker", "compose")
    if shutil.which("docker") and not subprocess.run((*v2, "version"), capture_output=True, check=False).returncode:
        found.append(v2)
    return found


@pytest.mark.processes
def test_docker_compose_itself_takes_the_file() -> None:
    composes = _composes()
    assert composes or "CI" not in os.environ, "CI has no docker-compose (Debian: apt-get install docker-compose)"
    for compose in composes:
        argv = (*compose, "-f", str(COMPOSE), "config")
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=REPOSITORY)
        assert (done.returncode, done.stderr) == (0, "")
        read = yaml.safe_load(done.stdout)["services"]
        assert set(read) == {"kafka", "registry", "kafka-ui", "head", "worker"}
        assert _environments(read) == _environments(SERVICES)


def _environments(services: dict[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
    return {
        name: {key: str(value) for key, value in service["environment"].items()} for name, service in services.items()
    }


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_pinned_limited_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"])
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"])
    assert service["restart"] == "unless-stopped"
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert service["security_opt"] == ["no-new-privileges:true"]
    for needed in service.get("depends_on", {}).values():
        assert needed == {"condition": "service_healthy"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_port_is_on_loopback_and_can_be_moved(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
        assert f"}}:{port.rpartition(':')[2]}" in COMPOSE.read_text()


def test_broker_and_registry_have_the_ports_of_the_local_stack() -> None:
    from cluster.config import LocalConfig

    local = LocalConfig()
    assert SERVICES["kafka"]["ports"] == [f"127.0.0.1:{local.kafka_port}:19092"]
    assert SERVICES["registry"]["ports"] == [f"127.0.0.1:{local.registry_port}:8081"]
    advertised = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert advertised == f"INSIDE://kafka:9092,OUTSIDE://127.0.0.1:{local.kafka_port}"


def test_docker_runs_the_broker_that_maven_fetches() -> None:
    from cluster.local.fetch import POM

    found = re.search(r"<kafka\.version>([\d.]+)<", POM.read_text())
    assert found is not None
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{found[1]}"


def test_the_broker_has_the_settings_of_the_local_one(tmp_path: Path) -> None:
    from cluster.local import broker

    node = broker.Node(1, tmp_path, 1, 2)
    ours = broker.settings(node, [node])
    environment = {key: str(value) for key, value in SERVICES["kafka"]["environment"].items()}
    for name in ("auto.create.topics.enable", "offsets.topic.replication.factor", "transaction.state.log.min.isr",
                 "transaction.abort.timed.out.transaction.cleanup.interval.ms", "log.cleaner.dedupe.buffer.size",
                 "group.initial.rebalance.delay.ms", "offsets.topic.num.partitions"):  # fmt: skip
        assert environment["KAFKA_" + name.upper().replace(".", "_")] == ours[name]


def test_the_product_finds_what_the_file_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster.config import load

    for name in ("head", "worker"):
        for variable, value in SERVICES[name]["environment"].items():
            monkeypatch.setenv(variable, str(value))
        config = load()
        assert config.kafka.bootstrap_servers == "kafka:9092"
        assert config.registry.url == "http://registry:8081"
        assert config.ray.address == "auto"
        assert SERVICES[name]["environment"]["RAY_AUTH_MODE"] == "token"
        assert SERVICES[name]["build"] == "."
        assert SERVICES[name]["volumes"] == ["ray-token:/home/chipquality/.ray"]


def test_every_volume_is_named() -> None:
    volumes = set(_interpolated()["volumes"])
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in volumes


def test_the_dockerfile_copies_what_is_there_and_nothing_that_is_ignored() -> None:
    copied = [source for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.M) for source in line.split()[:-1]]
    assert copied
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == allowed
    for source in copied:
        assert (REPOSITORY / source).exists(), source


def test_the_dockerfile_is_pinned_and_does_not_run_as_root() -> None:
    assert re.search(r"^FROM python:3\.11-slim$", DOCKERFILE, re.M)
    assert "--require-hashes" in DOCKERFILE
    assert re.search(r"^USER chipquality$", DOCKERFILE, re.M)
    last_user = DOCKERFILE.rindex("\nUSER ")
    assert "RUN" not in DOCKERFILE[last_user:]
    assert json.loads(re.findall(r"^CMD (.+)$", DOCKERFILE, re.M)[-1]) == ["chipquality", "run"]


@pytest.mark.kafka
def test_the_registrys_health_check_tells_a_registry_from_none(stack: Endpoints) -> None:
    """The shell of the health check, aimed at the local registry, which has the same API under a longer path."""
    found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(.*)", stack.registry_url)
    assert found is not None
    command = SERVICES["registry"]["healthcheck"]["test"][1:]
    assert command[:2] == ["bash", "-c"]

    def check(port: str, path: str) -> int:
        script = command[2].replace("$$", "$").replace("/8081", f"/{port}").replace("/subjects", path)
        return subprocess.run(("bash", "-c", script), capture_output=True, timeout=20, check=False).returncode

    assert check(found[1], f"{found[2]}/subjects") == 0
    assert check(found[1], "/no-such-page") != 0
    assert check("9", "/subjects") != 0
