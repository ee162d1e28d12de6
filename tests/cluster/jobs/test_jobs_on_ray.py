"""Jobs on a real broker, a real Ray with its Jobs API and a running pipeline; processes, scheduler and head are killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray
from typer.testing import CliRunner, Result

from actors import supervisor
from actors.kafka.consumer import Offsets, read_to_end
from actors.packages.store import PackageStore
from cluster import cli
from cluster.jobs import actor as jobs
from cluster.jobs.kinds.limits import moved, run_limits
from cluster.jobs.kinds.train import code_hash, run_train
from cluster.jobs.planner import Sight
from cluster.jobs.ray_jobs import RayJobs
from cluster.jobs.scheduler import RayUnavailableError
from cluster.jobs.stage import Stage
from cluster.local import Endpoints
from cluster.operations import actor as operations
from cluster.operations.errors import Refused
from models.builtin import FAMILIES
from models.limit_proposal import Proposal
from models.limit_versions import Change, Limits, LimitVersion, SeriesChange, from_record
from models.limit_versions import State as ChangeState
from schemas.charts import unpack
from schemas.decode import decode_event
from schemas.topics import ML
from tests.cluster.in_process import Api
from tests.cluster.jobs.local_desk import Local
from tests.cluster.served import free_port, wait_for
from tests.fixtures_stack import prepared
from tests.integration.line import TestLine, series_of
from tests.real_ray import real_ray

pytestmark = pytest.mark.processes

RECORDS = 600  # of each partition
FEW = {"spc": FAMILIES["spc"](10)}
ENDED = {"done", "failed", "cancelled", "skipped"}


class Site:
    """A pipeline in a Ray that can end, and another begin."""

    def __init__(self, stack: Endpoints, store: Path) -> None:
        prepared(stack)
        self.line = TestLine(stack, families=FEW)
        random = np.random.default_rng(1)
        for partition, letter in enumerate("st"):  # a series stands in one partition
            values = random.normal(10, 1, RECORDS).round(3)
            self.line.write(
                partition,
                [self.line.measurement(f"{letter}{i % 3}", float(x), i) for i, x in enumerate(values)],
            )
        self.settings = jobs.Settings(self.line.cluster, self.line.name, str(store))
        self.ray = ExitStack()
        self.begin()
        self.line.wait_done()

    def begin(self) -> None:
        self.ray.enter_context(real_ray(free_port()))
        supervisor.start_pipeline(self.line.pipeline())
        jobs.connect(self.settings)

    def head_ends(self) -> None:
        """Kill the head, and with it all that runs in its Ray."""
        for processes in ray._private.worker._global_node.all_processes.values():  # type: ignore[union-attr]
            for process in processes:
                process.process.kill()
        self.ray.close()
        self.ray = ExitStack()

    def leave(self) -> None:
        jobs.stop(self.line.name)
        operations.stop(self.line.name)
        supervisor.stop_pipeline(self.line.name)
        self.ray.close()


@pytest.fixture(scope="module")
def site(stack: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(stack, tmp_path_factory.mktemp("store"))
    yield made
    made.leave()


@pytest.fixture(scope="module")
def api(site: Site) -> Iterator[Api]:
    with Api(site.line.cluster, site.line.name) as api:
        yield api


def newest(api: Api, name: str) -> dict[str, Any]:
    found: dict[str, Any] = api("GET", f"/jobs/{name}/runs", params={"limit": 1})["items"][0]
    return found


def ended(api: Api, name: str) -> dict[str, Any]:
    found: dict[str, Any] = wait_for(
        lambda: run if (run := newest(api, name))["state"] in ENDED else None, f"the run of {name} ends"
    )
    return found


def verdicts(line: TestLine, topic: str) -> dict[tuple[int, int, str], bytes]:
    """Return what was said of each record by each detector, each once."""
    found: dict[tuple[int, int, str], bytes] = {}
    for partition, records in line.read(topic).items():
        for _, value in records:
            block = unpack(value or b"")
            for name, said in block.detectors.items():
                for i, offset in enumerate(block.offset.tolist()):
                    assert (partition, offset, name) not in found
                    numbers = (said.statistic, said.centre, said.lcl, said.ucl, said.signal, said.valid)
                    found[partition, offset, name] = b"".join(number[i].tobytes() for number in numbers)
    return found


def process_of(submission_id: str) -> psutil.Process | None:
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if command[-1:] == [submission_id] and "cluster.jobs.process" in command and command[0] != "/bin/sh":
            return process
    return None


def test_a_stretch_is_judged_again_though_its_process_and_the_scheduler_are_killed(site: Site, api: Api) -> None:
    definition = {"kind": "rejudge", "parameters": {"keep": 1}, "backoff_s": 0}
    told = api("PUT", "/jobs/june", definition)
    assert (told["cron"], told["next_ms"], told["revision"]) == (None, None, 1)
    run = api("POST", "/jobs/june/runs", status=202)
    assert (run["number"], run["trigger"], run["by"]) == (1, "hand", "everybody")
    api("POST", "/jobs/june/runs", status=409)
    attempt = f"{run['id']}-1"
    found = wait_for(lambda: process_of(attempt), "its process")
    wait_for(lambda: newest(api, "june")["what"], "it says how far it is")
    found.kill()
    os.kill(ray.get(jobs.running(site.line.name).pid.remote()), signal.SIGKILL)
    wait_for(lambda: _answered(api, "june"), "the scheduler is back")
    done = ended(api, "june")
    assert (done["state"], done["attempt"], done["failures"]) == ("done", 2, 1), done
    current = api("GET", "/jobs/june/current")
    assert (current["version"], current["made"]["topics"]["charts"]) == (1, "june.v1.charts")
    assert verdicts(site.line, "june.v1.charts") == verdicts(site.line, site.line.topics.charts)
    replays = [op for op in api("GET", "/operations")["items"] if op["subject"] == "replay june.v1"]
    assert len(replays) == 1, "the second attempt found the operation of the first"


def under_way(api: Api, name: str) -> bool:
    run = newest(api, name)
    assert not run["error"], run
    assert not (trouble := api("GET", "/jobs")["trouble"]), trouble
    return bool(run["what"])


def _answered(api: Api, name: str) -> bool:
    return api.answer("GET", f"/jobs/{name}").status_code == 200


def test_by_other_limits_and_detectors_into_the_next_version_which_is_swapped_in(site: Site, api: Api) -> None:
    parameters = {
        "keep": 1,
        "to": "300",
        "detectors": [{"detector": "spc.individuals", "series": "*|s0"}],
        "limits": [{"series": series_of("s0"), "mu": 3.5, "sigma": 0.5}],
    }
    assert api("PUT", "/jobs/june", {"kind": "rejudge", "parameters": parameters})["revision"] == 2
    assert api("POST", "/jobs/june/runs", status=202)["number"] == 2
    done = ended(api, "june")
    assert done["state"] == "done", done
    current = api("GET", "/jobs/june/current")
    assert (current["version"], current["versions"], current["run"]) == (2, [2], done["id"])
    assert done["result"]["records"] == 600
    blocks = [unpack(value or b"") for _, value in site.line.read("june.v2.charts")[0]]
    said = [float(block.detectors["spc.individuals"].centre[i, 0]) for block in blocks for i in range(len(block))]
    of_s0 = [x for x in said if not np.isnan(x)]
    assert of_s0 == [3.5] * 100, "from the first record on, and of no other series"
    there = site.line.admin.list_topics(timeout=20).topics
    assert not [name for name in there if name.startswith("june.v1.")], "older versions are deleted"


def test_on_a_schedule_live_limits_a_cancelled_run_and_the_commands(
    site: Site, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", site.line.endpoints.bootstrap_servers)
    monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", site.line.endpoints.registry_url)
    monkeypatch.setenv("CHIPQUALITY_PIPELINE__NAME", site.line.name)

    def command(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli.app, ["job", *arguments])
        assert result.exit_code == code, result.output + repr(result.exception)
        return result

    parameters = json.dumps({"last_s": 86_400, "event_time": True})
    when = ("--cron", "0 0 1 1 *", "--parameters", parameters, "--retries", "0")
    assert command("schedule", "yearly", "--kind", "rejudge", *when).stdout.startswith(
        "yearly  rejudge  0 0 1 1 * (UTC), next 20"
    )
    assert "yearly" in command("list").stdout
    assert "No runs." in command("history", "yearly").stdout
    failed = command("run", "yearly", "--wait", code=1)
    assert "nothing of" in failed.stdout, "nothing was measured on the last day"
    api("POST", "/jobs/yearly/runs", status=202)
    told = api("DELETE", "/jobs/yearly/runs", status=202)
    assert told["state"] in {"cancelled", "stopping"}
    assert ended(api, "yearly")["state"] == "cancelled"
    cancelled = json.loads(command("history", "yearly", "-o", "json").stdout)[0]
    assert cancelled["id"] == told["id"]
    assert cancelled["id"] in command("history", "yearly", "--limit", "1").stdout
    assert '"cron": "0 0 1 1 *"' in command("show", "yearly").stdout
    assert "june v2 since" in command("current", "june").stdout
    assert "yearly is removed" in command("remove", "yearly").stdout
    assert "no job yearly" in command("run", "yearly", code=2).stderr
    assert "no run of june is under way" in command("cancel", "june", code=2).stderr
    for wrong in ("{", "[]", "@/nowhere"):
        command("schedule", "x", "--kind", "train", "--parameters", wrong, code=2)
    command("schedule", "x", "--kind", "train", "--catch-up", "never", code=2)


def test_what_is_refused(api: Api) -> None:
    for wrong, said in (
        ({"kind": "rejudge", "parameters": {"surplus": 1}}, "surplus"),
        ({"kind": "rejudge", "parameters": {"from": "noon"}}, "is no time"),
        ({"kind": "rejudge", "parameters": {"from": "earliest", "to": "5", "last_s": 5}}, "either last_s"),
        ({"kind": "rejudge", "parameters": {"deployment": "tail", "pipeline": "main"}}, "deployment stands alone"),
        ({"kind": "limits", "parameters": {}}, "series"),
        ({"kind": "train", "parameters": {"model": "pca"}}, "either vector or series"),
        ({"kind": "train", "parameters": {"model": "pca", "series": "s"}}, "fitted to a vector"),
        ({"kind": "train", "parameters": {"model": "pca", "vector": "v", "rows": 5, "last_s": 5}}, "either rows"),
        ({"kind": "train", "parameters": {"model": "pca", "vector": "v", "parameters": {"x": 1}}}, "x: pca has"),
        ({"kind": "train", "parameters": {"model": "isolation-forest", "vector": "v"}}, "wants a seed"),
        ({"kind": "rejudge", "cron": "61 * * * *"}, "Bad minute"),
        ({"kind": "rejudge", "zone": "Mars", "cron": "1 * * * *"}, "no time zone"),
        ({"kind": "dance"}, ""),
        ({"kind": "limits", "retries": 99, "parameters": {"series": ["x"]}}, ""),
    ):
        assert said in json.dumps(api("PUT", "/jobs/wrong", wrong, status=422))
    api("PUT", "/jobs/No", {"kind": "rejudge"}, status=422)
    for path in ("/jobs/nothing", "/jobs/nothing/runs", "/jobs/nothing/current"):
        api("GET", path, status=404)
    api("GET", "/jobs", params={"cursor": "~", "limit": 1})
    api("GET", "/jobs/june/runs", params={"cursor": "x"}, status=422)
    api("POST", "/jobs/nothing/runs", status=404)
    api("DELETE", "/jobs/nothing", status=404)
    api("DELETE", "/jobs/june/runs", params={"id": "other-20260601T120000Z"}, status=422)
    api("DELETE", "/jobs/june/runs", status=404)


def stage(site: Site, desk: Local, kind: str, **parameters: Any) -> Stage:
    return desk.stage(site.line, site.settings.store, kind, **parameters)


def control(site: Site) -> list[Change]:
    line = site.line
    ends = Offsets(line.cluster).end(line.topics.control, [0], committed=True)
    entries = read_to_end(line.cluster, "reader", line.topics.control, ends, 20.0)[0]
    return [from_record(decode_event(value, line.registry.schema)) for _, value in entries if value is not None]


def test_limits_are_proposed_once_each_however_often_the_run_begins(site: Site) -> None:
    desk = Local()
    desk.dies_at = series_of("s1")
    asked = {"series": [series_of("s?"), series_of("t0"), series_of("absent")], "rows": 80}
    with pytest.raises(KeyboardInterrupt):
        run_limits(stage(site, desk, "limits", **asked))
    assert [change.changes[0].series for change in control(site)] == [series_of("s0")]
    desk.dies_at = ""
    outcome = run_limits(stage(site, desk, "limits", **asked))
    assert outcome.what == "limits of 5 series: 4 proposed, 0 unchanged, 1 refused"
    changes = control(site)
    assert [change.changes[0].series for change in changes] == [series_of(name) for name in ("s0", "s1", "s2", "t0")]
    assert {(change.author, change.state) for change in changes} == {("job local", ChangeState.PROPOSED)}
    assert outcome.result["counts"] == {"proposed": 4, "unchanged": 0, "refused": 1}
    again = run_limits(stage(site, desk, "limits", **asked))
    assert (again.result["counts"]["proposed"], len(control(site))) == (4, 4), "the same run proposes nothing twice"
    with pytest.raises(Refused, match="no limits can be computed"):
        run_limits(stage(site, desk, "limits", series=[series_of("absent")]))
    with pytest.raises(Refused, match="0 series are meant"):
        run_limits(stage(site, desk, "limits", series=["nobody*"]))
    with pytest.raises(Refused, match="no pipeline nobody runs"):
        run_limits(stage(site, desk, "limits", series=["x"], pipeline="nobody"))


def test_what_has_moved_is_news() -> None:
    def proposal(old: Limits | None, new: Limits) -> Any:
        held = None if old is None else LimitVersion(1, SeriesChange("s", 0, old, 1), None)  # type: ignore[arg-type]
        return Proposal(SeriesChange("s", 0, new, 2), held, None, (), 1, 0, (0, 1))

    was = Limits(mu=10.0, sigma=1.0)
    assert moved(proposal(None, was), 1.0)
    assert moved(proposal(Limits(), was), 1.0)
    assert not moved(proposal(was, Limits(mu=10.09, sigma=1.05)), 0.1)
    assert moved(proposal(was, Limits(mu=10.11, sigma=1.0)), 0.1)
    assert moved(proposal(was, Limits(mu=10.0, sigma=0.8)), 0.1)


def test_a_model_is_trained_kept_and_told_of_once_however_often_the_run_begins(site: Site) -> None:
    desk = Local()
    desk.dies_at = "tells of it"
    asked = {"model": "sample", "series": series_of("s0"), "topic": site.line.input, "rows": 150}
    with pytest.raises(KeyboardInterrupt):
        run_train(stage(site, desk, "train", **asked))
    digest = desk.notes["trained"]["artefact"]
    desk.dies_at = ""
    store = PackageStore(site.settings.store)
    site.line.write(0, [site.line.measurement("s0", 99.0, RECORDS)])
    outcome = run_train(stage(site, desk, "train", **asked))
    assert outcome.result["artefact"] == digest, "what is kept is told of, though there are more rows by now"
    assert store.list("artefacts") == [digest]
    model = store.get_artefact(digest)
    assert (model.kind, len(model.arrays["values"])) == ("drift.sample", 150)
    facts = {
        name: model.facts[name] for name in ("names", "source", "first_offset", "last_offset", "run", "parameters")
    }
    assert facts == {
        "names": [series_of("s0")], "source": site.line.input, "first_offset": 150, "last_offset": 597,
        "run": "local-20260528T202640Z", "parameters": {},
    }  # fmt: skip
    assert model.facts["code"] == code_hash()
    assert desk.swapped[-1]["artefact"] == digest
    said = [event for event in site.line.events(ML) if event["event_id"] == "local-20260528T202640Z-trained"]
    assert [(one["event_type"], one["model"], one["model_version"], one["rows"]) for one in said] == [
        ("TRAINING_COMPLETED", "local", "v1", 150)
    ]
    assert said[0]["metadata"]["artefact"] == digest
    with pytest.raises(Refused, match="cannot be fitted to 2 rows"):
        run_train(stage(site, Local(), "train", **{**asked, "rows": 2, "model": "mmd"}))


def test_ray_says_what_it_knows_and_when_it_does_not_answer(site: Site) -> None:
    there = RayJobs(site.line.name)
    assert there.look(["absent"])["absent"].sight is Sight.absent
    there.stop("absent")
    away = RayJobs(site.line.name, lambda: "http://127.0.0.1:9")
    for ask in (lambda: away.look(["x"]), lambda: away.stop("x")):
        with pytest.raises(RayUnavailableError, match="Jobs API"):
            ask()


def test_the_head_is_killed_in_mid_job_and_the_run_goes_on_in_the_next_ray(site: Site) -> None:
    """Last: it ends the Ray of the others."""
    rows = [site.line.measurement(f"s{i % 3}", 10.0 + i % 7 / 10, RECORDS + i) for i in range(3_000)]
    site.line.write(0, rows)
    site.line.wait_done()
    with Api(site.line.cluster, site.line.name) as api:
        api("PUT", "/jobs/long", {"kind": "rejudge"})
        run = api("POST", "/jobs/long/runs", status=202)
        wait_for(lambda: under_way(api, "long"), "it is under way")
        assert process_of(f"{run['id']}-1")
    site.head_ends()
    site.begin()
    with Api(site.line.cluster, site.line.name) as api:
        wait_for(lambda: _answered(api, "long"), "the scheduler has read its topic")
        done = ended(api, "long")
        assert (done["state"], done["id"]) == ("done", run["id"]), done
        assert done["attempt"] - done["lost"] - done["failures"] == 1
        assert api("GET", "/jobs/long/current")["made"]["topics"]["charts"] == "long.v1.charts"
    assert verdicts(site.line, "long.v1.charts") == verdicts(site.line, site.line.topics.charts)
