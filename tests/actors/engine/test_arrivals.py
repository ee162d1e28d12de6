"""What the fold sets aside, by plain calls: the oracle's answer for any log and cuts, through crash, replay and new settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine.arrivals import Arrivals
from actors.engine.fold import PartitionFold, Topics
from actors.engine.position import Position
from actors.errors import ConfigError
from schemas.charts import unpack
from tests.actors.engine.world import Words, World, decode_json, raw_of
from tests.naive.arrivals import Row, fates

ARRIVALS = Arrivals(dedupe_window=4, allowed_lateness_ms=20, max_ahead_ms=60)
SETTINGS = st.builds(
    Arrivals, st.none() | st.integers(1, 6), st.none() | st.integers(0, 40), st.none() | st.integers(0, 80)
)
BAD = "bad"


def word(series: str, value: str, clock: int, event_id: str) -> str:
    return f"{series} {value} {1_000 + clock} {event_id}".rstrip()


WORDS = st.lists(
    st.builds(
        word,
        st.sampled_from("ab"),
        st.sampled_from(["1", "11", "nan"]),
        st.integers(-60, 120),
        st.sampled_from(["", *"uvwxyz"]),
    )
    | st.just(BAD),
    min_size=1,
    max_size=30,
)  # the Kafka timestamp of offset i is 1,000 + i


def rows_of(words: list[str]) -> list[tuple[int, Row]]:
    """Return the rows that can be decoded, with their offsets."""
    rows = []
    for offset, said in enumerate(words):
        if said != BAD:
            _, _, time, *event_id = said.split()
            rows.append((offset, Row(*event_id or [""], int(time), 1_000 + offset)))
    return rows


def expected(words: list[str], arrivals: Arrivals) -> dict[int, str]:
    offsets, rows = zip(*rows_of(words), strict=True) if rows_of(words) else ((), ())
    return dict(zip(offsets, fates(rows, arrivals)[0], strict=True))


def set_aside(world: World) -> dict[int, str]:
    """Return what stands in the side output, each offset once."""
    said: dict[int, str] = {}
    for record in world.log:
        if record.topic == "late":
            letter = decode_json(record.value)
            assert letter["offset"] not in said
            assert record.key == f"fab:0:{letter['offset']}".encode()
            assert record.partition == 0
            said[letter["offset"]] = letter["reason"]
    return said


def judged(world: World) -> list[int]:
    return [
        offset for record in world.log if record.topic == "charts" for offset in unpack(record.value).offset.tolist()
    ]


def dead(world: World) -> list[int]:
    return [decode_json(record.value)["offset"] for record in world.log if record.topic == "dead"]


def gate(world: World) -> tuple[Any, ...]:
    inside = world.fold._gate
    return inside.settings, inside._watermark, inside._count, inside._newest(10).tolist()


def crash(world: World, words: list[str], arrivals: Arrivals | None = None) -> None:
    """Forget all but the log; open it, perhaps with other settings, and fold again what was committed."""
    target = world.image().position
    world.arrivals = arrivals or world.arrivals
    world.open()
    if target is not None:
        world.replay(words, target, at_most=2)
        assert world.fold.position.next_offset == target.next_offset


def lose_a_step(world: World, words: list[str]) -> None:
    """Take a step whose transaction is not committed."""
    kept = list(world.log)
    world.step(words, snapshot=True)
    world.log = kept


@settings(max_examples=25)
@given(
    words=WORDS,
    arrivals=SETTINGS,
    cuts=st.lists(st.integers(1, 6), max_size=30),
    snapshot_every=st.integers(1, 5),
    crash_at=st.integers(0, 12),
    loses=st.booleans(),
)
def test_cuts_snapshots_and_crashes_change_nothing(
    words: list[str], arrivals: Arrivals, cuts: list[int], snapshot_every: int, crash_at: int, loses: bool
) -> None:
    whole = World(arrivals=arrivals)
    whole.step(words)
    world = World(arrivals=arrivals)
    sizes = iter([*cuts, *[3] * 30])
    at = step = 0
    while at < len(words):
        if step == crash_at:
            if loses:
                lose_a_step(world, words[at : at + 4])
            crash(world, words)
        size = next(sizes)
        world.step(words[at : at + size], snapshot=step % snapshot_every == 0)
        at, step = at + size, step + 1
    fate = expected(words, arrivals)
    assert set_aside(world) == set_aside(whole) == {offset: why for offset, why in fate.items() if why}
    assert judged(world) == judged(whole) == [offset for offset, why in fate.items() if not why]
    assert sorted([*judged(world), *dead(world), *set_aside(world)]) == list(range(len(words)))
    assert world.state() == whole.state()
    assert world.alerts() == whole.alerts()
    assert gate(world) == gate(whole)


@settings(max_examples=20)
@given(
    words=WORDS,
    before=SETTINGS,
    after=SETTINGS,
    change_at=st.integers(0, 6),
    crash_at=st.integers(0, 9),
    snapshot_every=st.integers(1, 4),
)
def test_settings_that_change_are_replayed_as_they_were(
    words: list[str], before: Arrivals, after: Arrivals, change_at: int, crash_at: int, snapshot_every: int
) -> None:
    """Two worlds take the same steps, and new settings at the same one; one of them crashes once more."""
    worlds = World(arrivals=before), World(arrivals=before)
    for step, at in enumerate(range(0, len(words), 3)):
        for crashes, world in zip((False, True), worlds, strict=True):
            if step == change_at:
                crash(world, words, after)
            if crashes and step == crash_at:
                crash(world, words)
            world.step(words[at : at + 3], snapshot=step % snapshot_every == 0)
    calm, crashed = worlds
    assert gate(crashed) == gate(calm)
    assert set_aside(crashed) == set_aside(calm)
    assert crashed.state() == calm.state()
    assert [record for record in crashed.log if record.topic != "state"] == [
        record for record in calm.log if record.topic != "state"
    ]


def test_new_settings_hold_at_once_after_a_clean_stop_and_else_from_a_snapshot_on() -> None:
    twice = [word("a", "1", 0, "u")] * 2
    world = World()
    world.step(twice, snapshot=True)
    crash(world, twice, ARRIVALS)
    world.step(twice)
    assert set_aside(world) == {3: "duplicate"}
    words = twice * 2
    crash(world, words, Arrivals())  # the snapshot is older than the position
    for _ in range(2):
        words += twice
        world.step(twice, snapshot=True)
    assert set_aside(world) == {3: "duplicate", 4: "duplicate", 5: "duplicate"}


def test_a_step_before_the_first_snapshot_is_replayed_with_its_settings() -> None:
    words = [word("a", "11", 0, "u")] * 2
    world = World(arrivals=ARRIVALS)
    world.step(words)
    crash(world, words, Arrivals())
    assert world.fold._gate.settings == ARRIVALS
    assert world.fold._gate._count == 1


def test_the_watermark_is_that_of_the_rows_folded() -> None:
    world = World(arrivals=ARRIVALS)
    assert world.fold.watermark_ms is None
    world.step([word("a", "1", 0, "u"), word("a", "1", 40, "u"), word("a", "1", -30, "v"), word("a", "1", 500, "w")])
    assert (world.fold.watermark_ms, world.fold.position.event_time_ms) == (1_000, 1_000)
    assert set_aside(world) == {1: "duplicate", 2: "late", 3: "ahead"}
    world.step([word("a", "nan", 50, "x")])
    assert (world.fold.watermark_ms, world.fold.position.event_time_ms) == (1_050, 1_050)


def test_a_dead_letter_and_what_is_set_aside_stand_beside_the_rest() -> None:
    world = World(arrivals=ARRIVALS)
    records = world.step([word("a", "1", 0, "u"), BAD, word("a", "2", 0, "u")])
    assert [record.topic for record in records] == ["state", "state", "charts", "dead", "late"]
    letter = decode_json(records[-1].value)
    assert (letter["reason"], letter["source"], letter["value"]) == ("duplicate", "quality", b"a 2 1000 u")


def test_nothing_is_written_where_nothing_is_set_aside() -> None:
    world = World()
    world.step([word("a", "1", 0, "u")] * 3, snapshot=True)
    assert judged(world) == [0, 1, 2]
    assert not [record for record in world.log if record.topic == "late" or b"arrivals" in record.key]


def test_a_side_output_needs_a_topic() -> None:
    topics = Topics("charts", "alerts", "dead", "state")
    with pytest.raises(ConfigError, match="no topic"):
        PartitionFold("quality", Position("fab", 0, 0, 0, 0, 0, "1"), (), Words(), {}, topics, arrivals=ARRIVALS)


def test_what_raises_while_it_is_decoded_has_advanced_nothing() -> None:
    class Away(Words):
        def decode(self, *args: Any, **kwargs: Any) -> Any:
            raise ConnectionError

    words = [word("a", "1", 0, "u")]
    world, undisturbed = World(arrivals=ARRIVALS), World(arrivals=ARRIVALS)
    decoder, world.fold.decoder = world.fold.decoder, Away()
    with pytest.raises(ConnectionError):
        world.fold.begin(raw_of(words))
    world.fold.decoder = decoder
    assert world.step(words) == undisturbed.step(words)
    assert gate(world) == gate(undisturbed)
    assert np.array_equal(world.fold._gate._index, undisturbed.fold._gate._index)
