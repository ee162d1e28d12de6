"""docs/tutorial.md, typed as it stands by a new user, beside a demo that runs."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.running import PROGRAM, STOP_S, Running, run_in

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
COMMAND_S = 150.0
HASH = re.compile(r"--apply ([0-9a-f]{8,})")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with run_in(tmp_path) as demo:
        yield demo


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
    process = running.start(str(PROGRAM), "demo", "--wafers-per-s", "10")
    running.wait_for_text("alerts")  # the live line
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
    process.send_signal(signal.SIGINT)
    assert process.wait(STOP_S) == 0, running.error_file.read_text()
    running.left_nothing()
