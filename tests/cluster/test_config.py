"""Configuration: sources in order, clear errors, masked secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from actors.engine.arrivals import Arrivals
from actors.errors import ConfigError
from cluster.config import PipelineConfig, load, render, reveal


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults() -> None:
    config = load()
    assert config.kafka.bootstrap_servers is None
    assert (config.serve.host, config.serve.port) == ("127.0.0.1", 8000)


def test_environment_over_env_file_over_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chipquality.yaml").write_text("serve: {port: 1001}\npipeline: {name: yaml, phase_one_rows: 33}\n")
    (tmp_path / ".env").write_text("CHIPQUALITY_SERVE__PORT=1002\nCHIPQUALITY_PIPELINE__NAME=dotenv\n")
    monkeypatch.setenv("CHIPQUALITY_SERVE__PORT", "1003")
    config = load()
    assert (config.serve.port, config.pipeline.name, config.pipeline.phase_one_rows) == (1003, "dotenv", 33)


def test_the_yaml_file_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.yaml").write_text("serve: {port: 1234}\n")
    monkeypatch.setenv("CHIPQUALITY_CONFIG", str(tmp_path / "other.yaml"))
    assert load().serve.port == 1234


def test_a_named_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPQUALITY_CONFIG", "nowhere.yaml")
    with pytest.raises(ConfigError, match=r"CHIPQUALITY_CONFIG=nowhere\.yaml: no such file"):
        load()


def test_a_bad_value_names_setting_value_and_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPQUALITY_SERVE__PORT", "70000")
    with pytest.raises(ConfigError, match=r"serve\.port = '70000': .*less than or equal to 65535"):
        load()


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    (tmp_path / "chipquality.yaml").write_text("kafka: {bootstrap: x}\n")
    with pytest.raises(ConfigError, match=r"kafka\.bootstrap = 'x'"):
        load()


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "chipquality.yaml").write_text("kafka: [")
    with pytest.raises(ConfigError, match="not YAML"):
        load()


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().serve.port = 1  # type: ignore[misc]


def test_secrets_are_masked_in_print_and_clear_for_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPQUALITY_KAFKA__CLIENT", '{"sasl.password": "hunter2"}')
    config = load()
    text = render(config)
    assert "hunter2" not in text
    assert "sasl.password: '**********'" in text
    assert reveal(config.kafka.client) == {"sasl.password": "hunter2"}


def test_partitions_default_to_few_here_and_more_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (load().kafka.input_partitions, load().replicas) == (2, 1)
    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", "kafka:9092")
    assert (load().kafka.input_partitions, load().replicas) == (12, 2)
    monkeypatch.setenv("CHIPQUALITY_KAFKA__PARTITIONS", "7")
    assert load().kafka.input_partitions == 7


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("just text", "sections with settings are wanted, not 'just text'"),
        ("- a\n- b\n", "sections with settings are wanted"),
        ("pipline:\n  name: x\n", "no section pipline; there are kafka, registry"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    monkeypatch.setenv("CHIPQUALITY_CONFIG", str(file))
    with pytest.raises(ConfigError, match=says):
        load()


def test_an_empty_file_sets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("# nothing yet\n")
    monkeypatch.setenv("CHIPQUALITY_CONFIG", str(file))
    assert load().pipeline.name == "quality"


def test_the_settings_that_docs_arrivals_shows_are_settings(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/arrivals.md").read_text()
    (tmp_path / "chipquality.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    assert load().pipeline.arrivals == Arrivals(100_000, 600_000, 60_000)
    assert not PipelineConfig().arrivals.on


@pytest.mark.parametrize(
    "wrong", [{"dedupe_window": 0}, {"dedupe_window": 1_000_001}, {"allowed_lateness_ms": -1}, {"max_ahead_ms": 10**12}]
)
def test_what_is_set_aside_has_bounds(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"pipeline.{next(iter(wrong))} = "):
        load(pipeline=wrong)
