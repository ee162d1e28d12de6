"""Views of the work with what other parts of the API answer: limits, life cycles, Pareto, wafer maps, operations."""

from __future__ import annotations

import re
import uuid
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from playwright.sync_api import Page, expect

from tests.cluster.inspected import DEFECTS, LETTERS, TYPES, inspected, letter, make
from tests.cluster.page_checks import picture, stands
from tests.cluster.served import Served

SERIES = "CMP-11|P2|W_POL|5200|REMOVAL"
CALL_S = 20.0
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


def second(filled: Served) -> dict[str, str]:
    """Return headers of another person who may do everything."""
    name = f"a second person {uuid.uuid4().hex[:6]}"
    answer = filled.http.post("/keys", json={"name": name, "grants": ["admin"]})
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['text']}"}


def seen(filled: Served) -> None:
    """Have the pipeline's group at Kafka, as its owners do."""
    consumer = Consumer({"bootstrap.servers": filled.line.cluster.bootstrap_servers, "group.id": filled.line.pipeline})
    consumer.commit(offsets=[TopicPartition("fab.measurements", 0, 0)], asynchronous=False)
    consumer.close()


def goto(page: Page, filled: Served, address: str) -> None:
    page.goto(f"{filled.url}#/{address}")
    expect(page.locator("#connection")).to_have_text("live")


def test_an_alert_is_acknowledged_its_cause_named_and_closed(page: Page, filled: Served) -> None:
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


def test_what_is_refused_is_said_in_the_servers_words(page: Page, filled: Served) -> None:
    """Nothing has changed since it was seen: it is only that the cause is the same again."""
    filled.line.publish([(SERIES, 10.0)] * 5 + [(SERIES, -20.0)], lsl=5.0, usl=15.0)
    goto(page, filled, "alerts?status=open&words=removal")
    page.locator("#worklist button", has_text="REMOVAL").first.click()
    history = page.locator("#alert .history-list li")
    page.locator("[data-action=acknowledge]").click()
    page.locator("#alert form button[type=submit]").click()
    expect(history.first).to_contain_text("acknowledge")
    expect(page.locator("[data-action=acknowledge]"), "who has it needs not take it over").to_have_count(0)
    for _ in range(2):
        page.locator("[data-action=assign_cause]").click()
        page.get_by_label("Assignable cause").fill("Metrology")
        page.locator("#alert form button[type=submit]").click()
        expect(history.first).to_contain_text("assign cause")
    refused = page.locator("#alert [role=alert]", has_text="this is its cause already").first
    expect(refused).to_be_visible()
    expect(refused).not_to_contain_text("It has changed")
    expect(history).to_have_count(2)


def test_an_action_that_came_too_late_is_explained(page: Page, filled: Served) -> None:
    filled.line.publish([(SERIES, 10.0)] * 5 + [(SERIES, -20.0)], lsl=5.0, usl=15.0)
    goto(page, filled, "alerts?status=open&words=removal")
    page.locator("#worklist button", has_text="REMOVAL").first.click()
    page.locator("[data-action=comment]").click()
    page.get_by_label("Comment").fill("looks like the pad")
    chosen = page.locator("#worklist button[aria-current=true]").get_attribute("data-alert")
    meanwhile = filled.http.post(
        f"/alerts/{chosen}/actions", json={"action": "acknowledge"}, headers={"If-Match": "*", **second(filled)}
    )
    assert meanwhile.status_code < 300, meanwhile.text
    expect(page.locator("#alert .changed")).to_contain_text(re.compile(r"a second person \w+: acknowledge"))
    page.locator("#alert form button[type=submit]").click()
    expect(page.locator("#alert .notice[role=alert]").first).to_contain_text("Somebody changed it meanwhile")
    expect(page.locator("#alert .history-list li")).to_have_count(1)
    expect(page.locator("[data-action=acknowledge]")).to_have_text("Take over")


def test_the_action_plan_of_an_alert_is_gone_through_and_it_is_reopened(page: Page, filled: Served) -> None:
    other = "CMP-11|P2|W_POL|5200|DISHING"
    filled.line.publish(filled.line.in_control([other], 30, seed=12))
    filled.line.publish([(other, 30.0)])
    goto(page, filled, "alerts?words=dishing")
    page.locator("#worklist button", has_text="DISHING").first.click()
    for action, fields, said in (
        ("acknowledge", {}, "acknowledge"),
        ("assign_cause", {"Assignable cause": "Tool: part worn or broken"}, "assign cause"),
        ("plan_step", {"What is to be done": "change the pad"}, "change the pad"),
        ("do_step", {"What was found": "it was glazed"}, "it was glazed"),
        ("close", {"Result": "measured again"}, "measured again"),
        ("reopen", {"Why": "it came back"}, "it came back"),
    ):
        page.locator(f"[data-action={action}]").click()
        for label, value in fields.items():
            page.get_by_label(label).fill(value)
        page.locator("#alert form button[type=submit]").click()
        expect(page.locator("#alert .history-list li").first).to_contain_text(said)
    expect(page.locator("#alert")).to_contain_text("1. change the pad: done")


def test_limits_are_proposed_approved_and_stand_in_the_chart_from_where_they_hold(
    page: Page, filled: Served, measured: str
) -> None:
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
    page.locator("#limits").get_by_role("button", name="Approve").click()
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    expect(page.locator("#limits")).to_contain_text("approved, not yet in effect")
    [item] = filled.get("/limits", series=measured)["items"]
    line = filled.line
    line.publish([(measured, 10.0)])
    make(filled, item, line.next_offset - 1)
    filled.read_up_to(line.next_offset)
    page.reload()
    expect(page.locator("#limits")).to_contain_text("● in effect")
    expect(page.locator("#chart")).to_have_attribute("data-changes", f"limits v1 · {item['author']}")
    picture(page, "chart-limits")


def test_a_measurement_is_excluded_with_a_comment_and_counts_again(page: Page, filled: Served, measured: str) -> None:
    goto(page, filled, f"chart?{urlencode({'series': measured})}")
    chart = page.locator("#chart")
    expect(chart).to_have_attribute("data-points", re.compile(r"[1-9]"))
    expect(chart).to_have_attribute("data-excluded", "0")
    chart.focus()
    page.keyboard.press("Home")
    page.locator("#point").get_by_role("button", name="Exclude").click()
    page.get_by_role("dialog").get_by_label("Why").fill("wafer broke")
    page.get_by_role("dialog").get_by_role("button", name="Exclude").click()
    expect(page.locator("#exclusions")).to_contain_text("wafer broke")
    expect(chart).to_have_attribute("data-excluded", "1")
    picture(page, "chart-excluded")
    page.locator("#exclusions").get_by_role("button", name="Include again").click()
    page.get_by_role("dialog").get_by_label("Why").fill("it did not")
    page.get_by_role("dialog").get_by_role("button", name="Include").click()
    expect(page.locator("#exclusions")).to_have_count(0)
    expect(chart).to_have_attribute("data-excluded", "0")


def test_the_charts_of_a_series_start_anew(page: Page, filled: Served, measured: str) -> None:
    goto(page, filled, f"chart?{urlencode({'series': measured})}")
    page.get_by_role("button", name="Reset charts").click()
    page.get_by_role("dialog").get_by_label("Why").fill("new recipe")
    page.get_by_role("dialog").get_by_role("button", name="Reset").click()
    expect(page.locator("#limits")).to_contain_text("new recipe")


def test_capability_has_confidence_intervals(page: Page, filled: Served) -> None:
    goto(page, filled, f"chart?{urlencode({'series': SERIES})}")
    row = page.locator("#capability tr", has=page.get_by_role("rowheader", name="Cpk", exact=True))
    expect(row).to_contain_text(re.compile(r"-?\d+\.\d\d to -?\d+\.\d\d"))


def test_the_pareto_of_signals_is_drawn(page: Page, filled: Served) -> None:
    for by in ("rule", "detector", "tool", "characteristic", "lot"):
        goto(page, filled, f"pareto?by={by}")
        expect(page.locator("#pareto .pareto li").first).to_contain_text("Σ")
    stands(page, "pareto-signals")


def test_the_defects_of_an_inspection_are_on_its_wafer(page: Page, filled: Served) -> None:
    found = f"I-{uuid.uuid4().hex[:8]}"
    defects = inspected(filled, found)
    goto(page, filled, f"wafer?{urlencode({'id': found})}")
    expect(page.locator("#wafer .wafer .mark")).to_have_count(DEFECTS)
    expect(page.locator("#wafer .headline")).to_contain_text("31 defects, 1 of them without a place on the wafer")
    for kind in TYPES:
        expect(page.locator("#wafer .rules li", has_text=kind)).to_contain_text("10 ×")
    x, y = (float(part.partition("=")[2]) for part in defects[0]["location"].split())
    title = page.locator("#wafer .wafer .mark title").first
    expect(title).to_have_text(f"SCRATCH, MAJOR: x {x:g} mm, y {y:g} mm")
    picture(page, "wafer-defects")
    goto(page, filled, "pareto?by=defect_type")
    bars = page.locator("#pareto .pareto li")
    expect(bars).to_have_count(4)
    expect(bars.last).to_contain_text("STAIN")
    expect(bars.last).to_contain_text("Σ 100 %")
    picture(page, "pareto-defects")
    goto(page, filled, f"wafer?{urlencode({'id': 'nobody'})}")
    expect(page.locator("#wafer .problem")).to_contain_text("not there")


def test_a_topic_is_shown_with_its_partitions_and_settings(page: Page, filled: Served) -> None:
    goto(page, filled, f"operations?part=topics&name={quote('quality.alerts')}")
    expect(page.locator("#part table").first).to_contain_text("0")
    page.locator("#part summary").click()
    expect(page.locator("#part")).to_contain_text("cleanup.policy")


def test_groups_say_how_they_do_in_words(page: Page, filled: Served) -> None:
    seen(filled)
    goto(page, filled, "operations?part=pipelines")
    expect(page.locator(f"[data-group='{filled.line.pipeline}']")).to_contain_text(
        re.compile("OK|WARNING|STALLED|STOPPED|REWIND|UNKNOWN")
    )


def test_versions_of_a_schema_are_shown(page: Page, filled: Served) -> None:
    goto(page, filled, "operations?part=schemas")
    link = page.locator("#schemas a", has_text=f"{filled.line.sources.alerts}-value")
    link.click()
    page.locator("#part summary").first.click()
    expect(page.locator("#part pre").first).to_contain_text("alert_id")


def test_a_dead_letter_is_re_driven_after_a_look_at_the_plan(page: Page, filled: Served) -> None:
    source = f"service-{uuid.uuid4().hex[:8]}"
    for offset in (10, 11):
        letter(filled, source, filled.line.sources.dead_letters[0], offset)
    goto(page, filled, f"operations?part=dead-letters&search={source}")
    rows = page.locator("#dead-letters tbody tr")
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Re-drive selected").click()
    expect(page.locator("#part [role=alert]", has_text="Select at least one")).to_be_visible()
    rows.last.get_by_role("checkbox").check()
    stands(page, "dead-letters", (360, 1280))
    rows.last.get_by_role("button").click()
    expect(page.get_by_role("dialog")).to_contain_text("a value")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Re-drive selected").click()
    plan = page.get_by_role("dialog")
    expect(plan).to_contain_text(f"{filled.line.sources.dead_letters[0]}:0:10")
    expect(plan).not_to_contain_text(f"{filled.line.sources.dead_letters[0]}:0:11")
    plan.get_by_role("button", name="Apply this plan").click()
    page.locator("#redrive a").click()
    done = page.locator("#operations tbody tr", has_text="redrive").first
    expect(done).to_contain_text("● done")
    expect(done).to_contain_text("1 record")
    stands(page, "operations-running", (360, 1280))
    goto(page, filled, f"operations?part=dead-letters&search={source}")
    expect(rows.last).to_contain_text("● re-driven")
    expect(rows.first).to_contain_text("○ waits")


def test_a_chip_of_dead_letters_says_what_is_shown_and_nothing_hidden_is_selected(page: Page, filled: Served) -> None:
    source = f"service-{uuid.uuid4().hex[:8]}"
    letter(filled, source, "elsewhere", 1)
    goto(page, filled, f"operations?part=dead-letters&search={source}")
    page.locator("#dead-letters tbody tr").get_by_role("checkbox").check()
    page.locator("#part .chips a", has_text=f"{LETTERS} · malformed").or_(
        page.locator("#part .chips a").first
    ).first.click()
    expect(page.get_by_label("Words")).to_have_value("")
    expect(page.get_by_label("Reason")).not_to_have_value("")
    page.get_by_role("button", name="Re-drive selected").click()
    expect(page.locator("#part [role=alert]", has_text="Select at least one")).to_be_visible()


def test_a_topic_is_deleted_after_a_look_at_the_plan(page: Page, filled: Served) -> None:
    name = f"t-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": filled.line.cluster.bootstrap_servers})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(CALL_S)
    goto(page, filled, f"operations?part=topics&name={name}")
    page.get_by_role("button", name="Delete this topic").click()
    plan = page.get_by_role("dialog")
    expect(plan).to_contain_text(name)
    stands(page, "plan-delete", (360, 1280))
    plan.get_by_role("button", name="Apply this plan").click()
    page.locator("#part .told a").click()
    expect(page.locator("#operations tbody tr", has_text=name).first).to_contain_text("● done")
    assert name not in admin.list_topics(timeout=CALL_S).topics
    goto(page, filled, f"operations?part=topics&name={quote('quality.state')}")
    expect(page.locator("#part")).to_contain_text("It is one of the product's: it is never deleted.")
    expect(page.get_by_role("button", name="Delete this topic")).to_have_count(0)


def test_a_dialog_does_not_outlive_the_view_that_opened_it(page: Page, filled: Served) -> None:
    goto(page, filled, "alerts")
    goto(page, filled, "operations?part=pipelines")
    page.get_by_role("button", name="Judge again").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.go_back()
    expect(page.locator("#worklist")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_offsets_of_a_group_are_set_and_a_pipeline_judges_again(page: Page, filled: Served) -> None:
    servers, group = filled.line.cluster.bootstrap_servers, f"g-{uuid.uuid4().hex[:8]}"
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group})
    consumer.commit(offsets=[TopicPartition(filled.line.sources.charts, 0, 3)], asynchronous=False)
    goto(page, filled, "operations?part=pipelines")
    page.locator(f"[data-group='{group}']").get_by_role("button", name="Set its offsets").click()
    page.get_by_role("dialog").get_by_role("button", name="Show the plan").click()
    plan = page.get_by_role("dialog", name="this is what would be done")
    expect(plan).to_contain_text(filled.line.sources.charts)
    plan.get_by_role("button", name="Apply this plan").click()
    page.locator(f"[data-group='{group}'] .told a").click()
    expect(page.locator("#operations tbody tr", has_text=group).first).to_contain_text("● done")
    seen(filled)
    [at] = consumer.committed([TopicPartition(filled.line.sources.charts, 0)], CALL_S)
    consumer.close()
    assert at.offset == 0
    goto(page, filled, "operations?part=pipelines")
    page.locator(f"[data-group='{filled.line.pipeline}']").get_by_role("button", name="Judge again").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name of the output").fill("june")
    dialog.get_by_role("button", name="Show the plan").click()
    expect(dialog.get_by_role("alert")).to_contain_text("runs, whose detectors could judge")


def test_operations_are_listed(page: Page, filled: Served) -> None:
    goto(page, filled, "operations?part=running")
    expect(page.locator("#part .listed[data-loaded]")).to_be_visible()
