"""One real single-node Ray, without a dashboard, set as the product sets its own: for tests and benchmarks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import ray

from actors.names import NAMESPACE
from cluster.ray_address import RAY_SETTINGS


@contextmanager
def real_ray() -> Iterator[None]:
    """Start it and connect; end it afterwards."""
    with patch.dict(os.environ, RAY_SETTINGS):
        ray.init(
            address="local",
            _node_ip_address="127.0.0.1",
            num_cpus=4,
            include_dashboard=False,
            object_store_memory=200 * 1024 * 1024,
            namespace=NAMESPACE,
            log_to_driver=False,
        )
        try:
            yield
        finally:
            ray.shutdown()
