"""Kafka clusters of three brokers for the cases: plain ones, behind proxies, and on a disk that is small."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.local.preflight import MIB
from cluster.local.stack import LocalStack
from tests.faults.case import Kind, NotHereError
from tests.faults.proxy import BrokerProxy

DISK_BYTES = 1024 * MIB
DISK_LEFT_BYTES = 8 * MIB  # when it is filled up


@dataclass
class Stage:
    """A Kafka cluster, and what stands before it."""

    stack: LocalStack
    proxy: BrokerProxy | None = None
    disk: SmallDisk | None = None

    def mend(self) -> None:
        """Start again what is dead."""
        if self.proxy is not None:
            self.proxy.let_all_through()
        if self.disk is not None:
            self.disk.free()
        for name, pid in self.stack.pids.items():
            if not Path(f"/proc/{pid}").exists() or self.stack.exit_code(name) is not None:
                self.stack.restart(name)


@contextlib.contextmanager
def start(kind: Kind, folder: Path, cache: Path) -> Iterator[Stage]:
    """Start three brokers and a registry. Raises NotHereError if this machine does not let us."""
    directory = folder / f"stack-{uuid.uuid4().hex[:6]}"
    with contextlib.ExitStack() as left:
        left.callback(shutil.rmtree, directory, ignore_errors=True)
        disk, proxy = None, None
        if kind == "small disk":
            disk = left.enter_context(small_disk(directory))
        if kind == "proxied":
            proxy = BrokerProxy()
            left.callback(proxy.close)
        least = DISK_BYTES // 4 if disk else 512 * MIB
        stack = LocalStack(
            directory, cache, brokers=3, data_bytes_min=least, advertised_ports=proxy.ports if proxy else ()
        )
        if proxy is not None:
            proxy.aim(stack)
        left.callback(stack.stop)
        stack.start()
        yield Stage(stack, proxy, disk)


class SmallDisk:
    """A disk in memory that can be filled up. It holds the data of all three brokers."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self, left_bytes: int = DISK_LEFT_BYTES) -> None:
        """Take all of it but a little, which the brokers fill by themselves."""
        free = shutil.disk_usage(self._ballast.parent).free
        with self._ballast.open("wb") as file:
            for _ in range(max(0, free - left_bytes) // MIB):
                file.write(bytes(MIB))

    def free(self) -> None:
        """Give it back."""
        self._ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount a tmpfs at the folder. Raises NotHereError where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "faults", str(folder)]
    said = subprocess.run(mount, capture_output=True, text=True, check=False)
    if said.returncode:
        raise NotHereError(f"a small tmpfs cannot be mounted here: {said.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
