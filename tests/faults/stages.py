"""Kafka clusters of three brokers for the cases: plain ones, behind proxies, and on a disk that is small."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.local.stack import LocalStack
from tests.faults.case import Kind


@dataclass
class Stage:
    """A Kafka cluster, and what stands before it."""

    stack: LocalStack
    proxy: Any = None

    def mend(self) -> None:
        """Start again what is dead."""
        if self.proxy is not None:
            self.proxy.let_all_through()
        for name, pid in self.stack.pids.items():
            if not Path(f"/proc/{pid}").exists() or self.stack._children[name].exit_code is not None:
                self.stack.restart(name)


@contextlib.contextmanager
def start(kind: Kind, folder: Path, cache: Path) -> Iterator[Stage]:
    """Start three brokers and a registry."""
    directory = folder / f"stack-{uuid.uuid4().hex[:6]}"
    stack = LocalStack(directory, cache, brokers=3)
    try:
        stack.start()
        yield Stage(stack)
    finally:
        stack.stop()
        shutil.rmtree(directory, ignore_errors=True)
