"""How a slot comes to its partitions where something is in the way: on the model of the log."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from actors import takeover
from actors.deal import Dealer, DealFollower
from actors.engine.family import Work
from actors.errors import FencedError, StateError, SupersededError
from actors.slot import Slot
from actors.takeover import HANDOVER_S, REPLAY_IDLE_S
from schemas.registry import RegistryUnavailable
from tests.actors.slot_line import SlotLine, before_each_advance, crashed
from tests.simulation import line


def test_a_replay_that_stands_still_is_begun_anew() -> None:
    on = crashed(SlotLine(1))
    slot = on.slot()
    on.log.deaf = True

    def act() -> None:
        if on.clock.now() > REPLAY_IDLE_S + 5:  # after it was begun anew
            on.log.deaf = False

    before_each_advance(slot, act)
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


def test_what_arrives_no_more_is_not_told_of() -> None:
    on = SlotLine(3, slots=2)
    heir = on.opened(1)
    on.deal(
        lambda deal: deal._replace(number=2, shares=(deal.shares[0].moved(1, 2), *deal.shares[1:])) if deal else None
    )
    on.until(lambda: 0 in heir.status.arriving, heir)
    on.deal(
        lambda deal: deal._replace(number=3, shares=(deal.shares[0].moved(0, 3), *deal.shares[1:])) if deal else None
    )
    on.until(lambda: heir.status.deal == 3, heir)
    assert heir.status.arriving == {}, "else whoever scales waits for ever"
    heir.close()


def test_a_partition_that_is_dealt_away_in_the_middle_of_its_replay_is_dropped() -> None:
    on = crashed(SlotLine(2))
    on.stopped = True  # so that opening does not wait for the replay
    slot = on.opened()
    on.log.deaf = True
    on.until(lambda: all("replays" in text for text in slot.status.arriving.values()), slot)
    assert sorted(slot.status.arriving) == [0, 1]
    on.deal(lambda deal: deal.scaled(2) if deal else None)
    slot.step()
    assert sorted(slot.status.arriving) == [0]
    hosts: Any = slot.hosts
    assert hosts.dropped == [1]
    on.log.deaf = False
    on.until(lambda: 0 in slot.folds, slot)
    assert on.positions(1)[-1]["slot"] == 0
    heir = on.opened(1)
    on.noise(1, 1, 20)
    on.fold_all(heir, [1])
    heir.close()
    slot.abandon()


def test_a_deal_is_followed_while_the_slot_still_opens() -> None:
    on = crashed(SlotLine(2))
    slot = on.slot()

    def act() -> None:
        if on.clock.now() > 1.0 and on.log.deaf:
            on.deal(lambda deal: deal.scaled(2) if deal else None)
            on.log.deaf = False

    before_each_advance(slot, act)
    on.log.deaf = True
    slot.open()
    assert sorted(slot.folds) == [0]
    slot.abandon()


def test_a_replay_without_an_end_is_left_by_a_slot_that_is_superseded() -> None:
    on = crashed(SlotLine(2))
    slot = on.slot()
    on.log.deaf = True

    def act() -> None:
        if 1.0 < on.clock.now() < 1.5:
            on.deal(lambda deal: deal.renewed(0) if deal else None)

    before_each_advance(slot, act)
    with pytest.raises(SupersededError):
        slot.open()
    assert on.clock.now() < REPLAY_IDLE_S
    slot.abandon()


def test_a_look_that_is_under_way_is_not_waited_for() -> None:
    on = crashed(SlotLine(2))
    on.stopped = True
    slot = on.slot()
    looks: list[tuple[Future[Any], Any]] = []

    def later(work: Any) -> Future[Any]:
        if work == slot.hosts.reset:  # the families are there; what is asked next is the look
            return at_once(work)
        looks.append((Future(), work))
        return looks[-1][0]

    at_once = on.log.background
    on.log.background = later  # type: ignore[assignment, method-assign]
    slot.open()
    for _ in range(3):
        assert slot._takeover.advance(0.0) == []
    assert len(looks) == 1
    looks[0][0].set_result(looks[0][1]())
    for _ in range(20):
        slot.step()
    assert sorted(slot.folds) == [0, 1]
    slot.close()


def test_a_dealer_with_a_follower_changes_what_others_have_dealt_meanwhile() -> None:
    on = SlotLine(2)
    follower = DealFollower(on.log, line.NAME, line.TOPICS.deals, on.codec.read)
    follower.catch_up()
    arguments = line.TOPICS.deals, on.codec.encoders["deal"], on.codec.read, follower
    dealer = Dealer(on.log, line.NAME, *arguments)
    on.deal(lambda deal: deal.renewed(0) if deal else None)
    after = dealer.change(lambda deal: deal.scaled(2) if deal else None)
    assert after is not None
    assert (after.number, after.slots, after.incarnations[0]) == (3, 2, 2)
    assert follower.poll() == after == follower.deal


def test_state_that_does_not_change_is_not_read_again_while_its_holder_keeps_it() -> None:
    on = crashed(SlotLine(2, slots=1))
    on.deal(lambda deal: deal.scaled(2) if deal else None)
    honest, reads = on.log.read_to_end, []

    def read(group: str, topic: str, *rest: Any, **names: Any) -> Any:
        if topic == on.pipeline.topics.state:
            reads.append(on.clock.now())
        return honest(group, topic, *rest, **names)

    on.log.read_to_end = read  # type: ignore[method-assign]
    heir = on.opened(1)
    on.until(lambda: on.clock.now() > HANDOVER_S / 2, heir)
    assert len(reads) == 1
    on.until(lambda: 1 in heir.folds, heir)
    assert len(reads) < 5, "once it was fenced, once more to be sure, and what it takes to be the same twice"
    heir.close()


def test_a_slot_without_a_deal_or_with_another_incarnation_does_not_open() -> None:
    on = SlotLine(1)
    on.deal(lambda deal: deal.renewed(0) if deal else None)
    for incarnation in (1, 3):
        late = on.slot(incarnation=incarnation)
        with pytest.raises(SupersededError):
            late.open()
        late.abandon()
    current = on.opened(incarnation=2)
    on.noise(0, 3)
    on.fold_all(current, [0])
    on.deal(lambda deal: deal.renewed(0) if deal else None)
    with pytest.raises(SupersededError):
        on.until(lambda: False, current)
    current.abandon()


ROW_S = 0.01


def slow(slot: Slot) -> Slot:
    """Let a slot take so long for every row that it judges."""
    hosts: Any = slot.hosts
    honest = hosts.judge

    def judge(works: Sequence[Work], snapshot: bool) -> Any:
        slot.around.clock.passes(ROW_S * sum(len(work.batch) for work in works))
        return honest(works, snapshot)

    hosts.judge = judge
    return slot


def test_what_was_folded_again_counts_for_the_next_replay_until_there_is_a_snapshot() -> None:
    on = crashed(SlotLine(2))  # 20 rows of each partition
    for _ in range(3):
        slot = slow(on.slot())
        slot.open()
        assert slot.status.replayed == 40
        assert slot.status.replay_worst_s == pytest.approx(40 * ROW_S), "also before a record comes"
        slot.abandon()
    on.noise(0, 10, 20)
    slot = slow(on.slot(snapshot_interval_ms=2_000))
    slot.open()
    on.fold_all(slot, [0])
    assert slot._pacer.rows_since == 50
    assert slot.status.replay_worst_s >= 50 * ROW_S
    on.until(lambda: all(fold.position.snapshot_seq for fold in slot.folds.values()), slot)
    slot.abandon()
    after = slow(on.slot())
    after.open()
    assert (after.status.replayed, after.status.replay_worst_s) == (0, 0.0)
    after.close()


def test_a_partition_that_comes_later_brings_its_rows() -> None:
    on = crashed(SlotLine(2))
    on.deal(lambda deal: deal.scaled(2) if deal else None)
    heir = slow(on.opened(1))
    assert heir.status.replay_worst_s == 0.0
    on.until(lambda: 1 in heir.folds, heir)
    assert heir.status.replayed == 20
    assert heir.status.replay_worst_s == pytest.approx(20 * ROW_S)
    heir.close()
