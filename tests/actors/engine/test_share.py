"""A share of the series: it and the others are together all that a whole pipeline says, and nothing is in both."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine.judge import Assignment, assigned
from actors.engine.share import EVERY_SERIES, PLACES, Share, place_of
from actors.errors import ConfigError
from schemas.charts import unpack
from tests.actors.engine.world import Above, Fragile, World

words = st.lists(
    st.tuples(st.sampled_from([f"s{i}" for i in range(9)]), st.sampled_from(["9", "11", "nan", "11,9", "x"])),
    max_size=40,
).map(lambda rows: [" ".join(row) for row in rows])


def run(share: Share, said: Sequence[str], cuts: Sequence[int]) -> World:
    world = World((Assignment(Above(), share=share), Assignment(Fragile(), label="other", share=share)))
    edges = [0, *sorted(min(cut, len(said)) for cut in cuts), len(said)]
    for first, end in pairwise(edges):
        world.step(said[first:end])
    return world


def rows(world: World, topic: str) -> dict[tuple[int, int], tuple[Any, ...]]:
    """Every row of a topic of charts by offset and sample, all that is said of it; each once."""
    found: dict[tuple[int, int], tuple[Any, ...]] = {}
    at = 0
    for record in world.log:
        if record.topic != topic:
            continue
        block = unpack(record.value or b"")
        assert block.first_offset == at
        at = block.next_offset
        samples = np.zeros(len(block), int) if block.sample is None else block.sample
        for i, place in enumerate(zip(block.offset.tolist(), samples.tolist(), strict=True)):
            assert place not in found
            said = [(name, v.statistic[i].tobytes(), v.signal[i], v.valid[i]) for name, v in block.detectors.items()]
            found[place] = (block.series_keys[block.series[i]], block.value[i].tobytes(), said)
    return found


def alerts(world: World, topic: str) -> list[bytes]:
    return sorted(record.value or b"" for record in world.log if record.topic == topic)


@pytest.mark.slow
@settings(max_examples=60)
@given(words, st.lists(st.integers(0, 40), max_size=4), st.integers(0, PLACES), st.integers(0, PLACES))
def test_a_share_and_the_rest_are_the_whole(said: list[str], cuts: list[int], low: int, high: int) -> None:
    share = Share(min(low, high), max(low, high))
    whole, parted = run(EVERY_SERIES, said, cuts), run(share, said, cuts)
    mine, others = rows(parted, "charts"), rows(parted, "rest.charts")
    assert mine.keys().isdisjoint(others)
    assert mine | others == rows(whole, "charts")
    assert all(share.has(said[0]) for said in mine.values())
    assert not any(share.has(said[0]) for said in others.values()) or share.whole
    assert sorted(alerts(parted, "alerts") + alerts(parted, "rest.alerts")) == alerts(whole, "alerts")
    assert parted.state() == whole.state()  # all series are judged, so that a promotion is not cold


def test_two_shares_that_meet_have_every_series_once() -> None:
    keys = [f"E1|A|R|10|c{i}" for i in range(2_000)]
    canary, others = Share(0, 1_000), Share(1_000, PLACES)
    assert (canary.of(keys) ^ others.of(keys)).all()
    assert 150 < canary.of(keys).sum() < 250  # a tenth
    assert {place_of(key) for key in keys} <= set(range(PLACES))


def test_a_share_keeps_its_series_when_it_grows() -> None:
    keys = [f"c{i}" for i in range(500)]
    few, more = Share(0, 500).of(keys), Share(0, 2_500).of(keys)
    assert more[few].all()
    assert more.sum() > few.sum()


def test_a_family_speaks_of_one_share() -> None:
    with pytest.raises(ConfigError, match="same share"):
        assigned((Assignment(Above(), share=Share(0, 10)), Assignment(Fragile())))
