"""Several real Ray nodes on one machine: a head that runs no owner, and workers that can be killed and replaced.

Every node is a raylet of its own with its own workers. All processes are started from the calling thread and die with it (the
kernel sends them SIGKILL), so call everything here from the main thread.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import ray
from ray.cluster_utils import Cluster

from actors.names import NAMESPACE
from cluster.ray_address import RAY_SETTINGS

WORKER_CPUS = 4  # of one node, for scheduling: four slots with actors; Ray starts as many processes ahead
OBJECT_STORE_BYTES = 100 * 1024 * 1024  # of one node
ADDRESS = "127.0.0.2"  # loopback: Ray would take 127.0.0.1 for "the address that others reach", which is another

ENVIRONMENT = {
    **RAY_SETTINGS,
    "RAY_gcs_storage": "rocksdb",  # so that the GCS can come back; alpha in Ray 2.60, Redis is what Ray supports
    "RAY_gcs_rpc_server_reconnect_timeout_s": "120",
    "RAY_worker_maximum_startup_concurrency": "1",  # two nodes share this machine's cores; Ray takes all of them for each
    "RAY_usage_stats_enabled": "0",
    "RAY_preload_python_modules": "actors.preload",  # by processes that are started ahead (actors/supervision/warm.py)
}


class RayNodes:
    """A Ray cluster of a head and some workers. A context manager."""

    def __init__(self, workers: int = 2) -> None:
        self._wanted = workers
        self._folder = Path(tempfile.mkdtemp(prefix="ray-gcs-"))
        self._cluster: Any = None
        self._before = {name: os.environ.get(name) for name in (*ENVIRONMENT, "RAY_gcs_storage_path")}

    def __enter__(self) -> RayNodes:
        """Start the nodes and connect."""
        os.environ.update(ENVIRONMENT, RAY_gcs_storage_path=str(self._folder))
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "object_store_memory": OBJECT_STORE_BYTES,
                "node_ip_address": ADDRESS,
                "include_dashboard": False,
            },
        )
        try:
            ray.init(
                address=self._cluster.address,
                namespace=NAMESPACE,
                log_to_driver=False,
                configure_logging=False,
                _node_ip_address=ADDRESS,
            )
            self.fill_up()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process that was started."""
        ray.shutdown()
        self._cluster.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    @property
    def logs(self) -> Path:
        """Ray's log folder of this session."""
        return Path(self._cluster.head_node.get_logs_dir_path())

    def fill_up(self) -> None:
        """Replace the workers that have died."""
        for node in list(self._cluster.worker_nodes):
            if _raylet(node) is None:
                self._cluster.remove_node(node, allow_graceful=False)
        while len(self._cluster.worker_nodes) < self._wanted:
            self._cluster.add_node(
                num_cpus=WORKER_CPUS, object_store_memory=OBJECT_STORE_BYTES, node_ip_address=ADDRESS
            )

    def kill_node_of(self, pid: int) -> None:
        """Kill -9 everything of the node on which this worker process runs, as if its plug had been pulled."""
        for process in self._node_of(pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)

    @contextlib.contextmanager
    def frozen_node_of(self, pid: int) -> Iterator[list[psutil.Process]]:
        """Stop everything of the node on which this worker process runs, as a hypervisor stops a machine; then let it go on."""
        processes = self._node_of(pid)
        try:
            for process in processes:
                process.suspend()
            yield processes
        finally:
            for process in reversed(processes):  # the raylet, which ends the others, last
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def _node_of(self, pid: int) -> list[psutil.Process]:
        """Return the raylet that is above this worker process, and everything below it."""
        ancestors = {process.pid for process in psutil.Process(pid).parents()}
        for node in self._cluster.worker_nodes:
            raylet = _raylet(node)
            if raylet is not None and raylet in ancestors:
                return [psutil.Process(raylet), *psutil.Process(raylet).children(recursive=True)]
        raise LookupError(f"process {pid} runs on none of the worker nodes")

    def kill_gcs(self) -> None:
        """Kill -9 the GCS."""
        self._cluster.head_node.kill_gcs_server()

    def start_gcs(self) -> None:
        """Start the GCS again, on its port and its data."""
        self._cluster.head_node.start_gcs_server()

    def object_store_used(self) -> int:
        """Return the bytes that objects take on all nodes."""
        total = ray.cluster_resources().get("object_store_memory", 0.0)
        return int(total - ray.available_resources().get("object_store_memory", 0.0))


def _raylet(node: Any) -> int | None:
    """Return the raylet's pid, None if it is dead."""
    for info in node.all_processes.get("raylet", ()):
        if info.process.poll() is None:
            return int(info.process.pid)
    return None


def signal_and_wait(pid: int, number: int, timeout_s: float = 10.0) -> None:
    """Send a signal that ends a process, and wait until it is gone."""
    process = psutil.Process(pid)
    process.send_signal(number)
    deadline = time.monotonic() + timeout_s
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} is still there {timeout_s} s after signal {number}")
        time.sleep(0.005)
