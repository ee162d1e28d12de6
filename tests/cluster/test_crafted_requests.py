"""What is crafted to break a parser is refused, by whichever part reads it first; nothing behind the API is needed for that."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from cluster.api.app import build_api
from cluster.api.quality import Quality, QualitySettings
from tests.cluster.access.conftest import NothingRuns

DEEP = b"[" * 100_000
NO_DESKS = Quality(NothingRuns.cluster, QualitySettings("nothing"))  # each is made when it is asked


def ask(method: str, path: str, **more: Any) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(build_api(NothingRuns(), desks=NO_DESKS), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
            return await http.request(method, path, **more)

    return asyncio.run(asked())


@pytest.mark.parametrize("kind", ["application/json", "text/plain", ""])
@pytest.mark.parametrize("path", ["/limits/proposals", "/exclusions"])
def test_a_body_that_is_nested_too_deeply_names_nothing(path: str, kind: str) -> None:
    answer = ask("POST", path, content=DEEP, headers={"Content-Type": kind})
    assert answer.status_code in (400, 422), answer.text
