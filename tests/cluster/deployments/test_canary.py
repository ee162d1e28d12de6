"""A canary: a share of the series is judged live by the new version, the others by the one before; and how the two compare."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, expect

from actors.engine.share import place_of
from cluster.api.app import build_api
from cluster.api.facts import ClusterFacts
from cluster.deployments.record import Phase
from cluster.jobs.kinds.rejudge import run_rejudge
from cluster.local import Endpoints
from cluster.operations.errors import Absent
from models.detector import Detector
from tests.cluster.deployments.deployed_line import Deployed, deployed
from tests.cluster.deployments.guests import detector, stored
from tests.cluster.deployments.test_deploying import check_live, oracle, rows_of, told
from tests.cluster.in_process import ENDED, Api, listening
from tests.cluster.jobs.local_desk import Local
from tests.cluster.page_checks import stands
from tests.integration.line import series_of, wait_for
from tests.transactions import open_transaction

pytestmark = pytest.mark.quiet  # several pipelines at once: beside other tests they do little but wait

SERIES = 12


@pytest.fixture(scope="module")
def beside(stack: Endpoints, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with deployed(stack, tmp_path_factory.mktemp("store")) as found:
        yield found


def history_is_judged_by(beside: Deployed, name: str, by: Detector, label: str) -> None:
    """A job judges all there is by a deployed version: every series, whatever its share, bit for bit as a fold of it all."""
    line, desk = beside.line, Local()
    outcome = run_rejudge(desk.stage(line, str(beside.store), "rejudge", deployment=name))
    assert outcome.result["pipeline"] == f"detector-{name}"
    assert outcome.result["records"] == sum(line.ends().values())
    [made] = desk.swapped
    for partition, blocks in beside.blocks(made["topics"]["charts"]).items():
        assert rows_of(blocks, label) == oracle(line, partition, told(by, label), label)


def test_a_canary_has_its_share_of_the_series(beside: Deployed) -> None:
    line = beside.line
    keys = [series_of(f"s{i}") for i in range(SERIES)]
    share = sorted(place_of(key) for key in keys)[SERIES // 3] / 100  # in %, so that some are in it and some are not
    with Api(line.cluster, line.name) as api:
        api.app.state.store = str(beside.store)
        line.write_noise(600, 1, SERIES)
        beside.deploy("v1", mode="live", parameters={"limit": 11.0})
        line.write_noise(600, 2, SERIES)
        _, digest = stored(beside.store)
        body = {
            "name": "v2",
            "package": digest,
            "mode": f"canary:{share:g}%",
            "parameters": {"limit": 11.5},
            "replaces": "v1",
        }
        plan, plan_hash = api.planned("POST", "/deployments", **body)
        assert plan["topics"] == ["v2.charts", "v2.alerts", "v2.dlq", "v2.state"]
        api.done("POST", "/deployments", plan_hash, **body)
        line.write_noise(900, 3, SERIES)
        items = {item["name"]: item for item in api("GET", "/deployments")["items"]}
        assert (items["v1"]["phase"], items["v2"]["phase"]) == ("canary", "canary")
        assert items["v2"]["now"]["state"] == "live"
        for name in ("v1", "v2"):
            wait_for(lambda name=name: beside.reached(name), "all is judged")
        with open_transaction(line.cluster.bootstrap_servers, (line.topics.charts, line.topics.alerts, "v2.charts")):
            compared = api("GET", "/deployments/v2/compare")  # of what is committed: it waits for nobody's transaction
        assert compared["rows"] > 1_500
        assert compared["alerts_held_back"] > 0
        assert compared["signals"]["only_b"] == 0  # a higher limit signals less
        assert compared["signals"]["only_a"] > 0
        assert compared["alerts"]["both"] > 0
        assert compared["b"]["us_per_row"] > 0
        against = api("GET", "/deployments/v2/compare?against=spc.individuals")
        assert (against["rows"] > 0, against["statistics"], against["alerts_held_back"]) == (True, {}, 0)
        api("GET", "/deployments/v2/compare?against=nobody", status=404)
        with pytest.raises(Absent, match="detector-v3"):
            run_rejudge(Local().stage(line, str(beside.store), "rejudge", deployment="v3"))
        history_is_judged_by(beside, "v2", detector(limit=11.5), label="v1")
        _, plan_hash = api.planned("POST", "/deployments/v2/rollback")
        api.done("POST", "/deployments/v2/rollback", plan_hash)
        line.write_noise(300, 4, SERIES)
        wait_for(lambda: beside.reached("v1"), "all is judged")
        assert api("GET", "/deployments/v1")["phase"] == "live"
        assert api("GET", "/deployments/v2")["phase"] == "stopped"
        api("GET", "/deployments/v3", status=404)
        api("POST", "/deployments/v2/rollback", {"dry_run": True}, status=409)
    counts = check_live(beside, {"v1": detector(limit=11.0), "v2": detector(limit=11.5)}, "v1")
    assert min(counts.values()) > 200, counts
    own = beside.blocks("v2.charts")
    live = beside.blocks(line.topics.charts, "detector-v2")
    for partition in range(line.partitions):  # of every row it said something, in one of the two
        in_shadow, in_live = rows_of(own[partition], "v1"), rows_of(live[partition], "v1")
        assert not in_shadow.keys() & in_live.keys()
        assert len(in_shadow) + len(in_live) >= 2_100
    assert beside.records()["v2"].phase is Phase.stopped
    assert json.dumps(beside.records()["v2"].told())


def operations(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{url}operations", timeout=20).json()["items"]
    return found


def test_the_page_compares_promotes_rolls_back_and_removes(beside: Deployed, browser: BrowserContext) -> None:
    app = build_api(ClusterFacts(beside.line.cluster, beside.line.name))
    with listening(app) as url:
        page = browser.new_page()
        page.goto(f"{url}#/operations?part=detectors")
        row = page.locator("#deployments tbody tr").filter(has_text="v2")
        expect(row).to_contain_text("stopped")

        row.get_by_role("link", name="Compare").click()
        sides = page.locator("#sides tbody tr")
        expect(sides.filter(has_text="signals, alone").locator("td").nth(2)).to_have_text(
            "0"
        )  # a higher limit signals less
        expect(page.locator("#compared")).to_contain_text("Alerts of one alone")
        expect(page.locator("#statistics")).to_contain_text("run")
        stands(page, "compare", (360, 1280))
        page.get_by_label("against").fill("nobody")
        page.get_by_role("button", name="Compare").click()
        expect(page.locator("#compared [role=alert], #compared .absent")).to_contain_text("no deployment nobody")

        page.get_by_role("link", name="All detectors").click()
        for button, fields, phase in (
            ("Promote", {"Judges live": "canary:30%"}, "canary"),
            ("Roll back", {}, "stopped"),
        ):
            row.get_by_role("button", name=button).click()
            for label, value in fields.items():
                page.get_by_label(label).fill(value)
                page.get_by_role("button", name="Show the plan").click()
            page.get_by_role("button", name="Apply this plan").click()
            expect(page.get_by_role("dialog")).to_have_count(0)
            wait_for(lambda phase=phase: beside.records()["v2"].phase.value == phase, f"it is in {phase}")
            wait_for(lambda: all(one["state"] in ENDED for one in operations(url)), "its operation has ended")
            expect(row.locator("td").nth(1)).to_contain_text(phase)  # though the focus is back on the button
        row.locator("summary", has_text="mode").click()
        with page.expect_response("**/deployments"):
            page.locator(
                "#part-title"
            ).click()  # who is no longer at it has the list go on, and what was opened stay so
        expect(row.locator("details[open]")).to_have_count(1)
        row.get_by_role("button", name="Remove").click()
        page.get_by_role("button", name="Apply this plan").click()
        expect(row).to_have_count(0)
        page.close()
    assert set(beside.records()) == {"v1"}
