"""One deployed API and page for the tests of this folder, over one pipeline's output topics."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import ray

from actors import view
from cluster.api.app import deploy, undeploy
from cluster.config import ServeConfig, load
from cluster.local import Endpoints
from tests.cluster.output_line import OutputLine
from tests.cluster.quality_line import QualityLine, quality_line
from tests.cluster.served import Served, free_port

NOTES = ("Test data <b>made up</b> by the test.",)


@pytest.fixture(scope="session")
def quality(stack: Endpoints) -> Iterator[QualityLine]:
    """The quality routes in this process, over a line that has raised alerts."""
    with quality_line(stack) as line:
        yield line


@pytest.fixture(scope="session")
def served(stack: Endpoints, ray_cluster: None) -> Iterator[Served]:
    line = OutputLine(stack)
    handle = view.start(line.cluster, line.pipeline, sources=line.sources, notes=NOTES)
    port = free_port()
    config = load(serve=ServeConfig(port=port))
    url = deploy(config, line.pipeline, line.cluster)
    ray.get(handle.ready.remote(), timeout=60)
    with httpx.Client(base_url=url, timeout=20) as http:
        yield Served(line, url, port, http)
    undeploy()
    view.stop(line.pipeline)
