"""One deployed API and page for the tests of this folder, over one pipeline's output topics."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
import ray
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from actors import view
from actors.kafka.client import Cluster
from actors.producers.publisher import Publisher
from cluster.access.book import Book
from cluster.access.desk import Desk
from cluster.access.secret import Secret
from cluster.api.app import deploy, undeploy
from cluster.config import AccessConfig, Config, ServeConfig, load
from cluster.local import Endpoints
from schemas.registry import Registry
from schemas.topics import ALERT_ACTIONS, INSPECTION
from tests.cluster.output_line import OutputLine
from tests.cluster.page_checks import WIDE_MS
from tests.cluster.quality_line import QualityLine, quality_line
from tests.cluster.served import Served, free_port
from tests.fixtures_stack import prepared

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
FAST = AccessConfig(
    requests_per_s=1e5, requests_burst=100_000, address_requests_per_s=1e5, address_requests_burst=100_000
)
NOTES = ("Test data <b>made up</b> by the test.",)


def config_at(port: int) -> Config:
    """Return settings of an API that is in no test's way, in two replicas: what one of them knows the other must know."""
    return load(serve=ServeConfig(port=port, replicas=2), access=FAST)


def admin_key(cluster: Cluster, secret: Secret) -> str:
    """Return a new key that may do everything."""
    with Publisher(cluster.bootstrap_servers, Registry(cluster.registry_url)) as publisher:
        desk = Desk(publisher, lambda: time.time_ns() // 1_000_000)
        return desk.create(Book(secret), "tests", ["admin"], 1, "tests").text


@pytest.fixture(scope="session")
def quality(stack: Endpoints) -> Iterator[QualityLine]:
    """The quality routes in this process, over a line that has raised alerts."""
    with quality_line(stack) as line:
        yield line


@pytest.fixture(scope="session")
def served(stack: Endpoints, ray_cluster: None) -> Iterator[Served]:
    line = OutputLine(stack)
    prepared(stack)
    sources = replace(line.sources, lives=ALERT_ACTIONS, inspections=INSPECTION)
    handle = view.start(line.cluster, line.pipeline, sources=sources, notes=NOTES)
    port, secret = free_port(), Secret(uuid.uuid4().hex)
    key = admin_key(line.cluster, secret)
    url = deploy(config_at(port), line.pipeline, line.cluster, secret)
    ray.get(handle.ready.remote(), timeout=60)
    with httpx.Client(base_url=url, timeout=20, headers={"Authorization": f"Bearer {key}"}) as http:
        yield Served(line, url, port, http, secret, key)
    undeploy()
    view.stop(line.pipeline)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """Headless Chromium. Of a module, not of the session: while it runs, its thread has an event loop."""
    chromium = shutil.which("chromium")
    assert chromium, "Chromium is needed: apt-get install chromium"
    expect.set_options(timeout=WIDE_MS)
    profile = tmp_path_factory.mktemp("chromium")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=chromium, args=list(FLAGS), viewport={"width": 1280, "height": 800}
        )
        yield context
        context.close()


@pytest.fixture
def page(browser: BrowserContext, served: Served) -> Iterator[Page]:
    """An empty tab of a browser that is signed in. What it logs as an error, or asks in a dialog, fails the test."""
    if not browser.cookies():
        browser.add_cookies([served.cookie()])  # type: ignore[list-item]
    opened = browser.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    opened.on(
        "console",
        lambda said: (
            wrong.append(said.text) if said.type == "error" and "Failed to load resource" not in said.text else None
        ),
    )
    yield opened
    opened.close()
    assert wrong == []
