"""The same broker and registry from `docker-compose.yml`, where Java or Maven is missing but a Docker engine answers.

Containers are no children of ours, the kernel does not end them with us. So a small process waits at a pipe that only
we hold open: at the end of us, orderly or not, it reads the end of the pipe and takes the containers down.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cluster.local.errors import WAYS_OUT, LocalStackError
from cluster.local.preflight import LOOPBACK

COMPOSE_FILE = Path(__file__).resolve().parents[2] / "docker-compose.yml"
PROJECT = "chipquality-local"  # not the project of a whole stack that runs beside us: its volumes are not ours
UP_DEADLINE_S = 900.0  # the first time, images are pulled
DOWN_DEADLINE_S = 60.0
_ENGINE_DEADLINE_S = 20.0


def _compose(*arguments: str) -> tuple[str, ...]:
    return ("docker", "compose", "-p", PROJECT, "-f", str(COMPOSE_FILE), *arguments)


def _down(*, keep_data: bool) -> tuple[str, ...]:
    return _compose("down", "--timeout", "10", *(() if keep_data else ("--volumes",)))


def why_not() -> str | None:
    """Return why Docker cannot do it, or None if it can."""
    if shutil.which("docker") is None:
        return "Docker is missing too"
    if _run(("docker", "info", "--format", "{{.ServerVersion}}"), _ENGINE_DEADLINE_S):
        return "no Docker engine answers either"
    if _run(("docker", "compose", "version"), _ENGINE_DEADLINE_S):
        return "Docker answers, but has no Compose v2"
    if not COMPOSE_FILE.is_file():
        return "Docker answers, but docker-compose.yml is not here: this is no checkout of the project"
    return None


def _run(argv: Sequence[str], deadline_s: float, environment: dict[str, str] | None = None) -> str:
    """Return "" if the command succeeds, else what it said."""
    try:
        variables = {**os.environ, **(environment or {})}
        done = subprocess.run(argv, capture_output=True, text=True, timeout=deadline_s, check=False, env=variables)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    return " | ".join((done.stderr or done.stdout).strip().splitlines()[-5:]) or f"exit code {done.returncode}"


class Containers:
    """Broker and registry as containers. `bound`: they end with us."""

    def __init__(self, kafka_port: int, registry_port: int, *, keep_data: bool, bound: bool) -> None:
        self._keep_data = keep_data
        self._ports = {
            "CHIPQUALITY_LOCAL__KAFKA_PORT": str(kafka_port),
            "CHIPQUALITY_LOCAL__REGISTRY_PORT": str(registry_port),
        }
        self._bound = bound
        self._guard: subprocess.Popen[bytes] | None = None
        self.bootstrap_servers = f"{LOOPBACK}:{kafka_port}"
        self.registry_url = f"http://{LOOPBACK}:{registry_port}"

    def start(self) -> None:
        """Start them and wait until they are healthy. Raises LocalStackError with what Docker said."""
        if self._bound:
            script = 'cat >/dev/null; exec "$@"'
            self._guard = subprocess.Popen(
                ("sh", "-c", script, "guard", *_down(keep_data=self._keep_data)),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        if not self._keep_data:
            _run(_down(keep_data=False), DOWN_DEADLINE_S)
        said = _run(_compose("up", "-d", "--wait", "kafka", "registry"), UP_DEADLINE_S, self._ports)
        if said:
            self.stop()
            raise LocalStackError(f"docker compose up failed: {said}; {WAYS_OUT}")

    def stop(self) -> None:
        """Take them down."""
        guard, self._guard = self._guard, None
        if guard is None:
            down(keep_data=self._keep_data)
            return
        if guard.stdin is not None:
            guard.stdin.close()
        try:
            guard.wait(DOWN_DEADLINE_S)
        except subprocess.TimeoutExpired as error:
            guard.kill()
            guard.wait()
            raise LocalStackError(f"docker compose down is not done after {DOWN_DEADLINE_S:.0f} s") from error


def down(*, keep_data: bool) -> None:
    """Take the containers of an earlier start down. Raises LocalStackError with what Docker said."""
    if said := _run(_down(keep_data=keep_data), DOWN_DEADLINE_S):
        raise LocalStackError(f"docker compose down failed: {said}")
