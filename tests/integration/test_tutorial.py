"""docs/tutorial.md, typed as it stands by a new user, beside a demo that runs."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.notebooks import EXAMPLES, kernel_environment, run_notebook
from tests.integration.running import PROGRAM, STOP_S, Running, run_in

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
COMMAND_S = 150.0
HASH = re.compile(r"--apply ([0-9a-f]{8,})")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A demo whose line runs for longer than all of this takes."""
    with run_in(tmp_path_factory.mktemp("demo")) as demo:
        process = demo.start(str(PROGRAM), "demo", "--wafers-per-s", "2")
        demo.wait_for_text("alerts")  # the live line
        yield demo
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_S) == 0, demo.error_file.read_text()
        demo.left_nothing()


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def typed(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Type a command; return what it printed."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "Connect" not in done.stderr, "that Ray is there is no news"
    assert "WARNING" not in done.stderr
    return done.stdout


@pytest.mark.timeout(900)
def test_every_command_of_the_tutorial(running: Running, tmp_path: Path) -> None:
    exports = [line for line in commands() if line.startswith("export ")]
    ports = {"19092": running.ports["kafka"], "18081": running.ports["registry"]}
    setting = "; ".join(exports).replace("$PWD/.venv/bin", str(PROGRAM.parent))
    for said, ours in ports.items():
        setting = setting.replace(f":{said}", f":{ours}")
    environment = {**running.environment, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    printed = ""
    heard: dict[str, str] = {}
    for line in commands()[len(exports) :]:
        command = line.replace("HASH", (HASH.findall(printed) or ["HASH"])[-1])
        printed = typed(f"{setting}; {command}", tmp_path, environment)
        heard[re.sub(r"--apply \S+", "--apply", command)] = printed
    assert heard["chipquality detector list"].split("\n")[1].split()[:3] == ["edge", "shadow", "shadow"]
    shown = heard["chipquality detector show edge"]
    assert "canary" in shown
    assert "live" in shown
    deploy = (
        """chipquality detector deploy edge-roughness --name edge --series "*|f00?" --parameters '{"limit": 300}'"""
    )
    assert "of the 590 series that are shown it judges 10\n" in heard[deploy]
    both, _, by_b, _ = map(
        int, re.findall(r"\d+", heard["chipquality detector compare edge --against spc.individuals"])[:4]
    )
    assert both / 2 < by_b <= both, "of the ten series, not of all"
    assert "edge-again.v1" in heard["chipquality job current edge-again"]
    assert typed(f"{setting}; chipquality detector list", tmp_path, environment).splitlines()[1:] == []


ASKED = """{
    "tests": tests.stdout, "deployed": deployed["state"], "rows": compared["rows"], "judged": compared["judged"]["b"],
    "modes": [spell["mode"] for spell in history], "live": live_at_last, "made": made["output"], "verdicts": len(verdicts),
    "detectors": sorted(set(verdicts["detector"])), "signalled": report["signalled"], "left": left,
}"""


@pytest.mark.timeout(900)
def test_the_notebook_that_goes_the_whole_way(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = running.environment | {
        "CHIPQUALITY_URL": f"http://127.0.0.1:{running.ports['serve']}",
        "CHIPQUALITY_KEY": running.key(),
        "CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{running.ports['kafka']}",
        "CHIPQUALITY_KAFKA__PARTITIONS": "2",
        "CHIPQUALITY_REGISTRY__URL": f"http://127.0.0.1:{running.ports['registry']}/apis/ccompat/v7",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    kernel_environment(monkeypatch, tmp_path, product)
    facts = run_notebook(EXAMPLES / "idea_to_live.ipynb", ASKED)
    assert "passed" in facts["tests"]
    assert (facts["deployed"], facts["live"], facts["left"]) == ("done", True, [])
    assert facts["rows"] / 2 < facts["judged"] <= facts["rows"]
    assert facts["modes"] == ["shadow", "live"]
    assert facts["signalled"] > 0
    assert facts["made"].endswith("-again.v1")
    assert (facts["verdicts"] > 0, len(facts["detectors"])) == (True, 1)
