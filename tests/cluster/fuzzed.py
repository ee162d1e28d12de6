"""The whole API in this process for what asks it anything: access control, the quality routes, Ray, all on topics of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import httpx
import requests
from confluent_kafka.admin import NewTopic
from fastapi import FastAPI

from cluster.access.wiring import Access
from cluster.api.app import build_api
from cluster.jobs import actor as scheduler
from cluster.local import Endpoints
from cluster.operations import actor as operations
from schemas.registry import Registry
from tests.cluster.access.conftest import settings
from tests.cluster.quality_line import Here, QualityLine, quality_line
from tests.cluster.served import wait_for

LETTERS = "fab.system.dlq"


class Fuzzed:
    """An app whose caller is an admin; `known`: names of things that there are, by the parameter that takes them."""

    def __init__(self, line: QualityLine, app: FastAPI, access: Access) -> None:
        self.line, self.app, self.access = line, app, access
        self.mark = f"fuzz-{uuid.uuid4().hex[:8]}"
        self.key = self._key("admin")
        self.known = self._known()

    def ask(self, request: requests.PreparedRequest) -> httpx.Response:
        """Send what schemathesis has prepared, byte for byte."""
        return self.send(str(request.method), str(request.url), dict(request.headers), request.body or b"")

    def send(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, content: bytes | str = b""
    ) -> httpx.Response:
        """Send a request with the admin's key."""

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=("192.0.2.9", 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://api", timeout=60) as client:
                told = {**(headers or {}), "Authorization": f"Bearer {self.key}"}
                raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told.items()]
                return await client.request(method, url, headers=raw, content=content)

        return self.line.run(asked())

    def _key(self, *grants: str) -> str:
        minted = self.access.desk.create(self.access.following.book, f"{self.mark}-{grants[0]}", grants, 1, "tests")
        wait_for(lambda: self.access.following.book.get(minted.key.key_id), "the key is known")
        return minted.text

    def _known(self) -> dict[str, list[Any]]:
        """Make something of each kind, and return their names. What deletes or changes finds nothing that is not ours."""
        line, alert = self.line, self.line.alert()
        topic, subject = f"{self.mark}-topic", f"{self.mark}-value"
        line.line.admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)
        registry = Registry(line.line.endpoints.registry_url)
        for text in ('"string"', '{"type": "string"}'):
            registry.register(subject, text)
        asked = {"series": alert["series"], "reason": "fuzz"}
        answer = self.send(
            "POST", "/limits/proposals", {"Content-Type": "application/json"}, requests.compat.json.dumps(asked)
        )
        assert answer.status_code == 201, answer.text
        job = requests.compat.json.dumps({"kind": "limits", "parameters": {"series": ["*"]}})
        answer_of_job = self.send("PUT", f"/jobs/{topic}", {"Content-Type": "application/json"}, job)
        assert answer_of_job.status_code == 200, answer_of_job.text
        self._key("viewer")
        spare = next(key for key in self.access.following.book.listed() if key.name.endswith("-viewer"))
        return {
            "series": [alert["series"]],
            "alert_id": [alert["alert_id"]],
            "change_id": [answer.json()["change_id"]],
            "name": [topic],
            "subject": [subject],
            "group": [line.line.name],
            "topic": [LETTERS],
            "partition": [0, 1],
            "offset": [0, 20],
            "key_id": [spare.key_id],
        }

    def path(self, template: str) -> str:
        """Return a path with known names in it."""
        for name, values in self.known.items():
            template = template.replace(f"{{{name}}}", quote(str(values[0]), safe=""))
        return template.replace("{category}", "measurement")


@contextmanager
def fuzzed(stack: Endpoints) -> Iterator[Fuzzed]:
    """Run a line, the app over it, and whatever that needs; Ray runs."""
    with quality_line(stack) as line:
        access = Access(settings(stack))
        assert access.following.wait(30), access.following.trouble
        with TemporaryDirectory() as store:
            app = build_api(Here(line.line, line.view), access, line.app.state.quality, store)
            scheduler.connect(scheduler.Settings(line.line.cluster, line.line.name, store))
            try:
                yield Fuzzed(line, app, access)
            finally:
                scheduler.stop(line.line.name)
                operations.stop(line.line.name)
                access.close()
