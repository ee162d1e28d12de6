"""A line with a pipeline in Ray, and what is deployed beside it: plans applied as commands do, records and outputs read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors import supervisor
from cluster.deployments.crew import stop_all
from cluster.deployments.plans import DeployWish, deploy_plan, promote_plan, remove_plan, rollback_plan
from cluster.deployments.record import Deployment
from cluster.local import Endpoints
from cluster.operations import actor as operations
from cluster.operations.operation import Request
from cluster.operations.plans import Plan
from models.builtin import FAMILIES
from schemas.charts import ChartBlock, unpack
from tests.cluster.deployments.guests import stored
from tests.fixtures_stack import prepared
from tests.integration.line import TestLine, wait_for

ENDED = {"done", "failed", "cancelled"}


@dataclass
class Deployed:
    """Deployments beside a line's pipeline."""

    line: TestLine
    store: Path
    handle: Any = field(init=False)
    took: list[str] = field(default_factory=list)  # how long each operation did

    def __post_init__(self) -> None:
        self.handle = operations.connect(self.line.cluster, self.line.name)

    def ask(self, method: str, *arguments: Any) -> Any:
        return operations.ask(operations.connect(self.line.cluster, self.line.name), method, *arguments)

    def records(self) -> dict[str, Deployment]:
        return {record.name: record for record in self.ask("deployments")}

    def begin(self, plan: Plan) -> dict[str, Any]:
        return self.ask("begin", Request(plan.kind, plan.subject, plan.to_json(), plan.hash, "me"))

    def end(self, operation: dict[str, Any]) -> dict[str, Any]:
        wait_for(lambda: self.ask("get", operation["id"])["state"] in ENDED, f"{operation['kind']} ends")
        return self.ask("get", operation["id"])

    def plan_deploy(self, name: str, kind: str = "good", **wish: Any) -> Plan:
        url, digest = stored(self.store, kind)
        wished = DeployWish(name, digest, url, **wish)
        return deploy_plan(self.line.cluster, self.line.name, wished, self.records())

    def deploy(self, name: str, kind: str = "good", **wish: Any) -> Deployment:
        self.done(self.plan_deploy(name, kind, **wish))
        return self.records()[name]

    def promote(self, name: str, mode: str = "live") -> Deployment:
        self.done(promote_plan(self.line.name, name, mode, self.records()))
        return self.records()[name]

    def rollback(self, name: str) -> Deployment:
        self.done(rollback_plan(self.line.name, name, self.records()))
        return self.records()[name]

    def remove(self, name: str) -> None:
        self.done(remove_plan(self.line.name, name, self.records()))

    def done(self, plan: Plan) -> dict[str, Any]:
        started = time.monotonic()
        ended = self.end(self.begin(plan))
        took = f"{plan.kind} {plan.does['deployment']} in {time.monotonic() - started:.1f} s: {ended['what']}"
        self.took.append(f"{took}; {len(self.line.written[0])} written")
        assert ended["state"] == "done", ended
        return ended

    def reached(self, name: str) -> bool:
        """Say whether a deployment has judged all there is."""
        return self.judged(name) == self.line.ends()

    def judged(self, name: str) -> dict[int, int | None]:
        """Return how far a deployment has judged each partition."""
        from actors.kafka.consumer import PartitionReader
        from cluster.deployments.satellite import satellite_name

        reader = PartitionReader(self.line.cluster, satellite_name(name), self.line.input)
        try:
            return dict(reader.committed(self.line.ends()))
        finally:
            reader.close()

    def blocks(self, topic: str, pipeline: str | None = None) -> dict[int, list[ChartBlock]]:
        """Return the chart blocks of a topic by partition, in their order: of one pipeline, or of all."""
        found = {p: [unpack(value or b"") for _, value in records] for p, records in self.line.read(topic).items()}
        return {p: [b for b in blocks if pipeline in (None, b.pipeline)] for p, blocks in found.items()}


@contextmanager
def deployed(stack: Endpoints, store: Path, **settings: Any) -> Iterator[Deployed]:
    """A pipeline that judges in Ray, with nothing deployed beside it yet."""
    prepared(stack)
    line = TestLine(stack, families={"spc": FAMILIES["spc"](10)}, settings=settings)
    supervisor.start_pipeline(line.pipeline())
    try:
        supervisor.wait_live(line.name)
        yield Deployed(line, store)
    finally:
        operations.stop(line.name)
        stop_all()
        supervisor.stop_pipeline(line.name)
