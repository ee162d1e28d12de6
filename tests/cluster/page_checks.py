"""What every view of the page must stand: any width, both themes, an accessibility check; pictures of it are kept."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

HERE = Path(__file__).resolve().parent
SCREENSHOTS = HERE.parents[1] / ".chipquality" / "screenshots"
WIDE_MS = 100_000  # for what has no promise of its own: beside other tests a view that starts again takes half a minute
HEIGHTS = {360: 740, 820: 1180, 1280: 800, 2560: 1440, 3840: 2160}
AXE = "axe.min.js"
SERIOUS = frozenset({"serious", "critical"})
RUN_AXE = """(rules) =>
  axe.run(document, { resultTypes: ["violations"], ...(rules.length ? { runOnly: rules } : {}) })"""
TOO_WIDE = """() => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide <= 0) return null;
  const all = [...document.body.querySelectorAll("*")];
  const beyond = all.filter((one) => one.getBoundingClientRect().right > innerWidth + 1).slice(0, 5);
  return `${wide} px too wide at ${innerWidth}: ${beyond.map((one) => `${one.tagName}.${one.className}#${one.id}`)}`;
}"""
SETTLED = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(true), 350)))"


@cache
def axe() -> str:
    """Return the source of axe-core. Evaluated over the debugging protocol, where no content-security policy holds."""
    return (HERE / "vendor" / AXE).read_text()


def picture(page: Page, name: str) -> None:
    """Keep a picture of what is shown: an artefact of the run."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def fits(page: Page, name: str, widths: Iterable[int]) -> None:
    """Check that nothing is wider than the window, at each width, and keep a picture of each."""
    for width in widths:
        page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
        page.wait_for_function(SETTLED)
        picture(page, f"{name}-{width}")
        assert page.evaluate(TOO_WIDE) is None


def accessible(page: Page, *rules: str) -> None:
    """Check with axe-core, all rules or those named: no serious and no critical finding."""
    page.evaluate(axe())
    found: dict[str, Any] = page.evaluate(RUN_AXE, list(rules))
    bad = [
        f"{one['id']} ({one['impact']}): {node['html'][:160]}: {node.get('failureSummary', '')[:300]}"
        for one in found["violations"]
        if one["impact"] in SERIOUS
        for node in one["nodes"][:3]
    ]
    assert not bad, "\n".join(bad)


def stands(page: Page, name: str, widths: Iterable[int] = (360, 820, 2560, 1280)) -> None:
    """Check a view that is shown: every width, light and dark, accessibility in both."""
    page.emulate_media(color_scheme="light")
    fits(page, name, widths)
    accessible(page)
    page.emulate_media(color_scheme="dark")
    fits(page, f"{name}-dark", (1280,))
    accessible(page, "color-contrast")
    page.emulate_media(color_scheme="light")
