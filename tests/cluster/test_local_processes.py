"""Subprocesses, ports, disk, Java: what the local stack is made of, with cheap programs in place of a broker."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cluster.local import LocalStackError, die_with_parent
from cluster.local.errors import ToolMissingError
from cluster.local.java import find_java, major_version
from cluster.local.preflight import LOOPBACK, free_ports, plain_path, require_free, require_space
from cluster.local.processes import LOG_BYTES_MAX, Child, Command, stop_all

pytestmark = pytest.mark.processes

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Start a shell script as a child; all are gone after the test."""
    children: list[Child] = []

    def start(script: str, *, bound: bool = True) -> Child:
        children.append(Child(Command("worker", ("sh", "-c", script), tmp_path / "worker.log", tmp_path), bound=bound))
        return children[-1]

    yield start
    stop_all(children, 0.0)


def executable(folder: Path, name: str, script: str) -> Path:
    """Write a program for PATH."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return folder


def test_a_child_that_dies_shows_the_end_of_its_log_and_where_it_is(run: Callable[..., Child], tmp_path: Path) -> None:
    child = run("echo first; for i in 1 2 3 4 5 6 7 8; do echo line $i; done; exit 7")
    with pytest.raises(LocalStackError) as caught:
        child.wait_until(lambda: False, 10.0)
    text = str(caught.value)
    assert "worker died (exit code 7)" in text
    assert str(tmp_path / "worker.log") in text
    assert "line 1" in text
    assert "line 8" in text
    assert "first" not in text
    assert "\n" not in text


def test_a_child_that_is_not_up_in_time_is_told(run: Callable[..., Child]) -> None:
    child = run("exec sleep 300")
    with pytest.raises(LocalStackError, match=r"is not up after 0 s; log .* ends: \(empty\)"):
        child.wait_until(lambda: False, 0.0)
    with pytest.raises(LocalStackError, match="is not done after 0 s"):
        child.wait_exit(0.05)
    assert child.exit_code == -signal.SIGKILL


def test_a_failing_child_is_told_and_a_good_one_is_not(run: Callable[..., Child]) -> None:
    run("exit 0").wait_exit(10.0)
    with pytest.raises(LocalStackError, match=r"failed \(exit code 3\)"):
        run("exit 3").wait_exit(10.0)


def test_a_log_shows_this_start_only_and_a_long_one_is_put_aside(run: Callable[..., Child], tmp_path: Path) -> None:
    run("echo old").wait_exit(10.0)
    child = run("echo new")
    child.wait_exit(10.0)
    assert child.output() == "new\n"
    assert (tmp_path / "worker.log").read_text() == "old\nnew\n"
    with (tmp_path / "worker.log").open("ab") as log:
        log.truncate(LOG_BYTES_MAX + 1)
    run("echo fresh").wait_exit(10.0)
    assert (tmp_path / "worker.log").read_text() == "fresh\n"
    assert (tmp_path / "worker.log.1").stat().st_size == LOG_BYTES_MAX + 1


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match=r"worker cannot be started: .*no-such-program"):
        Child(Command("worker", ("no-such-program",), tmp_path / "log", tmp_path), bound=False)


def test_stop_is_term_and_then_kill(run: Callable[..., Child]) -> None:
    polite = run("trap 'echo bye; exit 0' TERM; echo first ready; while :; do sleep 0.02; done")
    stubborn = run("trap '' TERM; echo second ready; while :; do sleep 0.02; done")
    for said in ("first ready", "second ready"):  # both write to one log
        polite.wait_until(lambda said=said: said in polite.output(), 10.0)
    stop_all([polite, stubborn], 1.0)
    assert polite.exit_code == 0
    assert stubborn.exit_code == -signal.SIGKILL


def test_an_interrupted_stop_still_ends_the_children(
    run: Callable[..., Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    child = run("trap '' TERM; echo ready; while :; do sleep 0.02; done")
    child.wait_until(lambda: "ready" in child.output(), 10.0)

    def interrupted(_: float) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(child, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stop_all([child], 60.0)
    assert child.exit_code == -signal.SIGKILL


def test_the_end_of_the_thread_that_asked_for_it_does_not_end_a_child(run: Callable[..., Child]) -> None:
    started: list[Child] = []
    thread = threading.Thread(target=lambda: started.append(run("echo ready; exec sleep 300")))
    thread.start()
    thread.join()
    started[0].wait_until(lambda: "ready" in started[0].output(), 10.0)
    assert started[0].exit_code is None


def test_a_fork_of_us_starts_children_of_its_own(run: Callable[..., Child]) -> None:
    run("exit 0").wait_exit(10.0)  # the thread that forks lives here, and not in our fork
    script = (
        "import os, pathlib, sys, warnings\n"
        "from cluster.local.processes import Child, Command\n"
        "def go(name): Child(Command(name, ('true',), here / name, here)).wait_exit(10)\n"
        "here = pathlib.Path(sys.argv[1]); go('one')\n"
        "warnings.simplefilter('ignore'); pid = os.fork(); go('two')\n"
        "if pid: sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    folder = run("pwd")
    folder.wait_exit(10.0)
    argv = (sys.executable, "-c", script, folder.output().strip())
    assert subprocess.run(argv, cwd=REPOSITORY, timeout=30, check=False).returncode == 0


def test_a_killed_parent_takes_its_children_with_it(tmp_path: Path) -> None:
    script = (
        "import pathlib, signal, sys\n"
        "from cluster.local.processes import Child, Command\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "child = Child(Command('sleeper', ('sleep', '300'), here / 'log', here))\n"
        "print(child.pid, flush=True); signal.pause()\n"
    )
    argv = (sys.executable, "-c", script, str(tmp_path))
    with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    _, left = psutil.wait_procs([child], timeout=10)
    assert not left


def test_a_program_whose_parent_died_before_it_could_be_bound_does_not_start(tmp_path: Path) -> None:
    gone = subprocess.Popen(("true",))
    gone.wait()
    argv = (sys.executable, "-I", "-S", die_with_parent.__file__, str(gone.pid), "touch", str(tmp_path / "ran"))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert f"the process {gone.pid} that started us is gone" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_the_launcher_in_this_process() -> None:
    with pytest.raises(FileNotFoundError):
        die_with_parent.main([str(os.getppid()), "no-such-program"])
    die_with_parent.bind(os.getppid(), 0)  # type: ignore[arg-type]  # 0 asks for no signal: as it was
    with pytest.raises(OSError, match="prctl"):
        die_with_parent.bind(os.getppid(), 9999)  # type: ignore[arg-type]  # no such signal


def test_a_taken_port_is_named_with_the_setting_that_moves_it() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LocalStackError, match=rf"port {port} for the registry is taken: .* local\.registry_port"):
            require_free(port, "registry", "local.registry_port")
    require_free(port, "registry", "local.registry_port")


def test_a_port_that_may_not_be_bound_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(LocalStackError, match=r"port 80 for the broker cannot be bound \(Permission denied\)"):
        require_free(80, "broker", "local.kafka_port")


def test_free_ports_are_free_and_below_the_kernels() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    with contextlib.ExitStack() as held:
        for port in ports:
            held.enter_context(socket.create_server((LOOPBACK, port)))
            assert 20_000 <= port < 30_000
    with pytest.raises(LocalStackError, match="no 20000 free ports"):
        free_ports(20_000)


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "yet", 1, "the test", "local.cache")
    with pytest.raises(LocalStackError, match=r"disk full: the test needs .* MiB .* \(CHIPQUALITY_LOCAL__CACHE="):
        require_space(tmp_path, 1 << 60, "the test", "local.cache")


def test_a_path_that_kafka_would_cut_is_refused(tmp_path: Path) -> None:
    assert plain_path(tmp_path / "a b", "local.directory") == tmp_path / "a b"
    with pytest.raises(LocalStackError, match=r"local\.directory = .*a,b: Kafka cannot take a path with ','"):
        plain_path(tmp_path / "a,b", "local.directory")


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'openjdk version \"11.0.2\" 2019-01-15' >&2", "is Java 11, Java 17 or newer is needed"),
        ("echo nonsense", "says no version: 'nonsense'"),
    ],
)
def test_a_java_that_will_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(executable(tmp_path / "bin", "java", script)))
    with pytest.raises(ToolMissingError, match=says):
        find_java()


def test_no_java_and_one_that_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match="Java is missing"):
        find_java()
    (tmp_path / "java").write_bytes(b"\x7fELF")
    (tmp_path / "java").chmod(0o755)
    with pytest.raises(ToolMissingError, match="does not run"):
        find_java()


def test_java_home_goes_before_path_and_the_same_java_has_the_same_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = "echo 'openjdk version \"21.0.2\" 2024-01-16' >&2"
    executable(tmp_path / "bin", "java", version)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    found = find_java()
    assert (found.path, found.major) == (str(tmp_path / "bin" / "java"), 21)
    executable(tmp_path / "bin", "java", f"echo 'Picked up JAVA_TOOL_OPTIONS: -Dx=1' >&2\n{version}")
    assert find_java().identity == found.identity
    executable(tmp_path / "bin", "java", version.replace("21.0.2", "21.0.3"))
    assert find_java().identity != found.identity


def test_java_versions_are_read_as_java_writes_them() -> None:
    assert major_version('openjdk version "17.0.15" 2025-04-15') == 17
    assert major_version('java version "1.8.0_292"') == 8
    assert major_version('openjdk version "25" 2025-09-16') == 25
    assert major_version("command not found") is None


def test_waiting_for_a_condition_ends_as_soon_as_it_holds(run: Callable[..., Child]) -> None:
    child = run("echo ready; exec sleep 300")
    began = time.monotonic()
    child.wait_until(lambda: "ready" in child.output(), 30.0)
    assert time.monotonic() - began < 10
