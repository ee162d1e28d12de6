"""A snapshot over several transactions: whenever the owner dies, what is read back is one snapshot, whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from actors.engine import state
from actors.engine.position import PAGE_KEY, read_image
from actors.errors import StateError
from tests.actors.engine.test_migration import Doubled
from tests.actors.engine.world import Above, Record, World, decode_json

ROWS_A_PAGE = 4
PAGE = ROWS_A_PAGE * 16  # bytes: Above has two numbers a series


@pytest.fixture(autouse=True, scope="module")
def small_pages() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "PAGE_BYTES", PAGE)
        yield


def words(*series: int, value: int = 11) -> list[str]:
    return [f"s{number} {value}" for number in series]


def pages_in(records: list[Record]) -> list[tuple[bytes, bool]]:
    """Return the page records of detectors: key, and whether there is a value."""
    return [(r.key, r.value is not None) for r in records if r.key.startswith(PAGE_KEY) and b"alerts/" not in r.key]


def drained(world: World, bytes_max: int = 1) -> list[Record]:
    """Take empty steps until the snapshot is named; return all their records."""
    records: list[Record] = []
    while world.fold.snapshot.under_way:
        records += world.step([], bytes_max=bytes_max)
    return records


def state_after(log: list[str]) -> dict[str, list[tuple[str, bytes]]]:
    calm = World()
    calm.step(log)
    return calm.state()


def test_what_fits_one_transaction_is_named_in_it_and_overwrites() -> None:
    world = World()
    first = world.step(words(*range(6)), snapshot=True)
    again = world.step(words(*range(6)), snapshot=True)
    assert pages_in(first) == pages_in(again)
    assert [key.rpartition(b"|")[2] for key, _ in pages_in(first)] == [b"0", b"1"]
    assert world.fold.position.snapshot_seq == 2


def test_what_does_not_fit_is_named_when_the_last_of_it_is_there() -> None:
    world = World()
    world.step(words(*range(12)), snapshot=True)
    named = world.fold.position
    world.step(words(*range(12)), snapshot=True, bytes_max=1)
    assert world.fold.snapshot.under_way
    assert world.fold.position.snapshot_seq == named.snapshot_seq
    world.step(words(1, 2, 3), bytes_max=1)
    rest = drained(world)
    assert (world.fold.position.snapshot_seq, world.fold.position.snapshot_offset) == (2, 24)
    assert world.fold.position.seq > 2
    gone = {key for key, there in pages_in(rest) if not there}
    first = {key for key, _ in pages_in(world.log) if key.count(b"|") == 3}
    assert gone == first
    assert {key + b"|2" for key in first} == {key for key, _ in pages_in(world.log)} - first


def test_pages_change_places_and_none_is_left_behind() -> None:
    world = World()
    for _ in range(4):
        world.step(words(*range(12)), snapshot=True, bytes_max=1)
        drained(world)
        image = world.image()
        assert len([page for page in image.pages if page.detector.startswith("test.")]) == 3
        assert image.stale == ()


def test_a_transaction_holds_no_more_than_it_may_and_a_page() -> None:
    world = World()
    world.step(words(*range(40)), snapshot=True, bytes_max=0)
    taken = world.fold.snapshot.bytes_taken
    sizes = []
    while world.fold.snapshot.under_way:
        waiting = world.fold.snapshot.bytes_waiting
        world.step([], bytes_max=2 * PAGE)
        sizes.append(waiting - world.fold.snapshot.bytes_waiting)
    assert sum(sizes) == taken
    assert all(size <= 4 * PAGE for size in sizes)
    assert sizes[0] == 0 < sizes[1]  # the dictionary's page goes first
    assert len(sizes) > 4


def test_with_no_room_nothing_is_written_and_nothing_lost() -> None:
    world = World()
    assert pages_in(world.step(words(1), snapshot=True, bytes_max=0)) == []
    assert world.fold.snapshot.bytes_waiting > 0
    drained(world, bytes_max=10_000)
    assert world.fold.position.snapshot_seq == 1


def test_a_snapshot_given_up_on_its_way_is_not_read_and_is_deleted() -> None:
    world = World()
    log = words(*range(12))
    world.step(log, snapshot=True)
    world.step(log, snapshot=True, bytes_max=1)
    target = world.fold.position
    world.open()
    abandoned = world.image().stale
    assert len(abandoned) == 1
    world.replay(log + log, target)
    assert world.state() == state_after(log + log)
    records = world.step([], snapshot=True)
    assert (abandoned[0], False) in pages_in(records)
    assert world.image().stale == ()


def test_a_page_newer_than_its_snapshot_that_is_not_apart_is_an_error() -> None:
    world = World()
    world.step(words(1), snapshot=True)
    torn = [r for r in World.step(world, words(1), snapshot=True) if r.key.startswith(PAGE_KEY)]
    entries = [(r.key, r.value) for r in world.log[:-4] + torn if r.topic == "state" and r not in world.log[-4:]]
    with pytest.raises(StateError, match="is of step 2; the position says"):
        read_image(entries + [(r.key, r.value) for r in torn], decode_json)


def test_pages_of_another_version_are_deleted_with_the_snapshot_that_replaces_them() -> None:
    world = World()
    world.step(words(*range(8)), snapshot=True)
    old = [key for key, _ in pages_in(world.log)]
    world.detectors = (Doubled(),)
    world.open()
    assert not [key for key, there in pages_in(world.step(words(1))) if not there]
    records = world.step(words(1), snapshot=True)
    assert sorted(key for key, there in pages_in(records) if not there) == sorted(old)
    assert {page.detector for page in world.image().pages if "alerts/" not in page.detector} == {
        judge.identity for judge in world.family._partitions[0].judges
    }


def test_pages_of_the_fold_itself_and_of_a_disabled_detector_stay() -> None:
    from actors.engine.family import configured

    wanted = configured({"test": (Above(),)})
    world = World()
    world.step(words(1), snapshot=True)
    page = next(page for page in world.image().pages)
    assert wanted(page)
    assert wanted(page._replace(family="engine", detector="arrivals@1"))
    assert not wanted(page._replace(layout="other"))


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_the_state_is_that_of_the_log(seed: int) -> None:
    random = np.random.default_rng(seed)
    world, log = World(), []
    for number in range(25):
        if random.random() < 0.3:  # the owner dies, and another opens
            target = world.fold.position
            world.open()
            world.replay(log, target)
            world.fold.position = target
            continue
        new = [f"s{code} {8 + (number + code) % 5}" for code in random.integers(0, 20, 5)]
        log += new
        world.step(new, snapshot=random.random() < 0.4, bytes_max=int(random.choice([0, 1, PAGE, 10**6])))
    assert world.state() == state_after(log)
    drained(world, bytes_max=10**6)
    world.open()
    world.replay(log, world.image().position or world.fold.position)
    assert world.state() == state_after(log)
