"""The command line: exit codes, one clear line for what is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from typer.testing import CliRunner

from actors import supervisor
from actors.errors import ConfigError
from cluster import cli
from cluster.local import Endpoints
from tests.fixtures_stack import prepared
from tests.integration.line import TestLine, wait_owner

runner = CliRunner()


def test_help_names_every_command() -> None:
    text = runner.invoke(cli.app, ["--help"]).output
    for command in ("demo", "run", "config", "local", "topics", "pipeline"):
        assert command in text


def test_config_prints_what_is_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPQUALITY_SERVE__PORT", "4321")
    result = runner.invoke(cli.app, ["config"])
    assert result.exit_code == 0
    assert "port: 4321" in result.output


def test_a_configuration_error_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHIPQUALITY_SERVE__PORT", "no")
    monkeypatch.setattr("sys.argv", ["chipquality", "config"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("chipquality: bad configuration: serve.port = 'no'")


def test_pipeline_list_shows_what_runs(stack: Endpoints, ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(stack)  # scaling is recorded in the audit trail
    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", stack.bootstrap_servers)
    monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", stack.registry_url)
    line = TestLine(stack, settings={"hosting": "owner"})
    supervisor.start_pipeline(line.pipeline())
    supervisor.wait_live(line.name)
    try:
        text = runner.invoke(cli.app, ["pipeline", "list"]).output
        assert f"{line.name}  1 slot  deal 1" in text
        assert "  slot 0  live  incarnation 1  re-opened 0×" in text
        assert "replay at most" not in text
        line.write_noise(20)
        line.wait_done()
        wait_owner(line, lambda said: said.get("rows") == 40)
        text = runner.invoke(cli.app, ["pipeline", "list"]).output
        assert re.search(
            r"  slot 0  live .*  \{0: \d+, 1: \d+\}  replay at most \d+\.\d s  process \d+$", text, re.MULTILINE
        )
        found = json.loads(runner.invoke(cli.app, ["pipeline", "list", "--output", "json"]).output)
        assert line.name in [status["pipeline"] for status in found]
        scaled = runner.invoke(cli.app, ["pipeline", "scale", line.name, "2"])
        assert (scaled.exit_code, f"{line.name}  2 slots  deal 3" in scaled.output) == (0, True), scaled.output
        assert "  slot 1  live  incarnation 1  re-opened 0×  {1: 20}" in scaled.output
        for wrong, says in ((["nobody", "1"], "no pipeline 'nobody' runs"), ([line.name, "3"], "3 slots: a pipeline")):
            refused = runner.invoke(cli.app, ["pipeline", "scale", *wrong])
            assert isinstance(refused.exception, ConfigError)
            assert says in str(refused.exception)
    finally:
        supervisor.stop_pipeline(line.name)
    assert ray.is_initialized()


@pytest.mark.processes
def test_pipeline_list_without_ray_is_one_clear_line() -> None:
    program = Path(sys.executable).parent / "chipquality"
    command = [str(program), "pipeline", "list", "--address", "127.0.0.1:1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == 2
    assert "chipquality: no Ray cluster at 127.0.0.1:1" in ended.stderr
