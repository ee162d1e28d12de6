"""Every view of the page in a real browser: at any width, by keyboard, for a screen reader, under a fast stream."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from cluster.api.stream import STREAM_SERIES_MAX
from cluster.jobs import actor as scheduler
from cluster.jobs.job import Job
from cluster.operations import actor as operations
from tests.background import again_and_again
from tests.cluster.inspected import inspected, letter
from tests.cluster.page_checks import accessible, fits, picture, stands
from tests.cluster.served import Served

SOME = re.compile(r"[1-9]\d*")
TOOLS = ("CVD-01", "CVD-02", "LITHO-3")
SERIES = "CVD-01|1|OX_200|3100|THICKNESS"
WALL = [f"WALL-{i % 5}|1|R|1|P{i:02}" for i in range(STREAM_SERIES_MAX)]
UPDATES_S = 4  # at most
INSPECTION_ID = f"I-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def filled(served: Served) -> Served:
    """Three tools, one of them in alarm; a letter that could not be processed."""
    line = served.line
    series = [f"{tool}|1|OX_200|3100|{what}" for tool in TOOLS for what in ("THICKNESS", "TEMP")]
    for start in range(0, 40, 10):
        line.publish(line.in_control(series, 10, seed=start), lsl=5.0, usl=15.0)
    line.publish([(SERIES, 30.0)], lsl=5.0, usl=15.0)
    line.dead_letter("malformed")
    inspected(served, INSPECTION_ID)
    letter(served, "a service", line.pipeline, 1)
    served.read_up_to(line.next_offset)
    return served


@pytest.fixture(scope="module", autouse=True)
def nightly(served: Served) -> Iterator[Job]:
    """A job by hand, and the scheduler that has it. Ray's dashboard does not run here, so no run of it begins."""
    job = Job(f"nightly-{uuid.uuid4().hex[:6]}", "limits", {"series": ["*"]}, by="tests")
    line = served.line
    handle = scheduler.connect(scheduler.Settings(line.cluster, line.pipeline, "file:///nowhere"))
    operations.ask(handle, "schedule", job)
    yield job
    scheduler.stop(line.pipeline)


def goto(page: Page, filled: Served, address: str) -> None:
    page.goto(f"{filled.url}#/{address}")
    expect(page.locator("#connection")).to_have_text("live")


def fast(filled: Served, series: list[str]) -> AbstractContextManager[None]:
    """Publish a point of every series some thirty times a second."""
    return again_and_again(lambda: filled.line.publish([(one, 10.0) for one in series]), 0.03)


VIEWS = {
    "overview": ("overview", "#tools .tile"),
    "chart": (f"chart?{urlencode({'series': SERIES})}", "#chart[data-points]"),
    "wall": (f"wall?{urlencode({'search': 'OX_200'})}", "#wall canvas[data-points]"),
    "alerts": ("alerts", "#worklist button"),
    "pareto": ("pareto", "#pareto > *"),
    "wafer": (f"wafer?{urlencode({'id': INSPECTION_ID})}", "#wafer .wafer .mark"),
    "operations-pipelines": ("operations?part=pipelines", "#part .headline"),
}
PARTS = {
    "topics": "#part table tbody tr",
    "schemas": "#schemas tbody tr",
    "dead-letters": "#dead-letters tbody tr",
    "running": "#part .listed[data-loaded]",
    "jobs": "#jobs tbody tr",
    "detectors": "#detectors tbody tr",
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_stands_at_every_width_in_both_themes_and_for_a_screen_reader(
    page: Page, filled: Served, name: str
) -> None:
    address, loaded = VIEWS[name]
    goto(page, filled, address)
    expect(page.locator(loaded).first).to_be_visible()
    stands(page, name)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_operations_stands_too(page: Page, filled: Served, part: str) -> None:
    goto(page, filled, f"operations?part={part}")
    expect(page.locator(PARTS[part]).first).to_be_visible()
    fits(page, f"operations-{part}", (360, 820, 1280))
    accessible(page)


def test_an_alert_is_shown_beside_the_list(page: Page, filled: Served) -> None:
    goto(page, filled, "alerts?words=thickness")
    page.locator("#worklist button", has_text="THICKNESS").first.click()
    expect(page.locator("#alert h2")).to_contain_text("THICKNESS")
    expect(page.locator("#alert")).to_contain_text("OPEN: the signal goes on")
    stands(page, "alert", (360, 1280))


def test_a_wall_screen_is_used(page: Page, filled: Served) -> None:
    goto(page, filled, f"chart?{urlencode({'series': SERIES})}")
    expect(page.locator("#chart")).to_have_attribute("data-points", SOME)
    fits(page, "chart", (3840,))


def test_the_overview_says_what_runs_and_what_does_not(page: Page, filled: Served) -> None:
    goto(page, filled, "")
    expect(page.locator("#health")).to_contain_text("stopped or not ready")
    expect(page.locator("#health")).to_contain_text(f"supervisor:{filled.line.pipeline}")
    tile = page.locator("[data-tool='CVD-01']")
    expect(tile).to_have_attribute("data-state", "alarm")
    expect(tile).to_contain_text("▲ alarm")
    expect(page.locator("[data-tool='CVD-02']")).not_to_have_attribute("data-state", "learning")
    expect(page.locator("#severities")).to_contain_text("critical")
    expect(page.locator("#throughput")).to_have_attribute("aria-label", re.compile("Throughput: now"))
    tile.get_by_role("link").click()
    expect(page.locator("#search")).to_have_value("CVD-01")


def test_a_view_that_is_none_says_so(page: Page, filled: Served) -> None:
    goto(page, filled, "nothing")
    expect(page.locator("main")).to_contain_text("There is no such view")


def test_what_the_server_does_not_have_is_said_in_words(page: Page, filled: Served) -> None:
    """As a server of an older release answers: with the 404 of a route that it does not know."""
    absent = filled.http.get("/no-such-route")
    assert absent.status_code == 404
    for path, view in (("/pareto", "pareto"), ("/operations", "operations?part=running")):
        page.route(
            re.compile(f"{re.escape(filled.url)[:-1]}{path}([?].*)?$"),
            lambda route: route.fulfill(status=404, content_type="application/problem+json", body=absent.text),
        )
        goto(page, filled, view)
        expect(page.locator("main")).to_contain_text(f"This server has no {path}")


def test_the_page_is_walked_by_keyboard(page: Page, filled: Served) -> None:
    goto(page, filled, "overview")
    expect(page.locator("#tools .tile").first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#view")).to_be_focused()
    page.locator("#views a", has_text="Alerts").focus()
    page.keyboard.press("Enter")
    expect(page.locator("main h1")).to_be_focused()
    expect(page.locator("main h1")).to_have_text("Alerts")
    expect(page.locator("#views a[aria-current=page]")).to_have_text("Alerts")
    expect(page.locator("#said")).to_have_text("Alerts")
    first = page.locator("#worklist button").first
    expect(first).to_be_visible()
    first.focus()
    page.keyboard.press("j")
    second = page.locator("#worklist button").nth(1)
    expect(second).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#worklist button[aria-current=true]")).to_have_count(1)
    expect(page.locator("#alert h2")).to_be_visible()
    page.go_back()
    expect(page.locator("main h1")).to_have_text("Overview")


def test_tabs_of_a_chart_are_gone_through_with_the_arrows(page: Page, filled: Served) -> None:
    goto(page, filled, f"chart?{urlencode({'series': SERIES})}")
    page.get_by_role("tab", selected=True).focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", selected=True)).to_have_text("X̄ · R")
    expect(page.get_by_role("tab", selected=True)).to_be_focused()
    page.reload()
    expect(page.get_by_role("tab", selected=True)).to_have_text("X̄ · R")


def test_the_theme_that_is_chosen_stays(page: Page, filled: Served) -> None:
    goto(page, filled, "overview")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.locator("#theme").select_option("dark")
    dark = page.evaluate(ground)
    assert light != dark
    page.reload()
    assert page.evaluate(ground) == dark
    page.locator("#theme").select_option("auto")
    assert page.evaluate(ground) == light


def test_the_menu_of_a_phone_opens_and_closes(page: Page, filled: Served) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    goto(page, filled, "overview")
    expect(page.locator("#views")).to_be_hidden()
    page.locator("#menu").click()
    picture(page, "menu-360")
    page.locator("#views a", has_text="Wall").click()
    expect(page.locator("main h1")).to_have_text("Wall")
    expect(page.locator("#views")).to_be_hidden()


def test_alerts_are_filtered_and_come_newest_first(page: Page, filled: Served) -> None:
    goto(page, filled, "alerts")
    rows = page.locator("#worklist button")
    expect(rows.first).to_be_visible()
    times = [
        found[0] for text in rows.all_inner_texts() if (found := re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text))
    ]
    assert times == sorted(times, reverse=True)
    page.get_by_label("Words").fill("nobody is called this")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#alerts-words")).to_have_text("No alert is like this.")
    page.reload()
    expect(page.get_by_label("Words")).to_have_value("nobody is called this")


def test_a_job_is_run_and_its_run_cancelled(page: Page, filled: Served, nightly: Job) -> None:
    goto(page, filled, "operations?part=jobs")
    row = page.locator("#jobs tbody tr", has_text=nightly.name)
    for words in ("limits", "by hand", "never run", "none yet", "tests"):
        expect(row).to_contain_text(words)
    row.get_by_role("button", name="Run now").click()
    row.get_by_role("button", name="Cancel its run").click()
    ended = re.compile("cancelled|stopping")  # Ray is asked whether it runs, and has no dashboard to say so
    expect(row).to_contain_text(ended)
    row.get_by_role("button", name="Runs").click()
    run = page.locator("#runs tbody tr")
    expect(run).to_have_count(1)
    expect(run).to_contain_text(ended)
    expect(run).to_contain_text("hand, ")


def test_detectors_say_their_versions(page: Page, filled: Served) -> None:
    goto(page, filled, "operations?part=detectors")
    expect(page.get_by_text("No detector is deployed at run time.")).to_be_visible()
    row = page.locator("#detectors tbody tr", has_text="spc.individuals")
    expect(row.locator("code")).to_have_text(re.compile(r"^\d+-[0-9a-f]+$"))
    row.locator("summary").click()
    expect(row).to_contain_text("Nelson 6: 4 of 5 points in a row")


def test_a_fast_stream_draws_four_times_a_second_at_most(page: Page, filled: Served) -> None:
    goto(page, filled, f"chart?{urlencode({'series': SERIES})}")
    chart = page.locator("#chart")
    expect(chart).to_have_attribute("data-points", SOME)
    with fast(filled, [SERIES]):
        time.sleep(0.5)
        before, began = int(chart.get_attribute("data-draws") or 0), time.monotonic()
        time.sleep(2)
        draws, took = int(chart.get_attribute("data-draws") or 0) - before, time.monotonic() - began
    assert 2 <= draws <= UPDATES_S * took + 1


STALL = """() => {
  window.stall = 0;
  let last = performance.now();
  const frame = (now) => { window.stall = Math.max(window.stall, now - last); last = now; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
}"""
DRAWS = """() => [...document.querySelectorAll("#wall canvas")]
  .map((one) => [+(one.dataset.draws ?? 0), +(one.dataset.points ?? 0)])"""


def test_fifty_charts_live_over_one_stream(page: Page, filled: Served) -> None:
    for start in range(0, 30, 10):
        filled.line.publish(filled.line.in_control(WALL, 10, seed=start))
    filled.read_up_to(filled.line.next_offset)
    streams: list[str] = []
    page.on("request", lambda request: streams.append(request.url) if "/stream?" in request.url else None)
    goto(page, filled, f"wall?{urlencode({'series': WALL}, doseq=True)}")
    page.wait_for_function("() => document.querySelectorAll('#wall canvas[data-points]').length === 50")
    assert streams[-1].count("series=") == STREAM_SERIES_MAX
    opened = len(streams)
    page.evaluate(STALL)
    with fast(filled, WALL):
        time.sleep(0.5)
        before, began = page.evaluate(DRAWS), time.monotonic()
        time.sleep(3)
        after, took = page.evaluate(DRAWS), time.monotonic() - began
    stall = page.evaluate("window.stall")
    picture(page, "wall-50")
    assert len(streams) == opened, "one stream for all of them"
    draws = [now[0] - then[0] for now, then in zip(after, before, strict=True)]
    assert min(draws) >= 2, "every chart lives"
    assert max(draws) <= UPDATES_S * took + 1
    assert all(points > 0 for _, points in after)
    assert stall < 1_000, f"the page stood still for {stall:.0f} ms"
