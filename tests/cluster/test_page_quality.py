"""What the page shows of vectors and of alerts that nobody took, over a line that judges, in a real browser."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlencode

import pytest
from playwright.sync_api import BrowserContext, expect

from actors.alert_desk import Wanted, alert_desk
from actors.view import ChartView
from cluster.api.app import build_api
from cluster.api.quality import Quality
from cluster.local import Endpoints
from models.alert_life import About, Action, Kind
from schemas.batch import series_key
from tests.cluster.in_process import listening
from tests.cluster.page_checks import stands
from tests.cluster.quality_line import CHART, NAMES, AsSaid, Here, QualityLine, Recorded, quality_line
from tests.cluster.test_quality_api import judged

VECTOR = series_key("E7", "", "", "", "trace")


class Shown(NamedTuple):
    """The page over the line, in a view of its own."""

    url: str
    escalated: str  # series of an alert that nobody acknowledged


@pytest.fixture(scope="module")
def quality(stack: Endpoints) -> Iterator[QualityLine]:
    """A line whose alerts nobody else has worked on."""
    with quality_line(stack) as line:
        yield line


@pytest.fixture(scope="module")
def shown(ray_cluster: None, quality: QualityLine) -> Iterator[Shown]:
    # before the browser: while that runs, this thread has an event loop
    event = {"equipment": "E7", "vector": "trace", "characteristics": list(NAMES), "values": [1.0, -3.0, 0.5]}
    at = quality.post("/events/measurement", {"event": event}, 202)
    alert = quality.alert()
    about = About(**{name: alert[name] for name in About._fields})
    desk = alert_desk(quality.line.cluster, f"{quality.line.name}.actions")
    desk.act(Wanted(alert["alert_id"], about, Action(Kind.ESCALATED, "chipquality", time.time_ns() // 10**6, "late")))
    desk.close()
    settings = quality.app.state.quality.settings
    desks = Quality(quality.line.cluster, settings)
    view = ChartView(quality.line.cluster, quality.line.name, quality.sources)
    view._board.add_block(
        judged(CHART, VECTOR, at["partition"], at["offset"], quality.line.name), at["partition"], 10**9, 0, live=False
    )
    app = build_api(Here(quality.line, view), desks=desks)
    app.state.guard, app.state.audit = AsSaid(), Recorded()
    with listening(app) as url:
        yield Shown(url, alert["series"])
    asyncio.run(view.stop())


def test_a_point_of_a_vector_is_told_with_what_contributed(shown: Shown, browser: BrowserContext) -> None:
    page = browser.new_page()
    page.goto(f"{shown.url}#/chart?{urlencode({'series': VECTOR})}")
    expect(page.locator("#chart")).to_have_attribute("data-points", "1")
    page.locator("#chart").focus()
    page.keyboard.press("End")
    point = page.locator("#point")
    expect(point).to_contain_text("Contributions to Q (SPE) of this point")
    expect(point).to_contain_text("(limit 3.5)")
    bars = point.locator(".contributions ul").last.locator("li")
    expect(bars).to_have_count(len(NAMES))
    expect(bars.first).to_contain_text("power")  # the largest
    expect(bars.first).to_contain_text("value -3")
    stands(page, "contributions", (360, 1280))
    page.close()


def test_an_alert_that_nobody_took_is_shown_as_escalated(shown: Shown, browser: BrowserContext) -> None:
    page = browser.new_page()
    page.goto(f"{shown.url}#/alerts")
    row = page.locator("#worklist tbody tr, #worklist li").filter(has_text="escalated")
    expect(row).to_have_count(1)
    row.get_by_role("button").first.click()
    expect(page.locator("#alert")).to_contain_text("escalated: not acknowledged in time")
    stands(page, "escalated", (360, 1280))
    page.close()
