"""report.html in a real browser, with the network cut off: it is seen whole, nothing overflows, nothing is fetched."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext

from cluster.backtest.page import page
from cluster.backtest.report import measures
from tests.cluster.backtest.test_measures import RULES, Row, counted, label
from tests.naive.backtest import Wanted

NAN = float("nan")
HOSTILE = "E1|<script>alert(1)</script>|R&D"


def report(**further: Any) -> dict[str, Any]:
    """Return a report with everything in it, of a few rows."""
    rows = [
        Row(
            0,
            HOSTILE,
            n * 3_600_000,
            "L1",
            "W1",
            (n % 7 - 3.0, NAN),
            (0.0, NAN),
            (-2.5, NAN),
            (2.5, NAN),
            int(n % 7 == 6),
            True,
        )
        for n in range(200)
    ]
    labels = [label(Wanted("*", "", "", n * 86_400_000, (n * 24 + 6) * 3_600_000)) for n in range(6)]
    said = measures(counted({0: rows}, labels, [50]), RULES, labels, 10.0)
    example = {
        "rule": "one", "series": HOSTILE, "partition": 0, "offset": 6, "event_time_ms": 21_600_000, "alert_id": "0" * 32,
        "doc": "the first", "statistic": "x", "at": 6, "points": [row.statistic[0] for row in rows[:60]],
        "centre": [0.0] * 60, "lcl": [-2.5] * 60, "ucl": [2.5] * 30 + [None] * 30, "offsets": list(range(60)),
        "fired": [n % 7 == 6 for n in range(60)], "valid": [True] * 60,
    }  # fmt: skip
    partitions = [{"partition": p, "warm_from": 0, "from": 0, "to": 200} for p in range(14)]
    return {
        "backtest": {
            "target": "told", "detector": "told@1-0123456789", "label": "told", "parameters": {"k": 0.5}, "series": ["*"],
            "topic": "fab.measurements", "code_version": "0.1.0", "labels": "labels.csv", "partitions": partitions,
        },
        "seconds": 1.5,
        "notes": ["3 records could not be read; they are not judged."],
        **said,
        "dead_letters": {"malformed": 3},
        "failures": [{"partition": 0, "offset": 7, "detail": "Traceback\nValueError: <b>"}],
        "examples": [example] * 2,
        **further,
    }  # fmt: skip


def test_what_others_wrote_is_text_only() -> None:
    text = page(report())
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert [word for word in ("http", "src=", "@import", "url(") if word in text] == []


def test_a_page_of_nothing() -> None:
    said = measures(counted({0: []}, [], []), RULES, (), 10.0)
    text = page(report(**said, failures=[], examples=[], notes=[]))
    assert "Cost curve" not in text
    assert "Alerts by width of the limits" in text


@pytest.mark.browser
def test_it_is_seen_whole_without_a_network(tmp_path: Path, browser: BrowserContext) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(report()))
    tab = browser.new_page()
    browser.set_offline(True)
    fetched: list[str] = []
    tab.on("request", lambda request: fetched.append(request.url))
    tab.goto(file.as_uri())
    for scheme, width in itertools.product(("light", "dark"), (1280, 390)):
        tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        pictures = tab.locator("svg[role=img]").all()
        assert len(pictures) == 4
        for picture in pictures:
            box = picture.bounding_box()
            assert box is not None
            assert box["height"] > 80
        if shots := os.environ.get("CHIPQUALITY_TEST_SHOTS"):
            tab.screenshot(path=f"{shots}/report-{scheme}-{width}.png", full_page=True)
    assert fetched == [file.as_uri()]
    browser.set_offline(False)
    tab.close()
