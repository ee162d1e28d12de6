"""The API with its access control, in this process, on the session's broker and registry."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from actors.kafka.client import Cluster
from cluster.access.door import DoorLimits
from cluster.access.secret import Secret
from cluster.access.wiring import Access, AccessSettings
from cluster.api.app import build_api
from cluster.api.facts import Facts
from cluster.api.problems import Unavailable
from cluster.local import Endpoints
from tests.cluster.served import wait_for
from tests.fixtures_stack import prepared

MANY = DoorLimits(1e6, 1_000_000, 1e6, 1_000_000, 64 * 1024, 5)


class NothingRuns:
    """Facts where no pipeline runs."""

    pipeline = "nothing"
    cluster = Cluster("127.0.0.1:1", "http://127.0.0.1:1")

    async def view(self, method: str, *_: Any) -> Any:
        raise Unavailable("view", f"nothing runs: {method}")

    async def owners(self) -> Any:
        raise Unavailable("owners", "nothing runs")

    topics = groups = registry = owners


@dataclass
class Api:
    """The app, and a client of it."""

    access: Access
    runner: asyncio.Runner
    app: Any = None
    made: list[str] = field(default_factory=list)

    def key(self, *grants: str, days: float = 1.0) -> str:
        """Make a key and wait until the app knows it."""
        minted = self.access.desk.create(self.access.following.book, f"k-{uuid.uuid4().hex[:8]}", grants, days, "tests")
        wait_for(lambda: self.access.following.book.get(minted.key.key_id), "the key is known")
        return minted.text

    def ask(self, method: str, path: str, key: str | None = None, **more: Any) -> httpx.Response:
        headers = dict(more.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return self.runner.run(self._ask(method, path, headers, more))

    async def _ask(self, method: str, path: str, headers: Any, more: Any) -> httpx.Response:
        base = more.pop("base", "http://api")
        address = more.pop("address", "192.0.2.7")
        transport = httpx.ASGITransport(app=more.pop("app", None) or self.app, client=(address, 5))
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await client.request(method, path, headers=headers, **more)


def settings(stack: Endpoints, **more: Any) -> AccessSettings:
    """Return settings with a secret of their own: keys of other tests are none here."""
    cluster = Cluster(stack.bootstrap_servers, stack.registry_url)
    return AccessSettings(cluster, Secret(uuid.uuid4().hex), **{"limits": MANY, "session_ms": 60_000, **more})


@pytest.fixture(scope="module")
def api(stack: Endpoints) -> Iterator[Api]:
    prepared(stack)
    access = Access(settings(stack))
    assert access.following.wait(30), access.following.trouble
    facts: Facts = NothingRuns()
    with asyncio.Runner() as runner:
        yield Api(access, runner, build_api(facts, access))
    access.close()


@pytest.fixture(scope="module")
def admin(api: Api) -> str:
    return api.key("admin")
