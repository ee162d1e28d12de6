"""What `chipquality local up` left running: a state file, and the processes found again by pid and start time."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from cluster.local import broker, docker, registry
from cluster.local.errors import LocalStackError

_FILE = "running.json"
_SAME_START_S = 2.0  # a pid that another process got meanwhile started later than that
STOP_GRACE_S = 30.0


@dataclass(frozen=True)
class Process:
    """One process, so that a pid which is another's now is not taken for it."""

    name: str
    pid: int
    started: float  # seconds since the epoch, as psutil tells it

    @classmethod
    def of(cls, name: str, pid: int) -> Process:
        """Return the record of a live process."""
        return cls(name, pid, psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """Return it if it still runs."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) < _SAME_START_S and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


@dataclass(frozen=True)
class Running:
    """A stack that outlives the command which started it."""

    how: str
    bootstrap_servers: str
    registry_url: str
    keep_data: bool
    data: str  # folder
    processes: tuple[Process, ...]

    def save(self, directory: Path) -> None:
        """Write the state file, whole or not at all."""
        new = directory / f"{_FILE}.new"
        new.write_text(json.dumps(asdict(self), indent=2))
        new.replace(directory / _FILE)

    def alive(self) -> bool:
        """Return whether any part of it runs."""
        if self.how == "docker":
            return any(self.health().values())
        return any(process.find() for process in self.processes)

    def health(self) -> dict[str, bool]:
        """Return name → whether it answers, of the broker and the registry that clients are given."""
        found = {}
        for server in filter(None, self.bootstrap_servers.split(",")):
            host, _, port = server.strip().rpartition(":")
            found[server] = broker.answers(host, int(port))
        if self.registry_url:
            found[self.registry_url] = registry.answers(self.registry_url)
        return found


def load(directory: Path) -> Running | None:
    """Return what the state file says, or None if there is none. Raises LocalStackError for a file that is not ours."""
    file = directory / _FILE
    try:
        said = json.loads(file.read_text())
        said["processes"] = tuple(Process(**process) for process in said["processes"])
        return Running(**said)
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise LocalStackError(
            f"{file} is no state file of ours ({error!r}): end its processes and delete it"
        ) from error


def forget(directory: Path) -> None:
    """Delete the state file."""
    (directory / _FILE).unlink(missing_ok=True)


def stop_in(directory: Path) -> list[str]:
    """Stop what `local up` left in this folder, with its temporary data. Returns the names of what ran."""
    found = load(directory)
    if found is None:
        return []
    stopped = stop(found)
    if not found.keep_data:
        shutil.rmtree(found.data, ignore_errors=True)
    forget(directory)
    return stopped


def stop(running: Running) -> list[str]:
    """Stop what still runs: TERM, and after the grace KILL. Returns the names of what ran."""
    if running.how == "docker":
        docker.down(keep_data=running.keep_data)
        return ["kafka", "registry"]
    found = {process.name: live for process in running.processes if (live := process.find())}
    for live in found.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            live.terminate()
    _, left = psutil.wait_procs(list(found.values()), timeout=STOP_GRACE_S)
    for live in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            live.kill()
    psutil.wait_procs(left, timeout=STOP_GRACE_S)
    return list(found)
