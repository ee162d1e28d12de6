"""What a slot does with a partition that is not as it should be, and with brokers that say nothing: on the model of the log."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from actors import slot as slots
from actors.engine.fold import PartitionFold
from actors.errors import ReopenError, StateError
from actors.slot import POLL_WAIT_MIN_S, RECOMMIT_S
from actors.step_pace import INTERVAL_MIN_S
from actors.step_size import STEP_ROWS_MIN, STEP_S
from schemas.registry import RegistryUnavailable
from tests.actors.slot_line import NoRegistry, SlotLine, crashed
from tests.simulation import line


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"position", b"no record of ours"),
        (b"position", b'{"written by": "a newer version"}'),
        (b"page|plain|x|0", b'{"seq": 0}'),
    ],
)
def test_state_that_cannot_be_read_is_quarantined_and_the_others_go_on(key: bytes, value: bytes) -> None:
    on = crashed(SlotLine())
    on.write_state(0, key, value)
    on.noise(0, 5, 20)
    on.noise(1, 5, 20)
    slot = on.opened()
    on.fold_all(slot, [1])
    assert slot.status.quarantined[0].startswith("the state cannot be read: ")
    assert on.committed(0) == 20
    slot.close()


def test_a_step_that_does_not_fit_the_state_quarantines_its_partition_only(monkeypatch: pytest.MonkeyPatch) -> None:
    on = SlotLine()
    slot = on.opened()
    honest = PartitionFold.conclude

    def conclude(self: PartitionFold, *rest: Any) -> Any:
        if self.position.partition == 0:
            raise StateError("the applied log is full")
        return honest(self, *rest)

    monkeypatch.setattr(PartitionFold, "conclude", conclude)
    on.noise(0, 5)
    on.noise(1, 5)
    on.fold_all(slot, [1])
    assert slot.status.quarantined == {0: "the applied log is full"}
    assert on.committed(0) == 0
    slot.close()


def test_what_a_slot_tells_can_be_asked_while_it_changes() -> None:
    on = SlotLine(1)
    slot = on.opened()
    told = slot.status.told()
    slot.status.quarantined[0] = "torn"
    assert told["quarantined"] == {}
    assert slot.status.told()["quarantined"] == {0: "torn"}
    slot.abandon()


def test_a_partition_that_waits_for_the_registry_is_read_again_from_where_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on = SlotLine(2)
    registry = NoRegistry(on, monkeypatch)
    slot = on.opened()
    on.noise(0, 3)
    for n in range(2):
        on.broker.append((line.INPUT, 0), b"\0\0\0\0\7" + b"later %d" % n, b"key", 1_000)
    on.noise(1, 5)
    on.fold_all(slot, [1])
    on.until(lambda: on.committed(0) == 3, slot)
    assert slot.status.waiting_for_registry == [0]
    on.clock.passes(5)
    for _ in range(20):
        slot.step()
    assert on.committed(0) == 3
    registry.away = False
    on.until(lambda: slot.status.waiting_for_registry == [], slot)
    on.fold_all(slot, [0])
    assert slot.status.dead_lettered == 2, "they are no good, but that is another matter"
    slot.close()


def test_a_partition_that_waits_for_the_registry_can_be_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    on = SlotLine(2)

    def decode(self: Any, raw: Any, *rest: Any, **names: Any) -> Any:
        if raw.partition == 1 and len(raw):
            raise RegistryUnavailable("away")
        return honest(self, raw, *rest, **names)

    honest = line.LineDecoder.decode
    monkeypatch.setattr(line.LineDecoder, "decode", decode)
    slot = on.opened()
    on.noise(1, 3)
    on.until(lambda: slot.status.waiting_for_registry == [1], slot)
    on.deal(lambda deal: deal.scaled(2) if deal else None)
    on.until(lambda: 1 not in slot.folds, slot)
    slot.step()
    assert slot.status.waiting_for_registry == []
    monkeypatch.undo()
    heir = on.opened(1)
    on.fold_all(heir, [1])
    assert heir.status.replayed == 0
    assert heir.status.missing + heir.status.rows == 3
    slot.close()
    heir.close()


def test_input_that_goes_before_it_is_read_is_quarantined() -> None:
    on = SlotLine(2)
    slot = on.opened()
    on.noise(0, 5)
    on.broker.topics[line.INPUT][0].delete_before(3)
    on.noise(1, 5)
    on.fold_all(slot, [1])
    assert slot.status.quarantined[0].startswith("offset 0 is not in the log")
    assert list(slot.folds) == [1]
    slot.close()


def test_offsets_of_an_idle_group_are_committed_again() -> None:
    on = crashed(SlotLine(2))
    slot = on.opened()
    on.broker.offsets.clear()  # they have expired
    on.clock.passes(RECOMMIT_S - 10)
    on.until(lambda: on.committed(0) == on.committed(1) == 20, slot)
    assert on.broker.offsets, "they are there again"
    slot.close()


@pytest.mark.parametrize("more", [0, 5])
def test_a_commit_that_is_never_answered_is_given_up(monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    """Also while no further record comes that would have to wait for it."""
    monkeypatch.setattr(slots, "COMMIT_WAIT_S", 0.05)
    on = SlotLine(1)
    slot = on.opened()
    monkeypatch.setattr(slot._writer, "commit", lambda *_: Future())
    on.noise(0, 5)
    on.until(lambda: slot._commit is not None, slot)
    on.noise(0, more, 5)
    with pytest.raises(ReopenError, match="transaction of sim-0: no answer"):
        on.until(lambda: False, slot)
    slot.abandon()
    after = on.opened()
    on.fold_all(after, [0])
    assert on.committed(0) == 5 + more
    after.close()


@pytest.mark.parametrize(("row_s", "later"), [(1e-3, STEP_ROWS_MIN), (4e-5, round(STEP_S / 4e-5)), (1e-6, 3_000)])
def test_of_records_that_take_long_there_are_fewer_in_a_step(
    row_s: float, later: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = SlotLine(1)
    slot = on.opened(step_rows_max=3_000, step_samples_max=3_000)
    honest = slot.hosts.judge

    def judge(works: Any, snapshot: bool) -> Any:
        on.clock.passes(row_s * sum(len(work.batch) for work in works))
        return honest(works, snapshot)

    monkeypatch.setattr(slot.hosts, "judge", judge)
    on.noise(0, STEP_ROWS_MIN + 3_000)
    rows = [rows for _ in range(20) if (rows := slot.step())]
    assert rows[:2] == [STEP_ROWS_MIN, later], "the first step finds out how long records take"
    slot.close()


@pytest.mark.parametrize(("step_s", "apart_s"), [(0.0006, INTERVAL_MIN_S), (0.006, 0.02), (0.015, 0.05), (0.06, 0.0)])
def test_steps_are_closer_where_they_take_little_time(
    step_s: float, apart_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = SlotLine(1)
    slot = on.opened(commit_interval_ms=50)
    judge, poll = slot.hosts.judge, slot._reader.poll
    waits: list[float] = []

    def slow(works: Any, snapshot: bool) -> Any:
        on.clock.passes(step_s)
        return judge(works, snapshot)

    def watched(records_max: int, wait_s: float) -> Any:
        waits.append(wait_s)
        return poll(records_max, wait_s)

    monkeypatch.setattr(slot.hosts, "judge", slow)
    monkeypatch.setattr(slot._reader, "poll", watched)
    on.noise(0, 1)
    assert [slot.step(), slot.step()] == [1, 0]
    assert waits[1] == pytest.approx(max(POLL_WAIT_MIN_S, apart_s - step_s))
    slot.close()
