"""One real Ray for the tests that need it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray

from actors.names import NAMESPACE


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A real single-node Ray without a dashboard, for the whole session."""
    ray.init(
        address="local",
        _node_ip_address="127.0.0.1",
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=200 * 1024 * 1024,
        namespace=NAMESPACE,
        log_to_driver=False,
    )
    yield
    ray.shutdown()
