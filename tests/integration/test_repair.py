"""A torn transaction on the real broker: seen at opening and by the checker, repaired beside a running owner."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

import pytest
from typer.testing import CliRunner

from actors.engine.position import Record
from actors.errors import FencedError, ReopenError
from actors.kafka import transaction
from actors.kafka.transaction import TransactionalWriter
from actors.log import Writer
from cluster.commands import pipeline as module
from cluster.local.stack import Endpoints
from tests.fixtures_stack import prepared
from tests.integration.line import TestLine, same_as_undisturbed, wait_for
from tests.integration.test_slot import owner, run_to_end, step_until


class Tearing:
    """Commits a part of its next transaction, without offsets, as a delayed end of the one before would."""

    def __init__(self, writer: Writer, keeps: Callable[[Record], bool]) -> None:
        self._writer = writer
        self._keeps = keeps
        self.last_commit_s = 0.0

    def commit(self, records: Sequence[Record], topic: str, offsets: Mapping[int, int], _: object) -> Future[None]:
        self._writer.commit([record for record in records if self._keeps(record)], topic, {}, None).result(20)
        torn: Future[None] = Future()
        torn.set_exception(ReopenError("torn"))
        return torn

    def abandon(self) -> None:
        self._writer.abandon()


def tear(line: TestLine, keeps: Callable[[Record], bool]) -> None:
    """Have an owner whose last transaction is torn."""
    slot = line.slot()
    slot.open()
    step_until(slot, sum(map(len, line.written.values())))
    slot._settle(block=True)
    line.write(0, [line.measurement("s1", 99.0, 1), b"garbage", *(line.measurement("s0", 10.0, n) for n in range(30))])
    slot._writer = Tearing(slot._writer, keeps)  # type: ignore[assignment]
    with pytest.raises(ReopenError, match="torn"):
        step_until(slot, 1_000_000)
    slot.abandon()


@pytest.fixture
def line(stack: Endpoints, monkeypatch: pytest.MonkeyPatch) -> TestLine:
    """A line that the commands know as configured. No snapshot falls into the torn step, however slow the machine is."""
    prepared(stack)  # the audit trail
    made = TestLine(stack, settings={"snapshot_interval_ms": 600_000})
    monkeypatch.setattr(module, "pipelines_of", lambda *_: [made.pipeline()])
    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", stack.bootstrap_servers)
    monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", stack.registry_url)
    return made


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(module.app, arguments, catch_exceptions=False)
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("with_state", "kinds"),
    [
        (True, {"position and committed offset differ", "behind the position"}),
        (False, {"beyond the position"}),
    ],
)
def test_a_torn_step_is_found_repaired_and_taken_up_again(line: TestLine, with_state: bool, kinds: set[str]) -> None:
    line.write_noise(20)
    tear(line, lambda record: record.key.endswith(b"/spc") or (with_state and record.topic == line.topics.state))
    with owner(line) as loop:
        wait_for(lambda: "torn" in loop.status().get("quarantined", {}).get(0, ""), "the owner sees it")
        code, said = call("check", line.name, "--output", "json")
        report = json.loads(said)
        assert (code, report["whole"]) == (1, False)
        assert {problem["kind"] for problem in report["problems"]} == kinds
        code, said = call("repair", line.name)
        assert code == 1
        assert "would write the step from 20 to 52" in said
        assert line.committed()[0] == 20
        code, said = call("repair", line.name, "--apply")
        assert code == 0, said
        assert "Whole: no gap, nothing twice." in said
        wait_for(lambda: loop.status()["reopened"] > 0 and not loop.status().get("quarantined", {0}), "it takes it up")
        line.write_noise(20, seed=2)
        line.wait_done()
    assert call("check", line.name)[0] == 0
    assert call("repair", line.name)[0] == 0
    same_as_undisturbed(line, run_to_end)


def test_a_pipeline_that_is_not_configured_is_one_clear_line(line: TestLine) -> None:
    from actors.errors import ConfigError

    with pytest.raises(ConfigError, match=f"no pipeline 'other' is configured; there are {line.name}"):
        call("check", "other")
    with pytest.raises(ConfigError, match="has no partition 7"):
        call("repair", line.name, "--partition", "7")


# ---- a producer is not used again


def test_a_producer_is_never_used_again_after_an_error(line: TestLine) -> None:
    first, second = (TransactionalWriter(line.cluster, f"{line.name}-0") for _ in range(2))
    record = Record(line.topics.charts, 0, b"k", b"v")
    first.open()
    second.open()
    with pytest.raises((FencedError, ReopenError)):
        first.commit([record], line.input, {}, None).result(20)
    with pytest.raises(ReopenError, match="is not used again"):
        first.commit([record], line.input, {}, None).result(20)
    second.commit([record], line.input, {}, None).result(20)
    first.abandon()
    second.close()
    wait_for(lambda: bool(line.read(line.topics.charts)[0]), "the marker of the second one's transaction is written")
    assert len(line.read(line.topics.charts)[0]) == 1


def test_a_slow_commit_opens_the_slot_again(line: TestLine, monkeypatch: pytest.MonkeyPatch) -> None:
    line.write_noise(10)
    slot = line.slot()
    slot.open()
    slot._settle(block=True)
    with monkeypatch.context() as patch:
        end = slot._writer._end

        def slow_end() -> None:
            end()
            patch.setattr(transaction, "COMMIT_TIMEOUT_S", 0.0)  # now it has taken longer than it may

        patch.setattr(slot._writer, "_end", slow_end)
        with pytest.raises(ReopenError, match="committed only after"):
            step_until(slot, 1_000_000)
    slot.abandon()
    run_to_end(line)
    same_as_undisturbed(line, run_to_end)
