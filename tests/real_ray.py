"""One real single-node Ray, set as the product sets its own, with a dashboard only if one is wanted: tests and benchmarks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import ray

from actors.names import NAMESPACE
from cluster.ray_address import RAY_SETTINGS, agent_on_a_free_port


@contextmanager
def real_ray(dashboard_port: int | None = None) -> Iterator[None]:
    """Start it and connect; end it afterwards. With a port it has a dashboard there, and the Jobs API."""
    with patch.dict(os.environ, RAY_SETTINGS):
        with agent_on_a_free_port():
            ray.init(
                address="local",
                _node_ip_address="127.0.0.1",
                num_cpus=4,
                include_dashboard=dashboard_port is not None,
                dashboard_host="127.0.0.1",
                dashboard_port=dashboard_port,
                object_store_memory=200 * 1024 * 1024,
                namespace=NAMESPACE,
                log_to_driver=False,
            )
        try:
            yield
        finally:
            ray.shutdown()
