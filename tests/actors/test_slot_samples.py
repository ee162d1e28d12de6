"""Steps of records with many samples: bounded in rows, in order, each record once. On the model of the log."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from actors.engine.fold import PartitionFold, Step
from actors.slot import Slot
from actors.step_size import STEP_ROWS_MIN, STEP_S
from schemas.charts import ChartBlock, unpack
from tests.actors.slot_line import NoRegistry, SlotLine, crashed
from tests.simulation import line
from tests.simulation.broker import visible

ROWS_MAX = 10  # of a step, as tests/simulation/line.py has it


def many(on: SlotLine, partition: int, records: int, samples: int, first: int = 0) -> None:
    """Write so many records of so many samples."""
    values = ",".join(["1"] * samples)
    on.write(partition, *(f"a {values} {first + n} {1_000 + 100 * n}" for n in range(records)))


def blocks(on: SlotLine, partition: int) -> list[ChartBlock]:
    return [unpack(entry.value or b"") for entry in visible(on.broker.topics[line.TOPICS.charts])[partition]]


def places(on: SlotLine, partition: int) -> list[tuple[int, int]]:
    """Return offset and sample of every row put out, in their order."""
    found = []
    for block in blocks(on, partition):
        samples = [0] * len(block) if block.sample is None else block.sample.tolist()
        found += list(zip(block.offset.tolist(), samples, strict=True))
    return found


def rows_by_step(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many rows each step of the slot judges."""
    rows: list[int] = []
    honest = slot.hosts.judge

    def judge(works: Any, snapshot: bool) -> Any:
        rows.append(sum(len(work.batch) for work in works))
        return honest(works, snapshot)

    monkeypatch.setattr(slot.hosts, "judge", judge)
    return rows


@pytest.mark.parametrize(("samples", "records"), [(1, 30), (3, 20), (7, 9), (10, 5), (25, 4)])
def test_a_step_is_bounded_in_rows_and_every_sample_is_judged_once(
    samples: int, records: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = SlotLine(2)
    for partition in (0, 1):
        many(on, partition, records, samples)
    slot = on.opened()
    rows = rows_by_step(slot, monkeypatch)
    on.fold_all(slot, [0, 1])
    assert max(rows) <= max(ROWS_MAX, samples), "a record is never cut, and the last one begins where there is room"
    for partition in (0, 1):
        assert places(on, partition) == [(offset, sample) for offset in range(records) for sample in range(samples)]
        ends = [(block.first_offset, block.next_offset) for block in blocks(on, partition)]
        assert [first for first, _ in ends] == [0, *(end for _, end in ends[:-1])]
    assert (slot.status.rows, slot.status.records) == (2 * records * samples, 2 * records)
    slot.close()


def test_what_waits_for_the_next_step_does_not_keep_other_partitions_waiting_for_all_of_it() -> None:
    on = SlotLine(2)
    many(on, 0, 8, ROWS_MAX)
    slot = on.opened()
    order: list[int] = []
    honest = slot.hosts.judge

    def judge(works: Any, snapshot: bool) -> Any:
        order.extend(work.partition for work in works if len(work.batch))
        return honest(works, snapshot)

    slot.hosts.judge = judge  # type: ignore[method-assign]
    on.noise(1, 4)
    slot._intake.held = {partition: _raw(on, partition) for partition in (0, 1)}
    slot._reader.remove([0, 1])
    on.until(lambda: on.committed(0) == 8 and on.committed(1) == 4, slot)
    assert order == [0, 1, *[0] * 7]
    slot.close()


def _raw(on: SlotLine, partition: int) -> Any:
    reader = on.log.reader("looker", line.INPUT)
    reader.assign({partition: 0})
    [raw] = reader.poll(1_000, 0.0).batches
    return raw


def test_as_many_records_are_asked_for_as_go_into_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    on = SlotLine(1)
    many(on, 0, 40, 5)
    slot = on.opened()
    asked: list[int] = []
    honest = slot._reader.poll

    def poll(rows_max: int, wait_s: float) -> Any:
        asked.append(rows_max)
        return honest(rows_max, wait_s)

    monkeypatch.setattr(slot._reader, "poll", poll)
    on.fold_all(slot, [0])
    assert asked[:3] == [8, 2, 2]
    on.noise(0, 30, 100)
    on.fold_all(slot, [0])
    slot.step()
    assert asked[-1] == 8, "single measurements are asked for as ever"
    slot.close()


def test_of_samples_that_take_long_there_are_fewer_in_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    on = SlotLine(1)
    slot = on.opened(step_samples_max=16_000)
    honest = slot.hosts.judge

    def judge(works: Any, snapshot: bool) -> Any:
        on.clock.passes(0.04 / 1_000 * sum(len(work.batch) for work in works))
        return honest(works, snapshot)

    monkeypatch.setattr(slot.hosts, "judge", judge)
    many(on, 0, 30, 500)
    rows = []
    while slot.status.rows < 15_000:
        before = slot.status.rows
        slot.step()
        rows.append(slot.status.rows - before)
    assert rows[0] == STEP_ROWS_MIN, "the first step finds out how long they take"
    assert max(rows) == STEP_S / 0.04 * 1_000
    slot.close()


def test_what_was_not_folded_before_the_end_is_folded_by_the_next_owner() -> None:
    on = SlotLine(1)
    many(on, 0, 8, 6)
    slot = on.opened()
    slot.step()
    assert slot._intake.held
    slot.close()
    assert on.committed(0) == 1
    after = on.opened()
    on.fold_all(after, [0])
    assert places(on, 0) == [(offset, sample) for offset in range(8) for sample in range(6)]
    after.close()


def test_a_partition_that_is_handed_over_leaves_nothing_behind() -> None:
    on = SlotLine(2)
    many(on, 1, 8, 6)
    slot = on.opened()
    on.until(lambda: 1 in slot._intake.held, slot)
    on.deal(lambda deal: deal.scaled(2) if deal else None)
    on.until(lambda: 1 not in slot.folds, slot)
    assert 1 not in slot._intake.held
    heir = on.opened(1)
    on.fold_all(heir, [1])
    assert places(on, 1) == [(offset, sample) for offset in range(8) for sample in range(6)]
    slot.close()
    heir.close()


def test_a_replay_is_bounded_in_rows_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    on = SlotLine(1)
    many(on, 0, 12, 4)
    slot = on.opened()
    on.fold_all(slot, [0])
    slot.abandon()
    rows: list[int] = []
    honest = PartitionFold.begin

    def begin(self: PartitionFold, *arguments: Any, **named: Any) -> Step:
        step = honest(self, *arguments, **named)
        rows.append(len(step.work.batch))
        return step

    monkeypatch.setattr(PartitionFold, "begin", begin)
    heir = on.opened()
    assert (sum(rows), max(rows), heir.status.replayed) == (48, 8, 12)
    many(on, 0, 3, 2, 12)
    on.fold_all(heir, [0])
    assert Counter(places(on, 0)).most_common(1)[0][1] == 1
    heir.close()


def test_records_before_one_of_an_unknown_schema_are_folded_once_however_many_rows_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on = SlotLine(1)
    registry = NoRegistry(on, monkeypatch)
    many(on, 0, 5, 6)
    on.broker.append((line.INPUT, 0), b"\0\0\0\0\7later", b"key", 1_000)
    slot = on.opened()
    on.until(lambda: slot.status.waiting_for_registry == [0], slot)
    on.until(lambda: on.committed(0) == 5, slot)
    registry.away = False
    on.until(lambda: slot.status.waiting_for_registry == [], slot)
    many(on, 0, 2, 6, 10)
    on.fold_all(slot, [0])
    wanted = [(offset, sample) for offset in (0, 1, 2, 3, 4, 6, 7) for sample in range(6)]
    assert (places(on, 0), slot.status.dead_lettered) == (wanted, 1)
    slot.close()


def test_an_owner_that_is_gone_in_the_middle_leaves_no_sample_twice() -> None:
    on = crashed(SlotLine(1), 3)
    many(on, 0, 9, 7, 50)
    slot = on.opened()
    for _ in range(3):
        slot.step()
    slot.abandon()
    heir = on.opened()
    on.fold_all(heir, [0])
    arrays = [(offset, sample) for offset in range(3, 12) for sample in range(7)]
    assert places(on, 0) == [(0, 0), (1, 0), (2, 0), *arrays]
    heir.close()
