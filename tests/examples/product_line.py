"""A product for notebooks: the real broker, an owner that judges what is imported, a view, and the API on a port of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from confluent_kafka.admin import NewTopic

from actors.kafka.admin import Admin
from actors.partition_owner import OwnerLoop
from actors.view import ChartView, Sources
from cluster.api.app import build_api
from cluster.api.quality import Quality, QualitySettings
from cluster.local import Endpoints
from models.builtin import FAMILIES
from schemas.topics import INSPECTION, MEASUREMENTS, VECTORS
from tests.cluster.quality_line import Here
from tests.cluster.served import free_port, wait_for
from tests.fixtures_stack import prepared
from tests.integration.line import TestLine

PHASE_ONE_ROWS = 50


@dataclass(frozen=True)
class RunningProduct:
    """Where it is, as a notebook is told by its environment."""

    url: str
    key: str
    endpoints: Endpoints

    def environment(self) -> dict[str, str]:
        return {
            "CHIPQUALITY_URL": self.url,
            "CHIPQUALITY_KEY": self.key,
            "CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS": self.endpoints.bootstrap_servers,
            "CHIPQUALITY_REGISTRY__URL": self.endpoints.registry_url,
        }


@contextmanager
def running_product(stack: Endpoints) -> Iterator[RunningProduct]:
    """Judge `fab.measurements` with the built-in univariate charts, and serve the API over HTTP; everybody may do everything."""
    prepared(stack)
    (told,) = Admin(stack.bootstrap_servers).topics([MEASUREMENTS])
    families = {"spc": FAMILIES["spc"](PHASE_ONE_ROWS)}
    line = TestLine(stack, partitions=len(told["partitions"]), families=families)
    line.input = MEASUREMENTS
    actions = f"{line.name}.actions"
    for future in line.admin.create_topics([NewTopic(actions, 1, 1, config={"cleanup.policy": "compact"})]).values():
        future.result(20)
    topics = line.topics
    sources = Sources(topics.charts, topics.alerts, (topics.dead_letters,), lives=actions, inspections=INSPECTION)
    view = ChartView(line.cluster, line.name, sources)
    settings = QualitySettings(line.name, line.input, topics.state, topics.control, actions, VECTORS, {})
    quality = Quality(line.cluster, settings)
    owner = OwnerLoop(line.pipeline(), line.deal().seats()[0])
    owner.start()
    try:
        wait_for(lambda: owner.state == "live", "live")
        with _served(build_api(Here(line, view), desks=quality), view) as url:
            yield RunningProduct(url, "nobody-asks", stack)
    finally:  # the app has closed the desks when it ended
        assert owner.stop()


@contextmanager
def _served(app: object, view: ChartView) -> Iterator[str]:
    """Serve an app on a thread; its loop is the one on which the view wakes who waits."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))  # type: ignore[arg-type]

    async def serve() -> None:
        await server.serve()
        await view.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="api")
    thread.start()
    try:
        wait_for(lambda: server.started, "the API serves", 30)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
