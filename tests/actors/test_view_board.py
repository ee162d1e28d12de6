"""What the board says: counts by offsets, latencies, pages, and changes since a vector of offsets."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engine.chart_records import pack_bounded
from actors.view import vector as vectors
from actors.view.alert_book import AlertBook, Chosen
from actors.view.board import ALERTS_PER_FRAME_MAX, Board
from actors.view.latency import LATENCY_MS_MAX, LatencyWindow
from actors.view.rings import Rings
from schemas.charts import ChartBlock, unpack
from tests.actors.view_support import alert, block

NAN = math.nan


def board_of(**settings: int) -> Board:
    return Board("quality", Rings(series_max=20, **settings))


def since(board: Board) -> vectors.Vector:
    return vectors.parse(vectors.render(board.position))


# ---- counts


def test_judged_and_missing_are_counted_once_however_many_families_judge() -> None:
    board = board_of()
    for offset, family in enumerate(("spc", "capability", "anomaly")):
        board.add_block(block(["a", "b", "a"], [1.0, NAN, 2.0], family=family), 0, offset, 0, live=True)
    said = board.summary(0)
    assert (said["judged"], said["missing"], said["duplicated"], said["gaps"]) == (2, 1, 0, 0)
    partition = said["partitions"]["fab.measurements:0"]
    assert (partition["first_offset"], partition["next_offset"], partition["rows"]) == (0, 3, 3)
    assert {family: counts["judged"] for family, counts in partition["families"].items()} == {
        "spc": 2, "capability": 2, "anomaly": 2,
    }  # fmt: skip


def test_rows_written_twice_are_counted_and_kept_once() -> None:
    board = board_of()
    board.add_block(block(["a"] * 3, [1.0, 2.0, 3.0]), 0, 0, 0, live=True)
    board.add_block(block(["a"] * 3, [2.0, 3.0, 4.0], 1), 0, 1, 0, live=True)  # overlaps by two rows
    said = board.summary(0)
    assert (said["judged"], said["duplicated"]) == (4, 2)
    chart = board.chart("a", 10)
    assert chart["points"]["offset"] == [0, 1, 2, 3]
    assert chart["detectors"][0]["offset"] == [0, 1, 2, 3]


def test_an_offset_repeated_within_a_block_is_a_duplicate() -> None:
    board = board_of()
    one = block(["a"] * 3, [1.0, 2.0, 3.0])
    one.offset[2] = 1
    board.add_block(one, 0, 0, 0, live=True)
    assert (board.summary(0)["judged"], board.summary(0)["duplicated"]) == (2, 1)


def test_a_hole_between_blocks_is_counted() -> None:
    board = board_of()
    board.add_block(block(["a"], [1.0], 5), 0, 0, 0, live=True)
    board.add_block(block(["a"], [1.0], 9), 0, 1, 0, live=True)
    partition = board.summary(0)["partitions"]["fab.measurements:0"]
    assert (partition["first_offset"], partition["gaps"], partition["gap_offsets"]) == (5, 1, 3)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=12))
def test_each_row_is_counted_once_whatever_overlaps(spans: list[tuple[int, int]]) -> None:
    board, seen, again, reached = board_of(), set[int](), 0, None
    for number, (first, length) in enumerate(spans):
        reached = first if reached is None else reached
        offsets = range(first, first + length)
        again += sum(offset < reached for offset in offsets)
        seen |= {offset for offset in offsets if offset >= reached}
        reached = max(reached, first + length)
        board.add_block(block(["a"] * length, [1.0] * length, first), 0, number, 0, live=True)
    said = board.summary(0)
    assert (said["judged"], said["duplicated"]) == (len(seen), again)


# ---- latency


def test_latency_quantiles_are_exact_to_a_millisecond() -> None:
    window = LatencyWindow()
    latency = np.random.default_rng(1).integers(0, 400, 5000)
    window.add_latency(100_000 - latency, 100_000)
    said: Any = window.summary(100_500)
    for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        exact = float(np.quantile(latency, q, method="inverted_cdf"))
        assert said["latency_ms"][name] == exact + 1


def test_the_window_forgets_and_the_mark_remembers() -> None:
    window = LatencyWindow()
    window.add_latency(np.array([0]), 700)
    window.mark()
    window.add_latency(np.array([1000]), 1050)
    said: Any = window.summary(5_000)
    assert (said["latency_rows"], said["since_mark_rows"], said["since_mark_ms"]["p95"]) == (2, 1, 51.0)
    later: Any = window.summary(60_000)
    assert (later["latency_rows"], later["latency_ms"]["p50"], later["since_mark_rows"]) == (0, None, 1)


def test_clocks_that_disagree_and_very_late_rows_stay_in_range() -> None:
    window = LatencyWindow()
    window.add_latency(np.array([500, 0]), 400)
    window.add_latency(np.array([0]), 10 * LATENCY_MS_MAX)
    window.add_latency(np.array([], np.int64), 0)
    said: Any = window.summary(400)
    assert said["since_mark_rows"] == 3
    assert said["since_mark_ms"]["p99"] == LATENCY_MS_MAX + 1


def test_rows_per_second_is_over_whole_seconds() -> None:
    window = LatencyWindow()
    for second in range(3):
        window.add_rows(100, second * 1000 + 5)
    assert window.summary(3_500)["rows_per_s"] == 100.0
    assert LatencyWindow().summary(0)["rows_per_s"] == 0.0


# ---- charts


def test_a_chart_is_json_and_says_limits_bit_for_bit() -> None:
    board = board_of(points_max=4)
    centre = 0.1 + 0.2  # not 0.3
    for i in range(3):
        board.add_block(block(["a", "b"], [i / 3, NAN], 2 * i, centre=centre, usl=9.0), 0, i, 0, live=True)
    chart = json.loads(json.dumps(board.chart("a", 4), allow_nan=False))
    assert chart["points"]["value"] == [0.0, 1 / 3, 2 / 3]
    assert chart["points"]["usl"] == [9.0] * 3
    assert chart["points"]["lot"] == ["L0", "L2", "L4"]
    individuals = chart["detectors"][0]
    assert individuals["statistics"][0]["ucl"] == [centre + 3.0] * 3
    assert [statistic["name"] for statistic in individuals["statistics"]] == ["x", "MR"]
    assert individuals["rules"][1] == {
        "name": "mr_beyond_limit", "doc": "the moving range is above its upper limit", "severity": "warning", "statistic": 1,
    }  # fmt: skip
    assert (chart["rows"], chart["judged"], chart["status"]) == (3, 3, "in control")
    missing = board.chart("b", 4)
    assert missing["points"]["value"] == [None] * 3
    assert (missing["histogram"], missing["status"], missing["judged"]) == (None, "learning", 0)
    unknown = board.chart("c", 4)
    assert (unknown["held"], unknown["vector"]) == (False, "c0=3")
    assert len(board.chart("a", 2)["points"]["offset"]) == 2


@pytest.mark.parametrize(("unjudged", "rows", "until"), [(30, 30, -1), (12, 30, 12), (4, 30, None)])
def test_phase_one_is_shown_where_it_is_seen(unjudged: int, rows: int, until: int | None) -> None:
    board = board_of()
    valid = [i >= unjudged for i in range(rows)]
    board.add_block(block(["a"] * rows, [1.0] * rows, valid=valid), 0, 0, 0, live=True)
    chart = board.chart("a", 100)
    assert chart["detectors"][0]["phase_one_until"] == until


def test_capability_is_the_newest_judged_row_and_the_histogram_has_every_value() -> None:
    board = board_of()
    values = [1.0, 2.0, 3.0, 4.0, NAN]
    board.add_block(block(["a"] * 5, values, family="capability", usl=5.0), 0, 0, 0, live=True)
    chart = board.chart("a", 100)
    assert chart["capability"] == {"Cp": 4.0, "Cpk": 8.0, "Pp": 12.0, "Ppk": 16.0, "offset": 3}
    histogram = chart["histogram"]
    assert (sum(histogram["counts"]), histogram["n"], histogram["mean"], histogram["usl"]) == (4, 4, 2.5, 5.0)
    assert histogram["sigma"] == pytest.approx(np.std([1, 2, 3, 4], ddof=1))


def test_wild_values_do_not_squash_the_histogram_and_are_counted() -> None:
    board = board_of()
    values = [*np.linspace(1.0, 2.0, 40).tolist(), -900.0, 800.0, 900.0]
    board.add_block(block(["a"] * 43, values), 0, 0, 0, live=True)
    histogram = board.chart("a", 100)["histogram"]
    assert (histogram["edges"][0], histogram["edges"][-1]) == (1.0, 2.0)
    assert (sum(histogram["counts"]), histogram["below"], histogram["above"], histogram["n"]) == (40, 1, 2, 43)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_values_that_never_change_have_a_histogram_of_one_bar(value: float) -> None:
    board = board_of()
    board.add_block(block(["a"] * 3, [value] * 3), 0, 0, 0, live=True)
    histogram = board.chart("a", 10)["histogram"]
    assert (histogram["counts"], histogram["lsl"]) == ([3], None)
    assert histogram["edges"][0] < value < histogram["edges"][1]


def test_series_are_paged_alarms_first() -> None:
    board = board_of()
    board.add_block(block(["a|x", "b|x", "c|y", "d|x"], [1.0, 2.0, 3.0, 4.0]), 0, 0, 0, live=True)
    board.add_alert(alert("1", "c|y"), 0, 0, 0)
    seen: list[str] = []
    cursor = None
    while True:
        page = board.series(2, after=cursor)
        seen += [item["series"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ["c|y", "a|x", "b|x", "d|x"]
    first = board.series(1)["items"][0]
    assert (first["status"], first["open_alerts"], first["last_value"]) == ("alarm", 1, 3.0)
    assert [item["series"] for item in board.series(9, search="X b")["items"]] == ["b|x"]
    with pytest.raises(ValueError, match="cursor"):
        board.series(1, after="?")


# ---- changes


def test_changes_are_what_came_since_and_nothing_is_lost_between_frames() -> None:
    board = board_of()
    board.add_block(block(["a", "b"], [1.0, 2.0]), 0, 0, 0, live=True)
    vector = since(board)
    assert not board.has_changes(vector, "a")
    board.add_block(block(["b"], [3.0], 2), 0, 1, 0, live=True)
    assert not board.has_changes(vector, "a"), "another series"
    board.add_block(block(["a"], [4.0], 3), 0, 2, 0, live=True)
    board.add_block(block(["a"], [4.0], 3, family="anomaly"), 0, 3, 0, live=True)
    assert board.has_changes(vector, "a")
    said = board.changes(vector, "a", 0)
    assert said["points"]["value"] == [4.0]
    assert {one["detector"]: one["offset"] for one in said["detectors"]} == {
        "spc.individuals": [3],
        "anomaly.robust_z": [3],
    }
    assert (said["vector"], said["reset"], said["rows"]) == ("c0=4", False, 2)
    assert not board.has_changes(vectors.parse(said["vector"]), "a")
    json.dumps(said, allow_nan=False)


def test_a_block_of_another_family_that_comes_later_is_a_change() -> None:
    board = board_of()
    board.add_block(block(["a"], [4.0]), 0, 0, 0, live=True)
    vector = since(board)
    board.add_block(block(["a"], [4.0], family="anomaly"), 0, 1, 0, live=True)
    said = board.changes(vector, "a", 0)
    assert (said["points"], [one["detector"] for one in said["detectors"]]) == (None, ["anomaly.robust_z"])


def test_changes_without_a_series_or_of_an_unknown_one_are_alerts_only() -> None:
    board = board_of()
    board.add_block(block(["a"], [4.0]), 0, 0, 0, live=True)
    nothing = vectors.parse("")
    assert not board.has_changes(nothing, None)
    assert not board.has_changes(nothing, "nobody")
    assert board.changes(nothing, "nobody", 0)["points"] is None
    board.add_alert(alert("1"), 2, 7, 0)
    assert board.has_changes(nothing, None)
    assert [one["alert_id"] for one in board.changes(nothing, None, 0)["alerts"]] == ["1"]
    assert board.position["a"] == {2: 8}


def test_a_reader_that_missed_more_than_the_ring_holds_is_told_to_load_again() -> None:
    board = board_of(points_max=3)
    board.add_block(block(["a"], [1.0]), 0, 0, 0, live=True)
    vector = since(board)
    board.add_block(block(["a"] * 4, [2.0] * 4, 1), 0, 1, 0, live=True)
    assert board.changes(vector, "a", 0)["reset"]


def test_a_vector_of_topics_that_were_made_anew_is_told_to_load_again_and_all_that_there_is() -> None:
    board = board_of()
    board.add_block(block(["a"], [1.0]), 0, 0, 0, live=True)
    board.add_alert(alert("1"), 2, 7, 0)
    old = vectors.parse("c0=900,a2=50")
    assert board.has_changes(old, None)
    said = board.changes(old, "a", 0)
    assert (said["reset"], said["vector"]) == (True, "c0=1,a2=8")
    assert (said["points"]["value"], [one["offset"] for one in said["detectors"]]) == ([1.0], [[0]])
    assert [one["alert_id"] for one in said["alerts"]] == ["1"]


def test_a_view_that_is_still_catching_up_does_not_take_its_readers_back() -> None:
    board = board_of()
    board.caught_up = False
    board.add_block(block(["a"], [1.0]), 0, 0, 0, live=False)
    ahead = vectors.parse("c0=900")
    assert not board.has_changes(ahead, "a")
    said = board.changes(ahead, "a", 0)
    assert (said["reset"], said["vector"], said["points"]) == (False, "c0=900", None)
    assert (said["summary"]["latency_rows"], said["summary"]["rows_per_s"]) == (0, 0.0), "old records have no latency"


def test_changes_of_several_series_are_those_of_each_without_what_small_charts_do_not_show() -> None:
    board = board_of(points_max=3)
    board.add_block(block(["a", "b", "c"], [1.0, 2.0, 3.0]), 0, 0, 0, live=True)
    vector = since(board)
    assert not board.has_changes(vector, ("a", "b", "nobody"))
    assert board.changes_of_many(vector, ("a", "b", "nobody"), 0)["charts"] == []
    board.add_block(block(["b", "c", "c", "c", "c"], [5.0, 6.0, 6.0, 6.0, 6.0], 3), 0, 1, 0, live=True)
    assert not board.has_changes(vector, ("a",))
    assert board.has_changes(vector, ("a", "b"))
    said = board.changes_of_many(vector, ("a", "b", "c", "nobody"), 0)
    assert [(one["series"], one["reset"]) for one in said["charts"]] == [("b", False), ("c", True)]
    first = said["charts"][0]
    alone = board.changes(vector, "b", 0)
    assert {name: first[name] for name in ("points", "detectors", "rows", "status")} == {
        name: alone[name] for name in ("points", "detectors", "rows", "status")
    }
    assert "histogram" not in first
    assert {name: said[name] for name in ("alerts", "reset", "vector")} == {
        name: alone[name] for name in ("alerts", "reset", "vector")
    }
    json.dumps(said, allow_nan=False)


def test_the_detectors_say_their_versions_and_what_they_found() -> None:
    board = board_of()
    board.add_block(block(["a", "b"], [1.0, 2.0], signal=[1, 0]), 0, 0, 0, live=True)
    board.add_block(block(["a"], [1.0], family="anomaly"), 0, 1, 0, live=True)
    robust, individuals = board.detectors()
    assert (individuals["identity"], individuals["series"], individuals["signals"]) == ("spc.individuals@1-abc", 2, 1)
    assert [rule["name"] for rule in individuals["rules"]] == ["nelson_1", "mr_beyond_limit"]
    assert (robust["detector"], robust["family"], robust["series"]) == ("anomaly.robust_z", "anomaly", 1)


def test_vectors_that_are_none_are_refused() -> None:
    for text in ("x", "c0=", "c0=1,,b1=2", "c0=-1", "c0=1" * 9000):
        with pytest.raises(ValueError, match="event id"):
            vectors.parse(text)


# ---- alerts


def test_an_alert_is_kept_once_and_follows_its_life() -> None:
    book = AlertBook()
    book.add(alert("1", "a"), 0, 0, 10)
    book.add(alert("1", "a", rows=2), 0, 1, 11)
    book.add(alert("2", "b"), 0, 2, 12)
    assert (book.open, book.opened, book.closed, dict(book.open_of)) == (2, 2, 0, {"a": 1, "b": 1})
    book.add(alert("1", "a", "CLOSED", rows=5), 0, 3, 13)
    assert (len(book), book.open, book.closed, dict(book.open_of)) == (2, 1, 1, {"b": 1})
    page, more = book.newest(10)
    assert [(one["alert_id"], one["state"], one["rows"]) for one in page] == [("2", "OPEN", 1), ("1", "CLOSED", 5)]
    assert more is None
    assert [one["alert_id"] for one in book.newest(10, Chosen(state="OPEN"))[0]] == ["2"]
    assert [one["alert_id"] for one in book.newest(10, Chosen(series="a"))[0]] == ["1"]


def test_alerts_are_bounded_and_the_newest_stay() -> None:
    book = AlertBook(alerts_max=3, open_max=4)
    for i in range(6):
        book.add(alert(str(i), "a"), 0, i, i)
    assert [one["alert_id"] for one in book.newest(10)[0]] == ["5", "4", "3"]
    assert (book.opened, book.open) == (6, 4)
    book.add(alert("0", "a", "CLOSED"), 0, 9, 0)
    assert [one["alert_id"] for one in book.newest(10)[0]] == ["5", "4", "3"], "older than all that are kept"
    assert (book.closed, book.open) == (1, 3)
    book.add(alert("99", "a", "CLOSED"), 0, 10, 99)
    assert (book.opened, book.closed) == (7, 2), "its OPEN record was not seen"


def test_pages_of_alerts_do_not_shift_while_new_ones_come() -> None:
    book = AlertBook()
    for i in range(5):
        book.add(alert(str(i)), 0, i, i)
    first, cursor = book.newest(2)
    book.add(alert("9"), 0, 9, 9)
    second, cursor = book.newest(2, before=cursor)
    third, end = book.newest(2, before=cursor)
    assert [one["alert_id"] for one in first + second + third] == ["4", "3", "2", "1", "0"]
    assert end is None


def test_alert_fields_are_json_and_frames_of_alerts_are_bounded() -> None:
    import datetime

    book = AlertBook()
    opened = datetime.datetime(2008, 7, 19, 11, 55, tzinfo=datetime.UTC)
    for i in range(ALERTS_PER_FRAME_MAX + 5):
        book.add(alert(str(i), opened_time=opened, value=NAN), 0, i, i)
    newest = book.newest(1)[0][0]
    assert (newest["opened_time"], newest["value"]) == (1_216_468_500_000, None)
    first = book.since({0: 0}, ALERTS_PER_FRAME_MAX)
    assert (len(first.items), first.read, first.lives_read) == (ALERTS_PER_FRAME_MAX, {0: ALERTS_PER_FRAME_MAX}, None)
    rest = book.since(first.read, ALERTS_PER_FRAME_MAX)
    assert (len(rest.items), rest.read) == (5, {}), "what one frame has no room for comes with the next"
    assert [one["alert_id"] for one in book.since({0: ALERTS_PER_FRAME_MAX + 3}, 9).items] == ["503", "504"]


def test_a_closed_alert_keeps_what_was_said_when_it_opened() -> None:
    book = AlertBook()
    book.add(alert("1", detail="Q: flow 80 %"), 0, 0, 10)
    book.add(alert("1", state="CLOSED"), 0, 1, 11)
    assert [kept["detail"] for kept in book.newest(5)[0]] == ["Q: flow 80 %"]


# ---- records of many samples


def array_block(lengths: list[int], first_offset: int = 0, **further: Any) -> ChartBlock:
    """A block of one series: a record of so many samples at each offset."""
    n = sum(lengths)
    offset = first_offset + np.repeat(np.arange(len(lengths)), lengths)
    sample = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])
    made = block(["a"] * n, np.arange(n).astype(float).tolist(), first_offset, **further)
    return replace(made, offset=offset, sample=sample, next_offset=first_offset + len(lengths))


def test_samples_of_a_record_are_points_and_no_duplicates() -> None:
    board = board_of()
    board.add_block(array_block([3, 1, 2]), 0, 0, 0, live=True)
    board.add_block(array_block([3, 1, 2]), 0, 1, 0, live=True)
    board.add_block(array_block([2, 2], 2), 0, 2, 0, live=True)
    said = board.summary(0)
    assert (said["judged"], said["records"], said["duplicated"], said["gaps"]) == (8, 4, 8, 0)
    chart = board.chart("a", 10)
    for shown in (chart["points"], chart["detectors"][0]):
        assert shown["offset"] == [0, 0, 0, 1, 2, 2, 3, 3]
        assert shown["sample"] == [0, 1, 2, 0, 0, 1, 0, 1]
    assert chart["points"]["event_time_ms"][:2] == [0, 1000]


def test_phase_one_may_end_inside_a_record() -> None:
    board = board_of()
    board.add_block(array_block([10, 20], valid=[i >= 13 for i in range(30)]), 0, 0, 0, live=True)
    [shown] = board.chart("a", 100)["detectors"]
    assert (shown["phase_one_until"], shown["phase_one_sample"]) == (1, 3)


def test_a_record_that_goes_on_in_the_next_block_is_whole_when_both_are_read() -> None:
    board = board_of()
    whole = array_block([2, 6])
    first, second = pack_bounded(whole, 1)[:3], pack_bounded(whole, 1)[3:]
    for number, piece in enumerate([*first, *second]):
        board.add_block(unpack(piece), 0, number, 0, live=True)
        vector = since(board)
    said = board.summary(0)
    assert (said["judged"], said["records"], said["duplicated"], said["gaps"]) == (8, 2, 0, 0)
    assert board.position["c"] == {0: 8}
    assert not board.has_changes(vector, "a")
