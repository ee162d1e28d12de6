"""What a slot does with a partition that is not as it should be, and with brokers that say nothing: on the model of the log."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from actors import takeover
from actors.engine.fold import PartitionFold
from actors.errors import FencedError, StateError
from actors.takeover import HANDOVER_S, REPLAY_IDLE_S
from schemas.registry import RegistryUnavailable
from tests.actors.slot_line import SlotLine
from tests.simulation import line


def crashed(on: SlotLine, records: int = 20) -> SlotLine:
    """Fold some records without a snapshot and crash: whoever comes next has to replay."""
    for partition in on.pipeline.partitions:
        on.noise(partition, records)
    slot = on.opened()
    on.fold_all(slot, on.pipeline.partitions)
    slot.abandon()
    return on


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


def test_a_replay_that_stands_still_is_begun_anew() -> None:
    on = crashed(SlotLine(1))
    slot = on.slot()
    on.log.deaf = True
    honest = slot._takeover.advance

    def advance(wait_s: float) -> Any:
        if on.clock.now() > REPLAY_IDLE_S + 5:  # after it was begun anew
            on.log.deaf = False
        return honest(wait_s)

    slot._takeover.advance = advance  # type: ignore[method-assign]
    slot.open()
    on.noise(0, 5, 20)
    on.fold_all(slot, [0])
    assert slot.status.quarantined == {}
    slot.close()


def test_input_that_stays_away_though_the_broker_answers_is_quarantined() -> None:
    on = crashed(SlotLine(1))
    on.log.deaf = True
    slot = on.opened()
    assert 2 * REPLAY_IDLE_S < on.clock.now() < 2 * REPLAY_IDLE_S + 5
    assert slot.status.quarantined == {0: "replay: no record for 30 s, twice"}
    slot.abandon()


def test_a_partition_that_cannot_be_taken_is_not_claimed() -> None:
    on = crashed(SlotLine(2, slots=1))
    on.deal(lambda deal: deal.scaled(2) if deal else None)
    before = on.positions(1)[-1]
    slot = on.opened(1)
    hosts: Any = slot.hosts

    def refuse(opening: Any) -> Any:
        raise StateError("migrate raised")

    hosts.open = refuse
    on.until(lambda: bool(slot.status.quarantined), slot)
    assert on.clock.now() > HANDOVER_S
    assert hosts.dropped == [1], "what one family had opened before another refused"
    for _ in range(5):
        slot.step()
    assert on.positions(1)[-1] == before
    slot.abandon()


def test_input_that_goes_while_it_is_replayed_is_quarantined(monkeypatch: pytest.MonkeyPatch) -> None:
    on = crashed(SlotLine(1))
    slot = on.slot()
    honest = slot._takeover._take

    def take(*given: Any) -> None:
        honest(*given)
        on.broker.topics[line.INPUT][0].delete_before(10)

    slot._takeover._take = take  # type: ignore[method-assign]
    slot.open()
    assert slot.status.quarantined[0].startswith("replay: offset 0 is not in the log")
    slot.abandon()


def test_records_that_cannot_be_decoded_yet_wait_in_a_replay_too(monkeypatch: pytest.MonkeyPatch) -> None:
    on = crashed(SlotLine(1))
    honest, times = line.LineDecoder.decode, []

    def decode(self: Any, *rest: Any, **names: Any) -> Any:
        times.append(on.clock.now())
        if len(times) < 3:
            raise RegistryUnavailable("away")
        return honest(self, *rest, **names)

    monkeypatch.setattr(line.LineDecoder, "decode", decode)
    slot = on.opened()
    assert times[2] - times[0] == pytest.approx(2 * takeover.REGISTRY_RETRY_S)
    assert slot.status.replayed == 20
    slot.abandon()
    times.clear()
    on.stopped = True
    late = on.opened()
    with pytest.raises(RegistryUnavailable):
        on.until(lambda: False, late)
    late.abandon()


def test_state_that_cannot_be_decoded_yet_is_looked_at_again() -> None:
    on = crashed(SlotLine(1))
    honest, asked = on.codec.read, []

    def read(value: bytes) -> dict[str, Any]:
        if b"next_offset" in value:
            asked.append(on.clock.now())
            if len(asked) == 1:
                raise RegistryUnavailable("away")
        return honest(value)

    on.codec = replace(on.codec, read=read)
    slot = on.opened()
    assert asked[1] - asked[0] >= takeover.REGISTRY_RETRY_S
    assert list(slot.folds) == [0]
    slot.abandon()


def test_a_slot_that_is_fenced_for_is_taken_from_only_if_the_deal_is_the_same() -> None:
    on = crashed(SlotLine(2, slots=1))
    on.deal(lambda deal: deal.scaled(2) if deal else None)
    heir = on.opened(1)
    honest = heir._takeover.dealer.read

    def read() -> Any:
        on.deal(lambda deal: deal.scaled(1) if deal and deal.slots == 2 else deal)
        return honest()

    heir._takeover.dealer.read = read  # type: ignore[method-assign]
    before = on.positions(1)
    while not heir.retired:
        heir.step()
    assert on.positions(1) == before, "it was given back meanwhile: the heir has written nothing"
    heir.close()


def test_a_look_that_hangs_below_an_open_transaction_ends_in_fencing_its_owner() -> None:
    on = SlotLine(2)
    old = on.opened()
    on.noise(1, 5)
    on.fold_all(old, [1])
    stuck = on.log.writer(on.pipeline.transactional_id(0))  # as one that dies in the middle of a transaction
    stuck.open()
    stuck._client.begin()
    stuck._client.produce(line.record(1, b"x")._replace(topic=line.TOPICS.state))
    on.deal(lambda deal: deal.scaled(2) if deal else None)
    heir = on.opened(1)
    on.until(lambda: 1 in heir.folds, heir)
    on.noise(1, 5, 5)
    on.fold_all(heir, [1])
    heir.close()
    with pytest.raises(FencedError):
        stuck._client.commit()
