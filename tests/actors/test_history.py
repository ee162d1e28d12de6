"""Past rows of a series, found backwards from the end of the topic, on the real broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from actors.errors import ConfigError
from actors.kafka.history import CLOCK_SLACK_MS, Bound, HistoryReader
from models.limit_versions import ChangeRefused
from tests.integration.line import TestLine, series_of

if TYPE_CHECKING:
    from cluster.local import Endpoints

S0, S1, OLD = series_of("s0"), series_of("s1"), series_of("old")
FIRST_MS = 1_700_000_000_000  # of the test measurements


@pytest.fixture(scope="module")
def line(stack: Endpoints) -> TestLine:
    """Partition 0: two rows of `old`, then 60 rows of s0 and s1 in turn. Partition 1: 30 rows of s2."""
    made = TestLine(stack)
    made.write(0, [made.measurement("old", 1.0, n) for n in range(2)])
    made.write(0, [made.measurement(f"s{n % 2}", None if n == 41 else float(n), n) for n in range(60)])
    made.write(1, [made.measurement("s2", float(n), n) for n in range(30)])
    return made


def reader(line: TestLine, **bounds: int) -> HistoryReader:
    return HistoryReader(line.cluster, "t-history", line.input, line.registry.schema, **bounds)


@pytest.mark.parametrize("window", [1, 7, 1000])
def test_the_newest_rows_are_found_whatever_the_window(line: TestLine, window: int) -> None:
    found = reader(line, window=window).rows(S1, partition=None, rows=11)
    assert (found.series, found.partition, len(found)) == (S1, 0, 11)
    np.testing.assert_array_equal(found.offset, np.arange(41, 62, 2))
    np.testing.assert_array_equal(found.event_time_ms, found.offset - 2 + FIRST_MS)
    np.testing.assert_array_equal(found.value, np.where(found.offset == 43, np.nan, found.offset - 2.0))
    assert (found.subgroup == -1).all()


def test_old_rows_and_all_rows_are_found(line: TestLine) -> None:
    assert reader(line, window=2).rows(OLD, partition=None, rows=9).offset.tolist() == [0, 1]
    assert len(reader(line, window=4).rows(S0, partition=0, rows=1000)) == 30


def test_bounds(line: TestLine) -> None:
    read = reader(line, window=3)
    assert read.rows(S0, partition=None, rows=2, until=Bound(offset=10)).offset.tolist() == [8, 10]
    assert read.rows(S0, partition=None, rows=1, since=Bound(offset=55)).offset.tolist() == [56, 58, 60]
    since, until = Bound(time_ms=FIRST_MS + 10), Bound(time_ms=FIRST_MS + 14)
    assert read.rows(S0, partition=None, rows=1, since=since, until=until).offset.tolist() == [12, 14, 16]
    assert read.rows(S0, partition=None, rows=2, until=until).offset.tolist() == [14, 16]


def test_what_was_published_long_before_a_time_is_not_looked_at(line: TestLine) -> None:
    read = reader(line, window=2, scan_max=20)
    with pytest.raises(ChangeRefused, match=f"no row of series {S0.split('|')[0]}"):
        read.rows(S0, partition=0, rows=1, since=Bound(time_ms=4_000_000_000_000 + CLOCK_SLACK_MS))


def test_the_search_is_bounded(line: TestLine) -> None:
    read = reader(line, window=4, scan_max=10)
    with pytest.raises(ChangeRefused, match=r"old was found in .* among its newest \d+ records"):
        read.rows(OLD, partition=0, rows=1)
    with pytest.raises(ChangeRefused, match=r"--from: more than 10 records of .* come after it; name a later one"):
        read.rows(S0, partition=0, rows=1, since=Bound(offset=0))
    assert 0 < len(read.rows(S0, partition=0, rows=1000)) < 30


def test_one_row(line: TestLine) -> None:
    assert reader(line).at(S1, 5, None).value.tolist() == [3.0]
    with pytest.raises(ChangeRefused, match=r"offset 5 of .* is no row of"):
        reader(line).at(S0, 5, None)
    with pytest.raises(ChangeRefused, match=r"offset 5 of .* is no row of .*: there is .*s1 and .*s2"):
        reader(line).at(OLD, 5, None)


def test_what_is_not_there_is_named(line: TestLine) -> None:
    near = S0.replace("s0", "so")
    with pytest.raises(ChangeRefused, match=r"no row of series .* was found in .*; is it "):
        reader(line).rows(near, partition=None, rows=1)
    with pytest.raises(ChangeRefused, match=r"is it \S+\|s0\?"):  # what the page calls it
        reader(line).rows("s0", partition=None, rows=1)
    with pytest.raises(ChangeRefused, match="has no partition 9"):
        reader(line).rows(S0, partition=9, rows=1)
    with pytest.raises(ConfigError, match="there is no topic nowhere: `chipquality topics apply` makes it"):
        HistoryReader(line.cluster, "t-history", "nowhere", line.registry.schema).rows(S0, partition=None, rows=1)
