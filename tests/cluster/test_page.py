"""The page in a real headless Chromium, as a quality engineer uses it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
import ray
from playwright.sync_api import Page, expect

from actors import view
from schemas.charts import ChartBlock, DetectorColumns, RuleMeta, pack
from schemas.texts import Texts
from tests.cluster.page_checks import WIDE_MS
from tests.cluster.relay import Relay
from tests.cluster.served import Served

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
POINT, LIMIT, SPECIFICATION, ZONE, RED = "1f4e79", "b35806", "6a3d9a", "8f9ba6", "c0152f"


@pytest.fixture(scope="module")
def filled(served: Served) -> Served:
    """A series that has left Phase I and is in control, one with missing values, and one with a hostile name."""
    rows = served.line.in_control([SERIES, HOSTILE], 60, seed=5)
    rows += [(SERIES, float("nan")), (SERIES, float("nan"))]
    rows += served.line.in_control([SERIES], 10, seed=6)
    served.line.publish(rows, lsl=5.0, usl=15.0)
    served.read_up_to(served.line.next_offset)
    return served


def show(page: Page, filled: Served, series: str, base: str = "") -> None:
    page.goto(f"{base or filled.url}#/chart?{urlencode({'series': series})}")
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
    expect(page.locator("#chart")).to_have_attribute("data-zones", "C B A C B A")
    assert pixels(page, ZONE) > 20
    expect(page.locator("#rules li")).to_have_count(9)
    expect(page.locator("#rules")).to_contain_text("Nelson 1: 1 point beyond")
    for words in (
        "Nelson 5: 2 of 3 points in a row in zone A or beyond, more than 2 sigma off on one side",
        "Nelson 6: 4 of 5",
    ):
        rule = page.locator("#rules li", has_text=words)
        assert rule.evaluate("(li) => [...li.children].every((one) => one.scrollWidth <= one.clientWidth + 1)"), (
            "readable in full"
        )
    for name in ("Cp", "Cpk", "Pp", "Ppk", "n"):
        expect(page.locator("#capability").get_by_role("rowheader", name=name, exact=True)).to_be_visible()
    expect(page.locator("#histogram canvas")).to_have_count(1)
    expect(page.locator("#notes")).to_have_text("About this data: Test data <b>made up</b> by the test.")
    assert count(page, "#judged") > 0
    assert count(page, "#missing") >= 2
    assert "ms" in page.locator("#latency").inner_text() or page.locator("#latency").inner_text() == "–"


def test_every_statistic_has_a_panel_and_every_detector_a_tab(page: Page, filled: Served) -> None:
    show(page, filled, SERIES)
    tabs = page.locator("#tabs button")
    assert tabs.all_inner_texts() == ["x · MR", "X̄ · R", "robust z", "CUSUM C+ · C−"]
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
    expect(page.locator("#series-count")).to_contain_text("No series has all of these words in its name")
    expect(page.locator("#title")).to_have_text("CD_WIDTH")


def test_a_hostile_name_is_text_and_nothing_else(page: Page, filled: Served) -> None:
    show(page, filled, HOSTILE)
    expect(page.locator("#title")).to_have_text("<script>document.title='harm'</script>")
    filled.line.publish([(HOSTILE, 99.0)])
    expect(page.locator("#alerts button", has_text="<script>").first).to_be_visible()
    page.locator("#chart").hover(position={"x": 300, "y": 150})
    assert page.title().endswith(" · Chart · chipquality")
    assert page.locator("main img, main script, main b").count() == 0


def test_a_series_that_is_not_there_is_said_and_appears_when_it_comes(page: Page, filled: Served) -> None:
    late = "ETCH-07|B|POLY_V3|4200|LATE"
    page.goto(f"{filled.url}#{urlencode({'series': late})}")  # as addresses were before there were views
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
    page.get_by_role("button", name="Sign out").click()
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
  const { Histogram } = await import("/web/charts/histogram.js");
  const root = document.body.appendChild(document.createElement("div"));
  Object.assign(root.style, { width: "600px", height: "200px" });
  const edges = [0.106, 0.109, 0.112, 0.115, 0.118], drawn = new Histogram(root);
  drawn.chart.resize({ width: 600, height: 200 });
  drawn.draw({ edges, counts: [1, 5, 2, 1], below: 0, above: 0, n: 9, mean: 0.1117, sigma: 1e-3, lsl, usl, target: null });
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


# ---- looking closer


def window(page: Page) -> str:
    return page.locator("#chart").get_attribute("data-window") or ""


def test_a_chart_is_zoomed_by_dragging_by_buttons_and_by_keyboard(page: Page, filled: Served) -> None:
    show(page, filled, SERIES)
    chart = page.locator("#chart")
    box = chart.bounding_box()
    assert box
    page.mouse.move(box["x"] + 150, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 120, steps=3)
    page.mouse.up()
    expect(chart).not_to_have_attribute("data-window", "all")
    dragged, points = window(page), number(page, "points")
    filled.line.publish([(SERIES, 10.0)])
    expect(chart).not_to_have_attribute("data-points", str(points))
    assert window(page) == dragged, "what is looked at stays when a point comes"
    page.get_by_role("button", name="Zoom in").click()
    assert window(page) != dragged
    page.get_by_role("button", name="All", exact=True).click()
    expect(chart).to_have_attribute("data-window", "all")
    chart.focus()
    page.keyboard.press("+")
    expect(chart).not_to_have_attribute("data-window", "all")
    closer = window(page)
    page.keyboard.press("Shift+ArrowLeft")
    assert window(page) != closer
    page.keyboard.press("0")
    expect(chart).to_have_attribute("data-window", "all")


def test_a_point_is_chosen_by_keyboard_and_said_in_words(page: Page, filled: Served) -> None:
    show(page, filled, SERIES)
    page.locator("#chart").focus()
    page.keyboard.press("End")
    newest = page.locator("#point h2").inner_text()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#point h2")).not_to_have_text(newest)
    expect(page.locator("#point")).to_contain_text("LCL · CL · UCL of MR")
    expect(page.locator("#said")).to_contain_text("Row ")
    page.keyboard.press("Escape")
    expect(page.locator("#point")).to_be_hidden()


def test_what_is_looked_at_is_not_covered_by_its_tooltip(page: Page, filled: Served) -> None:
    show(page, filled, SERIES)
    box = page.locator("#chart").bounding_box()
    assert box
    for x in (box["width"] * 0.3, box["width"] * 0.7):
        page.mouse.move(box["x"] + x, box["y"] + 120)
        tip = page.locator(".tip")
        expect(tip).to_be_visible()
        over = tip.bounding_box()
        assert over
        assert not over["x"] <= box["x"] + x <= over["x"] + over["width"]


def test_points_are_a_table_too_and_leave_as_csv_and_png(page: Page, filled: Served) -> None:
    show(page, filled, SERIES)
    page.locator("#points summary").click()
    rows = page.locator("#points tbody tr")
    expect(rows.first).to_contain_text("W")
    assert rows.count() >= 70
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    lines = Path(saved.value.path()).read_text().splitlines()
    assert lines[0].startswith(
        "series,row,offset,sample,event_time,lot,wafer,value,lsl,target,usl,state,excluded,x,x LCL,x CL,x UCL,x signals,MR"
    )
    assert len(lines) == 1 + page.locator("#points tbody tr").count()
    with page.expect_download() as saved:
        page.get_by_role("button", name="PNG").click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")


def test_a_detector_that_learns_says_so(page: Page, filled: Served) -> None:
    fresh = "ETCH-07|B|POLY_V3|4200|FRESH"
    filled.line.publish(filled.line.in_control([fresh], 5, seed=8))
    show(page, filled, fresh)
    expect(page.locator("#phase")).to_have_text(
        "x is in Phase I: it learns its limits, from 5 rows so far, and judges nothing yet."
    )
    page.get_by_role("tab", name="CUSUM").click()
    expect(page.locator("#phase")).to_contain_text("CUSUM C+ is in Phase I")


AGAIN = """async () => {
  const { rowsOf, phasesOf } = await import("/web/charts/series.js");
  const n = 60, learns = (i) => i < 10 || (i >= 30 && i < 45) || (i >= 50 && i < 55);
  const column = (of) => [...Array(n).keys()].map(of);
  const offset = column((i) => i), sample = column(() => 0), none = column(() => null);
  const value = column((i) => (i === 47 ? null : i));
  const points = { offset, sample, event_time_ms: offset, value, lsl: none, usl: none, target: none, lot: none, wafer: none };
  const statistic = { name: "C+", value: column((i) => (learns(i) ? null : 0)), centre: none, lcl: none, ucl: none };
  const detector = { offset, sample, phase_one_until: 10, phase_one_sample: 0, rules: [], signal: column(() => 0),
    valid: column((i) => !learns(i)), statistics: [statistic] };
  const phases = phasesOf(rowsOf({ points, rows: n }, detector, 0, n));
  return phases.map((phase) => [phase.kind, phase.from.offset, phase.to.offset, phase.open]);
}"""


def test_a_phase_one_that_came_again_is_told_from_an_open_subgroup(page: Page, filled: Served) -> None:
    show(page, filled, SERIES)
    assert page.evaluate(AGAIN) == [["first", 0, 9, False], ["again", 30, 44, False]]


def vectors(filled: Served, series: str) -> None:
    """Publish a chart of T² and Q with one vector beyond, and the alert that names the columns, as an owner writes them."""
    line, n = filled.line, 40
    rules = (
        RuleMeta("t2_beyond_limit", "T² is above its limit", "critical", 0),
        RuleMeta("q_beyond_limit", "Q", "critical", 1),
    )
    statistic = np.column_stack((np.linspace(1, 5, n), np.linspace(2, 1, n)))
    statistic[30, 0] = 40.0
    nothing, limit, offset = np.full((n, 2), np.nan), np.full((n, 2), 20.0), np.arange(n)
    detector = DetectorColumns(
        "multivariate.pca@1-abc", ("T2", "Q"), rules, statistic, nothing, nothing, limit,
        (statistic[:, 0] > 20).astype(np.uint32), np.ones(n, np.bool_),
    )  # fmt: skip
    columns = {name: np.full(n, np.nan) for name in ("lsl", "usl", "target")}
    block = ChartBlock(
        pipeline=line.pipeline, family="multivariate", topic="fab.vectors", partition=0, seq=1, first_offset=0,
        next_offset=10**9,  # so that whoever waits for offsets of the shared view does not wait for this one
        series_keys=[series], series=np.zeros(n, np.int32), offset=offset, event_time_ms=1_216_468_500_000 + offset * 60_000,
        published_ms=np.full(n, 1_216_468_500_000), value=np.full(n, 500.0), lot=Texts.of(["L"] * n), wafer=Texts.of(["W"] * n),
        detectors={"multivariate.pca": detector}, **columns,
    )  # fmt: skip
    line.raw(line.sources.charts, pack(block), partition=1)
    raised_ms = 1_216_470_300_000
    alert = {
        "alert_id": "a-vector", "state": "OPEN", "pipeline": line.pipeline, "topic": "fab.vectors", "partition": 0,
        "series": series, "detector": detector.detector, "rule": rules[0].name, "rule_doc": rules[0].doc,
        "severity": "CRITICAL", "opened_offset": 30, "opened_time": raised_ms, "opened_sample": 0, "last_offset": 30,
        "last_time": raised_ms, "closed_offset": None, "rows": 1, "value": 500.0, "statistic": 40.0, "centre": None,
        "lcl": None, "ucl": 20.0, "lot": "L", "wafer": "W", "detail": "T2: f003 61 %, f118 22 %; Q: f077 40 %",
        "published_ms": raised_ms,
    }  # fmt: skip
    line.raw(line.sources.alerts, line.encoder["alert"].encode(alert), partition=1)


def test_a_vector_beyond_its_limit_names_the_columns_that_contribute(page: Page, filled: Served) -> None:
    series = "DEMO|||SECOM|wafer"
    vectors(filled, series)
    show(page, filled, series)
    assert page.locator("#tabs button").all_inner_texts() == ["T² · Q (SPE)"]
    expect(page.locator(".capability")).to_be_hidden()
    page.locator("#chart").focus()
    page.keyboard.press("Home")
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    point = page.locator("#point")
    expect(point).to_contain_text("T² beyond limit")
    expect(point).to_contain_text("Contributions to T² of this point")
    expect(point.locator(".bars li").first).to_have_text("f00361 %")
    page.keyboard.press("ArrowRight")
    expect(point.locator(".bars")).to_have_count(0)
