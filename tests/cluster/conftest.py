"""One deployed API and page for the tests of this folder, over one pipeline's output topics."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import httpx
import pytest
import ray
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from actors import view
from cluster.api.app import deploy, undeploy
from cluster.config import ServeConfig, load
from cluster.local import Endpoints
from tests.cluster.output_line import OutputLine
from tests.cluster.page_checks import WIDE_MS
from tests.cluster.served import Served, free_port

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
NOTES = ("Test data <b>made up</b> by the test.",)


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
def page(browser: BrowserContext) -> Iterator[Page]:
    """An empty tab. What it logs as an error, or asks in a dialog, fails the test."""
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
