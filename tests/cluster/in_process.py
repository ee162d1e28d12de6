"""The API in this process, over the real broker and Ray: requests go to the app, not over a network."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx
import uvicorn
from fastapi import FastAPI

from actors.kafka.client import Cluster
from cluster.api.app import build_api
from cluster.api.facts import ClusterFacts
from tests.cluster.served import free_port, wait_for

ENDED = {"done", "failed", "cancelled"}


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """Let browsers reach an app; gives its URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=free_port(), log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started, "it listens")
        yield f"http://127.0.0.1:{server.config.port}/"
    finally:
        server.should_exit = True
        thread.join(100)  # a request that is under way is answered first
        assert not thread.is_alive(), "the server has ended: what it asks of Ray has an answer"


class Api:
    """A client of the app of one pipeline. Use as a context manager."""

    def __init__(self, cluster: Cluster, pipeline: str) -> None:
        self.app: FastAPI = build_api(ClusterFacts(cluster, pipeline))
        self._runner = asyncio.Runner()
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://api", timeout=90)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()

    def answer(self, method: str, path: str, body: Any = None, **further: Any) -> httpx.Response:
        asked = {"json": body} if body is not None else {}
        return self._runner.run(self._client.request(method, path, **asked, **further))

    def __call__(self, method: str, path: str, body: Any = None, *, status: int = 200, **further: Any) -> Any:
        """Return the body of an answer that has the status."""
        answer = self.answer(method, path, body, **further)
        assert answer.status_code == status, answer.text
        if status >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
        return answer.json()

    def planned(self, method: str, path: str, **body: Any) -> tuple[dict[str, Any], str]:
        """Return the plan and its hash."""
        told = self(method, path, {**body, "dry_run": True})
        return told["plan"], told["plan_hash"]

    def ended(self, operation: dict[str, Any], timeout_s: float = 100.0) -> dict[str, Any]:
        """Wait for the end of an operation; return it."""
        found: dict[str, Any] = wait_for(
            lambda: said if (said := self("GET", f"/operations/{operation['id']}"))["state"] in ENDED else None,
            f"{operation['kind']} ends",
            timeout_s,
        )
        return found

    def done(self, method: str, path: str, plan_hash: str, **body: Any) -> dict[str, Any]:
        """Apply a plan; return the operation, which must have been done."""
        operation = self.ended(self(method, path, {**body, "plan_hash": plan_hash}, status=202))
        assert operation["state"] == "done", operation
        return operation
