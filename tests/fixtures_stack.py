"""The real broker and registry that the tests share: started once a session, on free ports, in a temporary folder.

`CHIPQUALITY_TEST_BOOTSTRAP` and `CHIPQUALITY_TEST_REGISTRY` point the tests at a broker and a registry that run already; with
both set nothing is started.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from actors.kafka.admin import Admin
from actors.kafka.client import Cluster
from actors.prepare import prepare
from cluster.config import load
from cluster.local import Endpoints, LocalStack
from schemas.topics import INPUT, TOPICS


@pytest.fixture(scope="session")
def local_cache() -> Path:
    """The folder of the fetched jars, shared with `make demo`."""
    return load().local.cache


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, local_cache: Path) -> Iterator[Endpoints]:
    """One broker and one registry."""
    started = LocalStack(
        tmp_path_factory.mktemp("stack"),
        cache=local_cache,
        bootstrap_servers=os.environ.get("CHIPQUALITY_TEST_BOOTSTRAP"),
        registry_url=os.environ.get("CHIPQUALITY_TEST_REGISTRY"),
    )
    endpoints = started.start()
    try:
        yield endpoints
        started.check()  # a broker that died on the way is told, with the end of its log
    finally:
        started.stop()


def prepared(stack: Endpoints) -> Mapping[tuple[str, str], int]:
    """Make our topics, with as many partitions as another test of the session has given them; return schema ids."""
    cluster = Cluster(stack.bootstrap_servers, stack.registry_url)
    there = Admin(cluster.bootstrap_servers).topics(
        [topic.name for topic in TOPICS.values() if topic.partitions == INPUT]
    )
    return prepare(cluster, len(there[0]["partitions"]) if there else 2, 1)
