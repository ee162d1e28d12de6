"""The page in a real headless Chromium, as a quality engineer uses it."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
import ray
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from actors import view
from tests.cluster.relay import Relay
from tests.cluster.served import Served

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SERIES = "ETCH-07|B|POLY_V3|4200|CD_WIDTH"
HOSTILE = "<img src=x onerror=\"document.title='harm'\">|<b>|%|/|<script>document.title='harm'</script>"
SOME = re.compile(r"[1-9]\d*")
PIXELS = """() => {
  const canvas = document.querySelector('#chart canvas'), seen = {};
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  for (let i = 0; i < pixels.length; i += 4) {
    const colour = (pixels[i] << 16) | (pixels[i + 1] << 8) | pixels[i + 2];
    if (pixels[i + 3]) seen[colour] = (seen[colour] ?? 0) + 1;
  }
  return seen;
}"""  # colour → how many pixels of the chart have it
MORE_SIGNALS = """([signals, points]) => {
  const shown = document.querySelector('#chart').dataset;
  return +shown.signals > signals && +shown.points > points;
}"""
POINT, LIMIT, SPECIFICATION, RED = "1f4e79", "b35806", "6a3d9a", "c0152f"
WIDE_MS = 100_000  # for what has no promise of its own: beside other tests a view that starts again takes half a minute
expect.set_options(timeout=WIDE_MS)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    chromium = shutil.which("chromium")
    assert chromium, "Chromium is needed: apt-get install chromium"
    profile = tmp_path_factory.mktemp("chromium")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=chromium, args=list(FLAGS), viewport={"width": 1280, "height": 800}
        )
        yield context
        context.close()


@pytest.fixture(scope="module")
def filled(served: Served) -> Served:
    """A series that has left Phase I and is in control, one with missing values, and one with a hostile name."""
    rows = served.line.in_control([SERIES, HOSTILE], 60, seed=5)
    rows += [(SERIES, float("nan")), (SERIES, float("nan"))]
    rows += served.line.in_control([SERIES], 10, seed=6)
    served.line.publish(rows, lsl=5.0, usl=15.0)
    served.read_up_to(served.line.next_offset)
    return served


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


def show(page: Page, filled: Served, series: str, base: str = "") -> None:
    page.goto(f"{base or filled.url}#{urlencode({'series': series})}")
    expect(page.locator("#chart")).to_have_attribute("data-points", SOME)
    expect(page.locator("#connection")).to_have_text("live")


def number(page: Page, name: str) -> int:
    return int(page.locator("#chart").get_attribute(f"data-{name}") or -1)


def count(page: Page, element: str) -> int:
    return int(page.locator(element).inner_text().replace(",", ""))


def pixels(page: Page, colour: str) -> int:
    """Return how many pixels of the chart have a colour."""
    found: dict[str, int] = page.evaluate(PIXELS)
    return found.get(str(int(colour, 16)), 0)


def test_a_chart_is_drawn_with_everything_that_makes_it_trustworthy(page: Page, filled: Served) -> None:
    show(page, filled, SERIES)
    assert number(page, "points") >= 70
    expect(page.locator("#title")).to_have_text("CD_WIDTH")
    expect(page.locator("#context")).to_contain_text("tool ETCH-07 · chamber B · recipe POLY_V3 · step 4200")
    expect(page.locator("#facts")).to_contain_text("2 of the")
    for colour in (POINT, LIMIT, SPECIFICATION):
        assert pixels(page, colour) > 20, colour
    expect(page.locator("#rules li")).to_have_count(8)
    expect(page.locator("#rules")).to_contain_text("Nelson 1: 1 point beyond")
    expect(page.locator("#capability")).to_contain_text("Cpk")
    expect(page.locator("#histogram canvas")).to_have_count(1)
    expect(page.locator("#notes")).to_have_text("About this data: Test data <b>made up</b> by the test.")
    assert count(page, "#judged") > 0
    assert count(page, "#missing") >= 2
    assert "ms" in page.locator("#latency").inner_text() or page.locator("#latency").inner_text() == "–"


def test_every_statistic_has_a_tab(page: Page, filled: Served) -> None:
    show(page, filled, SERIES)
    tabs = page.locator("#tabs button")
    assert tabs.all_inner_texts() == ["x", "MR", "X̄", "R", "robust z", "CUSUM C+", "CUSUM C−"]
    for tab in tabs.all():
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")
        assert number(page, "points") > 0
    page.locator("#axis").select_option("time")
    page.locator("#scale").select_option("limits")
    page.locator("#newest").select_option("100")
    expect(page.locator("#chart")).to_have_attribute("data-points", SOME)


@pytest.mark.quiet
def test_an_excursion_turns_red_and_stands_in_the_alert_list_within_a_second(page: Page, filled: Served) -> None:
    show(page, filled, SERIES)
    before, points = number(page, "signals"), number(page, "points")
    began = time.monotonic()
    events = filled.line.publish([(SERIES, 30.0)], lsl=5.0, usl=15.0)
    page.wait_for_function(MORE_SIGNALS, arg=[before, points], timeout=WIDE_MS)
    alert = page.locator("#alerts button", has_text="CD_WIDTH").first
    expect(alert).to_contain_text("OPEN")
    took = time.monotonic() - began
    assert took < 1.0, f"{took:.2f} s"
    assert events
    beyond = page.locator("#rules li", has_text="Nelson 1")
    expect(beyond).to_have_class("fired")
    assert pixels(page, RED) > 20, "the point is red"


def test_an_alert_leads_to_its_series(page: Page, filled: Served) -> None:
    other = "ETCH-07|C|POLY_V3|4200|DEPTH"
    filled.line.publish(filled.line.in_control([other], 30, seed=7))
    filled.line.publish([(other, 50.0)])
    show(page, filled, SERIES)
    page.locator("#alerts button", has_text="DEPTH").first.click()
    expect(page.locator("#title")).to_have_text("DEPTH")
    page.reload()
    expect(page.locator("#title")).to_have_text("DEPTH")
    expect(page.locator("#series button").first).to_contain_text("open")


def test_search_finds_a_series(page: Page, filled: Served) -> None:
    show(page, filled, SERIES)
    page.locator("#search").fill("poly 4200 width")
    expect(page.locator("#series button")).to_have_count(1)
    expect(page.locator("#series-count")).to_have_text("1 series, alarms first")
    page.locator("#search").fill("nothing is called this")
    expect(page.locator("#series button")).to_have_count(0)


def test_a_hostile_name_is_text_and_nothing_else(page: Page, filled: Served) -> None:
    show(page, filled, HOSTILE)
    expect(page.locator("#title")).to_have_text("<script>document.title='harm'</script>")
    filled.line.publish([(HOSTILE, 99.0)])
    expect(page.locator("#alerts button", has_text="<script>").first).to_be_visible()
    page.locator("#chart").hover(position={"x": 300, "y": 150})
    assert page.title() == "chipquality: control charts"
    assert page.locator("main img, main script, main b").count() == 0


def test_a_series_that_is_not_there_is_said_and_appears_when_it_comes(page: Page, filled: Served) -> None:
    late = "ETCH-07|B|POLY_V3|4200|LATE"
    page.goto(f"{filled.url}#{urlencode({'series': late})}")
    expect(page.locator("#context")).to_contain_text("no points of the series")
    filled.line.publish([(late, 1.0), (late, 2.0)])
    expect(page.locator("#chart")).to_have_attribute("data-points", "2")


def test_the_page_says_that_it_lost_the_view_and_goes_on_by_itself(page: Page, filled: Served) -> None:
    show(page, filled, SERIES)
    points = number(page, "points")
    ray.kill(view.connect(filled.line.pipeline), no_restart=False)
    expect(page.locator("#connection")).to_have_attribute("data-state", "lost")
    filled.line.publish([(SERIES, 10.0)])
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    expect(page.locator("#chart")).to_have_attribute("data-points", str(points + 1))


def test_the_browser_reconnects_a_stream_that_breaks(page: Page, filled: Served) -> None:
    relay = Relay(filled.port)
    try:
        show(page, filled, SERIES, base=f"http://127.0.0.1:{relay.port}/")
        points = number(page, "points")
        relay.cut()
        expect(page.locator("#connection")).to_have_attribute("data-state", "lost")
        filled.line.publish([(SERIES, 10.5)])
        relay.mend()
        expect(page.locator("#connection")).to_have_attribute("data-state", "live")
        expect(page.locator("#chart")).to_have_attribute("data-points", str(points + 1))
    finally:
        relay.close()


def test_the_api_documentation_is_drawn(page: Page, filled: Served) -> None:
    page.goto(f"{filled.url}docs")
    expect(page.get_by_text("/charts/{series}", exact=False).first).to_be_visible(timeout=WIDE_MS)


def test_a_browser_signs_in_by_hand_or_by_the_address_and_out_again(page: Page, filled: Served) -> None:
    page.context.clear_cookies()
    page.goto(f"{filled.url}#{urlencode({'series': SERIES})}")
    page.get_by_label("API key").fill(f"{filled.key}0")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("worth nothing")
    page.get_by_label("API key").fill(filled.key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#title")).to_have_text("CD_WIDTH")
    expect(page.locator("#who")).to_contain_text("tests (admin)")
    page.get_by_role("button", name="sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    page.goto("about:blank")
    page.goto(f"{filled.url}#{urlencode({'key': filled.key, 'series': SERIES})}")
    expect(page.locator("#title")).to_have_text("CD_WIDTH")
    expect(page.locator("#connection")).to_have_text("live")
    assert "key" not in page.url
    assert page.evaluate("document.cookie") == ""
    page.goto("about:blank")
    page.goto(f"{filled.url}#key={filled.key}")
    expect(page.locator("#who")).to_contain_text("tests (admin)")
    page.wait_for_function("!location.hash.includes('cq_')")


HISTOGRAM = """async ([lsl, usl]) => {
  const { Capability } = await import("/web/capability.js");
  const root = document.body.appendChild(document.createElement("div"));
  Object.assign(root.style, { width: "600px", height: "200px" });
  const edges = [0.106, 0.109, 0.112, 0.115, 0.118], drawn = new Capability(root);
  drawn.draw({ capability: null, histogram: { edges, counts: [1, 5, 2, 1], below: 0, above: 0, n: 9, mean: 0.1117, sigma: 1e-3,
    lsl, usl, target: null } });
  const canvas = root.querySelector("canvas"), scale = canvas.width / 600, columns = new Map();
  const pixels = canvas.getContext("2d").getImageData(0, Math.round(80 * scale), canvas.width, Math.round(60 * scale));
  for (let i = 0; i < pixels.data.length; i += 4) {
    const [red, green, blue] = pixels.data.subarray(i, i + 3), x = (i / 4) % canvas.width / scale;
    if (blue - green > 60 && red - green > 20) columns.set(x, (columns.get(x) ?? 0) + 1);
  }
  const asked = [lsl, usl].map((at) => drawn.chart.convertToPixel({ xAxisIndex: 0 }, at));
  root.remove();
  return { asked, columns: [...columns.keys()] };
}"""


def test_limits_of_small_numbers_stand_where_they_are_in_the_histogram(page: Page, filled: Served) -> None:
    show(page, filled, SERIES)
    found = page.evaluate(HISTOGRAM, [0.1096, 0.1144])
    assert all(min(abs(x - at) for x in found["columns"]) <= 1.5 for at in found["asked"]), found
    assert all(min(abs(x - at) for at in found["asked"]) <= 1.5 for x in found["columns"]), found
