"""The demo's data: what ships, what is missing, what is made up."""

from __future__ import annotations

import numpy as np
import pytest

from cluster.demo import secom
from cluster.demo.app import _trouble
from cluster.demo.stream import Planted, missing_letters
from schemas.batch import Reason


@pytest.fixture(scope="module")
def line() -> secom.Line:
    return secom.load()


def test_what_ships_is_the_first_part_in_time_order(line: secom.Line) -> None:
    assert line.value.shape == (1096, 590)
    assert int(np.isnan(line.value).sum()) == 31_831
    assert (np.diff(line.time_ms) >= 0).all()
    assert line.sensors[0] == "f000"
    assert str(line.time_ms[0].astype("datetime64[ms]")) == "2008-07-19T11:55:00.000"


@pytest.mark.slow
def test_every_sensor_of_every_wafer_is_one_measurement(line: secom.Line) -> None:
    first, *rest = secom.wafers(line)
    assert len(first) == 590
    assert len(rest) == 1095
    assert (first[0]["characteristic"], first[0]["value"], first[0]["wafer"]) == ("f000", 3030.93, "W00001")
    assert sum(row["value"] is None for wafer in (first, *rest) for row in wafer) == 31_831


@pytest.mark.slow
def test_a_further_pass_goes_on_in_time_and_numbers(line: secom.Line) -> None:
    all_wafers = list(secom.wafers(line, passes=2))
    last, first_again = all_wafers[1095], all_wafers[1096]
    assert first_again[0]["timestamp"] > last[0]["timestamp"]
    assert first_again[0]["wafer"] == "W01097"
    assert len({row["event_id"] for wafer in all_wafers for row in wafer}) == 2 * 646_640


def test_limits_are_made_up_from_the_first_wafers_and_only_where_they_vary(line: secom.Line) -> None:
    first = line.value[: secom.SPEC_WAFERS, 0]
    sigma = np.nanstd(first, ddof=1)
    assert line.lsl[0] == pytest.approx(np.nanmean(first) - 5 * sigma)
    assert line.usl[0] == pytest.approx(np.nanmean(first) + 5 * sigma)
    constant = np.nanmin(line.value, axis=0) == np.nanmax(line.value, axis=0)
    assert constant.sum() >= 116
    assert np.isnan(line.lsl[constant]).all()


def test_a_column_without_values_gets_no_limits() -> None:
    lsl, usl, target = secom.made_up_limits(np.array([[np.nan, 1.0], [np.nan, 3.0]]))
    assert np.isnan([lsl[0], usl[0], target[0]]).all()
    assert target[1] == 2.0


def test_a_planted_record_without_its_dead_letter_is_found() -> None:
    planted = [Planted(0, 7, Reason.MALFORMED), Planted(1, 9, Reason.NOT_AVRO)]
    letter = {"topic": "fab.measurements", "partition": 0, "offset": 7, "reason": "malformed"}
    assert missing_letters(planted, [letter]) == [planted[1]]
    assert missing_letters(planted, [letter | {"reason": "not_avro"}]) == planted


@pytest.mark.parametrize(
    ("result", "faults", "lost", "said"),
    [
        ({"produced": 6, "judged": 3, "missing": 2, "dead_lettered": 1, "set_aside": 0}, {"gaps": 0}, [], []),
        (
            {"produced": 7, "judged": 3, "missing": 2, "dead_lettered": 1, "set_aside": 0}, {"gaps": 0}, [],
            ["produced 7, but judged + missing + dead-lettered + set aside = 6"],
        ),
        (
            {"produced": 6, "judged": 3, "missing": 2, "dead_lettered": 1, "set_aside": 0}, {"duplicated": 4}, [],
            ["4 rows duplicated in the output"],
        ),
        (
            {"produced": 6, "judged": 3, "missing": 2, "dead_lettered": 1, "set_aside": 0}, {}, [Planted(0, 7, Reason.MALFORMED)],
            [f"no dead letter for {Planted(0, 7, Reason.MALFORMED)}"],
        ),
    ],
)  # fmt: skip
def test_what_demo_once_calls_wrong(
    result: dict[str, int], faults: dict[str, int], lost: list[Planted], said: list[str]
) -> None:
    assert _trouble(result, faults, lost) == said
