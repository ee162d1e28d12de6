"""What the process of an owner is set to."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from actors.collecting import COLLECT_OBJECTS, collect_seldom


@pytest.fixture
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def _collections() -> int:
    return sum(generation["collections"] for generation in gc.get_stats())


@pytest.mark.slow
@pytest.mark.usefixtures("collector")
def test_the_objects_of_a_step_do_not_start_the_garbage_collector() -> None:
    gc.collect()
    collect_seldom()
    before = _collections()
    step = [[] for _ in range(COLLECT_OBJECTS // 2)]  # type: list[list[int]]
    assert _collections() == before
    step += [[] for _ in range(COLLECT_OBJECTS)]
    assert _collections() > before, "but it is not off"
