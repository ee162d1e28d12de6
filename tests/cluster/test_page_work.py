"""Views of the work with what other parts of the API answer: limits, life cycles, Pareto, wafer maps, operations.

Each test asks the server for its OpenAPI document first, and is skipped where the endpoint is not there.
"""

from __future__ import annotations

import re
import uuid
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from confluent_kafka import Consumer, TopicPartition
from playwright.sync_api import Page, expect

from tests.cluster.page_checks import needs_route, stands
from tests.cluster.served import Served

SERIES = "CMP-11|P2|W_POL|5200|REMOVAL"
EVENTS_MAX = 500  # that are published at once


@pytest.fixture(scope="module")
def filled(served: Served) -> Served:
    """A series with an alert that goes on."""
    line = served.line
    line.publish(line.in_control([SERIES], 60, seed=11), lsl=5.0, usl=15.0)
    line.publish([(SERIES, 30.0)], lsl=5.0, usl=15.0)
    line.dead_letter("malformed")
    served.read_up_to(line.next_offset)
    return served


@pytest.fixture(scope="module")
def measured(filled: Served) -> str:
    """A series whose newest point stands in the input topic too, at the same offset: what limits and exclusions look at."""
    line = filled.line
    for number in range(50):
        series = f"{SERIES}_{number}"
        equipment, chamber, recipe, operation, characteristic = series.split("|")
        event = {
            "equipment": equipment, "chamber": chamber, "recipe": recipe, "operation": operation,
            "characteristic": characteristic, "lot": "L1", "wafer": "W1", "value": 10.0, "unit": "nm",
        }  # fmt: skip
        published = publish(filled, [event])
        if published["partition"] == line.partition:
            break
    else:
        raise AssertionError("no series of that partition")
    while published["offset"] < line.next_offset:
        published = publish(filled, [event] * min(EVENTS_MAX, line.next_offset - published["offset"]))
    if published["offset"] > line.next_offset:  # other tests have filled the topic
        line.publish([(SERIES, 10.0)] * (published["offset"] - line.next_offset))
    line.publish([(series, 10.0)])
    filled.read_up_to(line.next_offset)
    return series


def publish(filled: Served, events: list[dict[str, Any]]) -> dict[str, Any]:
    """Publish measurements; return where the last one stands."""
    answer = filled.http.post(
        "/events/measurement", json={"events": [{"event_id": uuid.uuid4().hex, **event} for event in events]}
    )
    assert answer.status_code == 202, answer.text
    last: dict[str, Any] = answer.json()["items"][-1]
    return last


def goto(page: Page, filled: Served, address: str) -> None:
    page.goto(f"{filled.url}#/{address}")
    expect(page.locator("#connection")).to_have_text("live")


def test_an_alert_is_acknowledged_its_cause_named_and_closed(page: Page, filled: Served) -> None:
    needs_route(filled, "/alerts/{alert_id}/actions", "post")
    goto(page, filled, "alerts?words=removal")
    page.locator("#worklist button", has_text="REMOVAL").first.click()
    for action, fields in (
        ("acknowledge", {}),
        ("assign_cause", {"Assignable cause": "Common cause: none was found"}),
        ("close", {"Result": "measured again"}),
    ):
        button = page.locator(f"[data-action={action}]")
        button.focus()
        page.keyboard.press("Enter")
        for label, value in fields.items():
            page.get_by_label(label).fill(value)
        page.locator("#alert form button[type=submit]").click()
        expect(page.locator("#alert .history-list li").first).to_contain_text(action.replace("_", " "))
    expect(page.locator("[data-action=reopen]")).to_be_visible()
    stands(page, "alert-life", (360, 1280))


def test_an_action_that_came_too_late_is_explained(page: Page, filled: Served) -> None:
    needs_route(filled, "/alerts/{alert_id}/actions", "post")
    filled.line.publish([(SERIES, 10.0)] * 5 + [(SERIES, -20.0)], lsl=5.0, usl=15.0)
    goto(page, filled, "alerts?status=open&words=removal")
    page.locator("#worklist button", has_text="REMOVAL").first.click()
    page.locator("[data-action=acknowledge]").click()
    chosen = page.locator("#worklist button[aria-current=true]").get_attribute("data-alert")
    said = filled.http.post(
        f"/alerts/{chosen}/actions", json={"action": "acknowledge"}, headers={"If-Match": "*"}
    )  # meanwhile, by the same person
    assert said.status_code < 300, said.text
    page.locator("#alert form button[type=submit]").click()
    expect(page.locator("#alert .notice")).to_contain_text("nothing was done")


def test_limits_are_proposed_and_their_history_is_told(page: Page, filled: Served, measured: str) -> None:
    needs_route(filled, "/limits/proposals", "post")
    goto(page, filled, f"chart?{urlencode({'series': measured})}")
    page.get_by_role("button", name="Propose limits").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("From").select_option("given")
    dialog.get_by_label("Mean").fill("10")
    dialog.get_by_label("Sigma").fill("1")
    dialog.get_by_label("Why").fill("after maintenance")
    stands(page, "propose-limits", (360, 1280))
    dialog.get_by_role("button", name="Propose").click()
    expect(page.locator("#limits")).to_contain_text("proposed: waits for approval")
    expect(page.locator("#limits")).to_contain_text("after maintenance")


def test_a_measurement_is_excluded_with_a_comment(page: Page, filled: Served, measured: str) -> None:
    needs_route(filled, "/exclusions", "post")
    goto(page, filled, f"chart?{urlencode({'series': measured})}")
    expect(page.locator("#chart")).to_have_attribute("data-points", re.compile(r"\d+"))
    page.locator("#chart").focus()
    page.keyboard.press("End")
    page.locator("#point").get_by_role("button", name="Exclude").click()
    page.get_by_role("dialog").get_by_label("Why").fill("wafer broke")
    page.get_by_role("dialog").get_by_role("button", name="Exclude").click()
    expect(page.locator("#exclusions")).to_contain_text("wafer broke")


def test_capability_has_confidence_intervals(page: Page, filled: Served) -> None:
    needs_route(filled, "/capability/{series}")
    goto(page, filled, f"chart?{urlencode({'series': SERIES})}")
    row = page.locator("#capability tr", has=page.get_by_role("rowheader", name="Cpk", exact=True))
    expect(row).to_contain_text(re.compile(r"-?\d+\.\d\d to -?\d+\.\d\d"))


def test_the_pareto_of_signals_is_drawn(page: Page, filled: Served) -> None:
    needs_route(filled, "/pareto")
    for by in ("rule", "detector", "tool", "characteristic", "lot"):
        goto(page, filled, f"pareto?by={by}")
        expect(page.locator("#pareto .pareto li").first).to_contain_text("Σ")
    stands(page, "pareto-signals")


def test_the_defects_of_an_inspection_are_on_its_wafer(page: Page, filled: Served) -> None:
    needs_route(filled, "/wafer-maps/{inspection_id}")
    goto(page, filled, f"wafer?{urlencode({'id': 'nobody'})}")
    expect(page.locator("#wafer .problem")).to_contain_text("not there")


def test_a_topic_is_shown_with_its_partitions_and_settings(page: Page, filled: Served) -> None:
    needs_route(filled, "/events/topics/{name}")
    goto(page, filled, f"operations?part=topics&name={quote('quality.alerts')}")
    expect(page.locator("#part table").first).to_contain_text("0")
    page.locator("#part summary").click()
    expect(page.locator("#part")).to_contain_text("cleanup.policy")


def test_groups_say_how_they_do_in_words(page: Page, filled: Served) -> None:
    needs_route(filled, "/events/consumers/{group}")
    consumer = Consumer({"bootstrap.servers": filled.line.cluster.bootstrap_servers, "group.id": filled.line.pipeline})
    consumer.commit(offsets=[TopicPartition("fab.measurements", 0, 0)], asynchronous=False)
    consumer.close()
    goto(page, filled, "operations?part=pipelines")
    expect(page.locator(f"[data-group='{filled.line.pipeline}']")).to_contain_text(
        re.compile("OK|WARNING|STALLED|STOPPED|REWIND|UNKNOWN")
    )


def test_versions_of_a_schema_are_shown(page: Page, filled: Served) -> None:
    needs_route(filled, "/events/schemas/{subject}")
    goto(page, filled, "operations?part=schemas")
    link = page.locator("#schemas a", has_text=f"{filled.line.sources.alerts}-value")
    link.click()
    page.locator("#part summary").first.click()
    expect(page.locator("#part pre").first).to_contain_text("alert_id")


def test_dead_letters_are_listed_and_a_re_drive_is_planned_first(page: Page, filled: Served) -> None:
    needs_route(filled, "/dead-letters/redrive", "post")
    goto(page, filled, "operations?part=dead-letters")
    expect(page.locator("#dead-letters, #part .quiet").first).to_be_visible()
    page.get_by_role("button", name="Re-drive selected").click()
    expect(page.locator("#part [role=alert]", has_text="Select at least one")).to_be_visible()
    stands(page, "dead-letters", (360, 1280))


def test_operations_are_listed(page: Page, filled: Served) -> None:
    needs_route(filled, "/operations")
    goto(page, filled, "operations?part=running")
    expect(page.locator("#operations, #part .quiet").first).to_be_visible()
