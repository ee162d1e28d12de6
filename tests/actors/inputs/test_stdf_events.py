"""What an STDF lot becomes: defaults and flags by the specification, retests, wafers, dies, bins, times, ids."""

from __future__ import annotations

import gzip
import io
import json
import math
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from actors.inputs import stdf_lot, stdf_tests
from actors.inputs.found import Checks
from actors.inputs.opened import InputError
from actors.inputs.stdf_events import StdfEvents, StdfOptions
from actors.inputs.stdf_lot import surveyed
from models.wafer_map import spot
from schemas.framing import EncodeError
from tests.actors.inputs.lots import HERE, File, events_of

DATA = Path(__file__).parent / "data"
FULL = {
    "TEST_TXT": "Vth",
    "OPT_FLAG": 14,
    "RES_SCAL": 3,
    "LLM_SCAL": 3,
    "HLM_SCAL": 3,
    "LO_LIMIT": 1.0,
    "HI_LIMIT": 2.0,
    "UNITS": "v",
}


def of_test(*ptrs: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the measurements of PTRs of one test, each of a part of its own."""
    file = File()
    for fields in ptrs:
        file.add("PIR", **HERE).ptr(1, fields.pop("result", 1.5), **fields).prr()
    return file.measured()


# ---- the real lot


@pytest.fixture(scope="module")
def content() -> bytes:
    return gzip.decompress((DATA / "lot2.stdf.gz").read_bytes())


@pytest.mark.slow
def test_the_real_lot_has_the_counts_of_the_anchors(content: bytes) -> None:
    lot, anchors = surveyed(io.BytesIO(content)), json.loads((DATA / "lot2.json").read_text())
    assert (lot.parts, lot.good) == (anchors["parts"], anchors["good_parts"])
    assert (lot.results, len(lot.tests)) == (anchors["PTR_records"], anchors["tests"])
    assert {str(number): count for number, count in lot.hard_bins.items()} == anchors["hard_bins"]
    assert (lot.error, lot.superseded, lot.without_part, lot.not_executed) == (None, set(), 0, 0)
    assert lot.missing == {"alarm": 15}


@pytest.mark.slow
def test_the_real_lot_as_events(content: bytes) -> None:
    found = events_of(content)
    measured = [one.event for one in found if one.kind == "measurement"]
    inspected = [one.event for one in found if one.kind == "inspection"]
    assert len(measured) == 52_403
    assert len({event["characteristic"] for event in measured}) == 74
    assert len({event["event_id"] for event in measured + inspected}) == len(found)
    assert Counter(event["event_type"] for event in inspected) == {
        "QUALITY_ASSESSED": 1_569, "INSPECTION_STARTED": 1, "INSPECTION_COMPLETED": 1,
    }  # fmt: skip
    scores = [event["quality_score"] for event in inspected if event["event_type"] == "QUALITY_ASSESSED"]
    assert Counter(scores) == {1.0: 1_389, 0.0: 180}
    assert inspected[-1]["quality_score"] == pytest.approx(1_389 / 1_569)
    first = measured[0]
    assert (first["characteristic"], first["unit"]) == ("1000 glxy_SS_IH <> glxy_pin2", "V")
    assert (first["equipment"], first["chamber"], first["recipe"], first["operation"]) == (
        "galaxy-t", "1.0", "mobile-05", "E38",
    )  # fmt: skip
    assert (first["lot"], first["wafer"], first["site"]) == ("GAL-LOT", "GAL-LOT-02", "die 20,-3")
    assert (first["value"], first["lsl"], first["usl"]) == pytest.approx((-0.66164064, -0.9, -0.4))
    assert sum(event["value"] is None for event in measured) == 15
    assert [event["timestamp"] for event in measured] == sorted(event["timestamp"] for event in measured)


# ---- defaults, flags


def test_what_a_record_leaves_out_is_that_of_the_first_of_its_test() -> None:
    first, second, blank = of_test(dict(FULL), {}, {"TEST_TXT": "Vth", "OPT_FLAG": 0xFF})
    assert (first["lsl"], first["usl"], first["unit"], first["characteristic"]) == (1.0, 2.0, "V", "1 Vth")
    assert {name: second[name] for name in ("lsl", "usl", "unit", "characteristic")} == {
        name: first[name] for name in ("lsl", "usl", "unit", "characteristic")
    }
    assert second["metadata"]["scale"] == "3"  # values are in the base unit all the same
    assert (blank["lsl"], blank["usl"]) == (None, None)  # bits 6 and 7: there is none


def test_a_record_overrides_a_default_for_itself_only() -> None:
    _, other, third = of_test(dict(FULL), {**FULL, "LO_LIMIT": 1.25, "UNITS": "A"}, {})
    assert (other["lsl"], other["usl"], other["unit"]) == (1.25, 2.0, "A")
    assert (third["lsl"], third["unit"]) == (1.0, "V")


@pytest.mark.parametrize(
    ("bits", "lsl", "usl"),
    [(0x0E, 7.0, 8.0), (0x1E, 1.0, 8.0), (0x2E, 7.0, 2.0), (0x4E, None, 8.0), (0x8E, 7.0, None), (0x5E, None, 8.0)],
)
def test_opt_flag_says_which_limits_hold(bits: int, lsl: float | None, usl: float | None) -> None:
    _, second = of_test(dict(FULL), {**FULL, "OPT_FLAG": bits, "LO_LIMIT": 7.0, "HI_LIMIT": 8.0})
    assert (second["lsl"], second["usl"]) == (lsl, usl)


def test_a_first_record_without_limits_gives_none_to_those_after_it() -> None:
    first, second, third = of_test({"TEST_TXT": "Vth"}, dict(FULL), {})
    assert [event["lsl"] for event in (first, second, third)] == [None, 1.0, None]


def test_a_text_of_one_zero_byte_takes_the_default_away() -> None:
    _, second = of_test(dict(FULL), {**FULL, "UNITS": ""})
    assert second["unit"] == ""


def test_a_limit_that_is_not_finite_is_none() -> None:
    (first,) = of_test({**FULL, "LO_LIMIT": -math.inf, "HI_LIMIT": math.nan})
    assert (first["lsl"], first["usl"]) == (None, None)


def test_specification_limits_are_taken_if_that_is_asked_for() -> None:
    file = File().add("PIR", **HERE).ptr(1, 1.5, **FULL | {"OPT_FLAG": 2, "LO_SPEC": 0.5, "HI_SPEC": 2.5}).prr()
    file.add("PIR", **HERE).ptr(1, 1.5).prr()
    for event in file.measured(limits="spec"):
        assert (event["lsl"], event["usl"]) == (0.5, 2.5)
    assert {(event["lsl"], event["usl"]) for event in file.measured()} == {(1.0, 2.0)}
    (none,) = File().add("PIR", **HERE).ptr(1, 1.5, **FULL).prr().measured(limits="spec")  # bits 2 and 3
    assert (none["lsl"], none["usl"]) == (None, None)


@pytest.mark.parametrize(
    ("flags", "parametric", "why"),
    [
        (1, 0, "alarm"), (2, 0, "not valid"), (4, 0, "unreliable"), (8, 0, "timeout"), (32, 0, "aborted"),
        (0, 1, "scale error"), (0, 2, "drift"), (0, 4, "oscillation"), (0x82, 4, "not valid, oscillation"),
    ],
)  # fmt: skip
def test_a_result_that_is_of_no_use_is_missing_and_says_why(flags: int, parametric: int, why: str) -> None:
    (event,) = of_test({**FULL, "flags": flags, "parametric": parametric})
    assert event["value"] is None
    assert event["metadata"]["missing"] == why
    assert event["metadata"]["as_written"] == "1.5"
    assert event["metadata"].get("failed") == ("yes" if flags & 0x80 else None)


@pytest.mark.parametrize(
    ("result", "why"), [(math.nan, "not a finite number"), (math.inf, "not a finite number"), (None, "no result")]
)
def test_a_result_that_is_no_number_is_missing(result: float | None, why: str) -> None:
    (event,) = of_test({"result": result})
    assert (event["value"], event["metadata"]["missing"]) == (None, why)


def test_bits_that_say_nothing_of_the_value_leave_it() -> None:
    (event,) = of_test({**FULL, "flags": 0x80, "parametric": 0b1111_1000})  # failed, high, low, alternate limits, …
    assert (event["value"], event["metadata"]["failed"]) == (1.5, "yes")


def test_a_test_that_was_not_executed_gives_defaults_and_no_result() -> None:
    file = File().ptr(1, 0.0, flags=16, **FULL)  # before every part, as the conversion from V3 writes it
    file.add("PIR", **HERE).ptr(1, 1.5).ptr(1, 0.0, flags=16).prr()
    (event,) = file.measured()
    assert (event["value"], event["lsl"], event["characteristic"]) == (1.5, 1.0, "1 Vth")
    assert file.lot().not_executed == 2


# ---- several results of one test


def mpr(file: File, *results: float, **fields: Any) -> File:
    common = {"TEST_NUM": 5, **HERE, "TEST_FLG": 0, "PARM_FLG": 0, "RSLT_CNT": len(results), "RTN_RSLT": results}
    pins = (
        {"RTN_ICNT": len(fields["RTN_INDX"]), "RTN_STAT": (0,) * len(fields["RTN_INDX"])}
        if "RTN_INDX" in fields
        else {}
    )
    return file.add("MPR", **{**common, "RTN_ICNT": 0} | pins | fields)


def test_results_of_pins_are_characteristics_of_their_own() -> None:
    file = File().add("PMR", PMR_INDX=3, CHAN_TYP=0, CHAN_NAM="c3", LOG_NAM="VDD").add("PMR", PMR_INDX=4, CHAN_TYP=0)
    mpr(file.add("PIR", **HERE), 0.5, math.nan, RTN_INDX=(3, 4), **FULL | {"UNITS": "A"}).prr()
    mpr(file.add("PIR", **HERE), 0.75, 0.25, RTN_ICNT=0).prr()  # its pins are the default's
    events = file.measured()
    assert [(e["characteristic"], e["value"]) for e in events] == [
        ("5 Vth @VDD", 0.5), ("5 Vth @4", None), ("5 Vth @VDD", 0.75), ("5 Vth @4", 0.25),
    ]  # fmt: skip
    assert {(e["unit"], e["lsl"]) for e in events} == {("A", 1.0)}
    assert file.lot().results == 4
    assert file.lot().missing == {"not a finite number": 1}


def test_results_without_pins_are_samples_of_one_series() -> None:
    file = File().add("PIR", **HERE)
    (event,) = mpr(file, 0.5, 0.75, 1.0, **FULL).prr().measured()
    assert (event["characteristic"], event["values"], event["period_us"]) == ("5 Vth", [0.5, 0.75, 1.0], 0)
    (none,) = mpr(File().add("PIR", **HERE)).prr().measured()
    assert (none["values"], none["metadata"]["missing"]) == ([None], "no result")


# ---- parts, wafers, retests


def test_parts_of_several_sites_keep_their_results_apart() -> None:
    file = File().wafer()
    for site in (0, 1):
        file.add("PIR", HEAD_NUM=1, SITE_NUM=site)
    file.ptr(1, 0.5, 0).ptr(1, 1.5, 1).ptr(2, 2.5, 0)
    file.prr(1, PART_ID="b", X_COORD=2, Y_COORD=-1).prr(0, PART_ID="a", X_COORD=1, Y_COORD=-1).wafer_ends()
    assert [(e["metadata"]["part"], e["chamber"], e["site"], e["value"]) for e in file.measured()] == [
        ("b", "1.1", "die 2,-1", 1.5), ("a", "1.0", "die 1,-1", 0.5), ("a", "1.0", "die 1,-1", 2.5),
    ]  # fmt: skip


def test_a_part_that_is_tested_again_counts_as_it_was_last() -> None:
    file = File().wafer()
    file.part((1, 0.5), PART_ID="a", PART_FLG=8, HARD_BIN=5).part(
        (1, 0.6), PART_ID="b", X_COORD=1, Y_COORD=1, PART_FLG=8
    )
    file.part((1, 0.7), PART_ID="a", PART_FLG=1).part(
        (1, 0.8), PART_ID="c", X_COORD=1, Y_COORD=1, PART_FLG=2
    ).wafer_ends()
    assert [e["value"] for e in file.measured()] == pytest.approx([0.7, 0.8])
    assert file.lot().superseded == {0, 1}
    ended = file.inspected()[-1]
    assert (ended["event_type"], ended["quality_score"], ended["metadata"]["parts"]) == (
        "INSPECTION_COMPLETED",
        1.0,
        "2",
    )
    every = file.measured(retests="all")
    assert [e["metadata"].get("superseded") for e in every] == ["yes", "yes", None, None]


def test_all_tests_of_a_part_before_are_superseded_and_those_of_other_wafers_are_not() -> None:
    file = (
        File()
        .wafer("W1")
        .part((1, 0.1), PART_ID="a")
        .part((1, 0.2), PART_ID="a")
        .part((1, 0.3), PART_ID="a", PART_FLG=1)
    )
    file.part((1, 0.4), PART_ID="a", PART_FLG=9).wafer_ends().wafer("W2").part(
        (1, 0.5), PART_ID="a", PART_FLG=1
    ).wafer_ends()
    assert [e["value"] for e in file.measured()] == pytest.approx([0.4, 0.5])
    wafers = file.lot().wafers
    assert [(w.parts, w.standing, w.good) for w in wafers] == [(4, 1, 0), (1, 1, 1)]


def test_a_part_says_its_die_bins_and_what_it_was_judged() -> None:
    file = (
        File().add("HBR", HEAD_NUM=255, SITE_NUM=0, HBIN_NUM=5, HBIN_CNT=1, HBIN_PF="F", HBIN_NAM="leaky").wafer("W7")
    )
    file.part(PART_ID="17", X_COORD=-4, Y_COORD=12, HARD_BIN=5, SOFT_BIN=55, PART_FLG=8, TEST_T=1_250, PART_TXT="odd")
    file.part(HARD_BIN=1).part(PART_FLG=16).part(PART_FLG=0b10100).wafer_ends()
    started, bad, good, unknown, aborted, ended = file.inspected()
    assert (bad["event_type"], bad["status"], bad["quality_score"], bad["chip_id"]) == (
        "QUALITY_ASSESSED", "FAILED", 0.0, "17",
    )  # fmt: skip
    (defect,) = bad["defects"]
    assert (defect["defect_type"], spot(defect["location"])[2:]) == ("HARD_BIN_5", (-4, 12))
    assert bad["metadata"].items() >= {
        "lot": "L1", "wafer": "W7", "x": "-4", "y": "12", "hard_bin": "5", "hard_bin_name": "leaky", "soft_bin": "55",
        "test_ms": "1250", "part_text": "odd", "equipment": "T9",
    }.items()  # fmt: skip
    assert (good["status"], good["quality_score"], good["chip_id"], good["defects"]) == ("PASSED", 1.0, "part 2", [])
    assert "soft_bin" not in good["metadata"]
    assert [(e["event_type"], e["status"]) for e in (unknown, aborted)] == [
        ("INSPECTION_FAILED", "NOT_JUDGED"), ("INSPECTION_FAILED", "ABORTED"),
    ]  # fmt: skip
    assert started["inspection_id"] == ended["inspection_id"] == "L1:W7:WS1:19700101T001640Z"
    assert {e["inspection_type"] for e in (started, bad, ended)} == {"WAFER_SORT"}
    assert (ended["quality_score"], ended["metadata"]["good"]) == (0.25, "1")


def test_the_wafer_of_wrr_is_the_one() -> None:
    file = File().wafer("", start=0).part((1, 0.5)).wafer_ends(WAFER_ID="W9")
    assert [e["wafer"] for e in file.measured()] == ["W9"]
    (nameless,) = File().wafer("").part((1, 0.5)).wafer_ends().measured()
    assert nameless["wafer"] == "wafer 1"


def test_a_lot_without_wafers_is_one_inspection() -> None:
    file = File(TEST_COD=None).part((1, 0.5), PART_ID="a").part((1, 0.7), PART_ID="b", PART_FLG=8)
    events = file.inspected()
    assert {e["inspection_id"] for e in events} == {"L1:::19700101T001640Z"}
    assert [e["event_type"] for e in events][::3] == ["INSPECTION_STARTED", "INSPECTION_COMPLETED"]
    assert events[-1]["inspection_type"] == "FINAL_TEST"
    assert {e["wafer"] for e in file.measured()} == {None}


def test_results_that_belong_to_no_part_are_counted_and_left_out() -> None:
    file = File().ptr(1, 0.5).add("PIR", **HERE).ptr(1, 0.6).add("PIR", **HERE).ptr(1, 0.7).prr()
    file.add("PIR", HEAD_NUM=1, SITE_NUM=3).ptr(1, 0.8, 3)
    assert [e["value"] for e in file.measured()] == pytest.approx([0.7])
    assert (file.lot().without_part, file.lot().results) == (3, 1)


# ---- times, names, ids


def test_parts_are_spread_between_the_first_and_the_last_of_their_wafer() -> None:
    file = File().wafer(start=1_000).part((1, 0.5)).part((1, 0.6)).part((1, 0.7)).part((1, 0.8)).wafer_ends(1_010)
    assert [e["timestamp"] for e in file.measured()] == [1_000_000, 1_002_500, 1_005_000, 1_007_500]
    alike = File().wafer(start=1_000).part((1, 0.5)).part((1, 0.6))  # no WRR: no end
    assert [e["timestamp"] for e in alike.measured()] == [1_000_000, 1_000_000]
    assert [e["event_type"] for e in alike.inspected()][-1] == "QUALITY_ASSESSED"


def test_times_are_the_testers_own() -> None:
    noon = int(datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp())
    (event,) = File().wafer(start=noon).part((1, 0.5)).measured(zone=ZoneInfo("Europe/Rome"))
    assert datetime.fromtimestamp(event["timestamp"] / 1000, UTC) == datetime(2026, 7, 1, 10, tzinfo=UTC)


def test_a_file_without_any_time_is_refused() -> None:
    with pytest.raises(InputError, match="START_T is 0"):
        File(START_T=0, SETUP_T=0).part((1, 0.5)).events()
    (event,) = File(START_T=0, SETUP_T=500).part((1, 0.5)).measured()
    assert event["timestamp"] == 500_000


def test_names_that_are_given_stand_for_those_of_the_file() -> None:
    given = {"equipment": "E1", "chamber": "C", "recipe": "R", "operation": "O", "lot": "LX", "wafer": "WX"}
    (event,) = File().wafer().part((1, 0.5)).measured(given=given)
    assert {name: event[name] for name in given} == given
    assert File().wafer().part().inspected(given=given)[0]["inspection_id"].startswith("LX:WX:O:")


def test_ids_are_the_same_again_and_others_for_what_reads_otherwise() -> None:
    file = File().wafer().part((1, 0.5), (1, 0.5)).part((1, 0.5))
    ids = [found.event["event_id"] for found in file.events()]
    assert [found.event["event_id"] for found in file.events()] == ids
    assert len(set(ids)) == len(ids)
    grown = file.part((1, 0.6))
    assert [found.event["event_id"] for found in grown.events()][: len(ids)] == ids
    other = {found.event["event_id"] for found in file.events(given={"equipment": "E2"})}
    assert other.isdisjoint(ids)


def test_a_name_that_is_too_long_for_a_series_is_refused_by_the_check() -> None:
    with pytest.raises(EncodeError, match="characteristic"):
        File().add("PIR", **HERE).ptr(1, 1.5, TEST_TXT="ü" * 200).prr().measured()


def test_either_byte_order_gives_the_same_events() -> None:
    little, big = (File(order).wafer().part((1, 0.5), PART_ID="a").part((2, 1.5)).wafer_ends() for order in ("<", ">"))
    assert little.events() == big.events()


# ---- what breaks off, what is too much


def test_a_lot_that_breaks_off_is_told_up_to_there() -> None:
    content = File().wafer().part((1, 0.5)).part((1, 0.6)).add("PIR", **HERE).ptr(1, 0.7).bytes(whole=False)
    lot = surveyed(io.BytesIO(content))
    assert (lot.parts, lot.results, lot.without_part) == (2, 2, 1)
    assert lot.error is not None
    assert "without an MRR" in str(lot.error)
    events = list(StdfEvents(lot, StdfOptions()).read(io.BytesIO(content)))
    assert sum(found.kind == "measurement" for found in events) == 2


def test_a_file_that_changed_after_the_survey_is_an_error() -> None:
    lot = File().part((1, 0.5)).lot()
    with pytest.raises(ValueError, match="without an MRR"):
        list(StdfEvents(lot, StdfOptions()).read(io.BytesIO(File().part((1, 0.5)).bytes(whole=False))))


@pytest.mark.parametrize(
    ("module", "limit", "says"),
    [
        (stdf_lot, "RESULTS_MAX", "more than 1 results of parts without a PRR"),
        (stdf_lot, "PARTS_MAX", "more than 1 parts"),
        (stdf_tests, "TESTS_MAX", "more than 1 test numbers"),
    ],
)
def test_what_is_held_has_limits(module: Any, limit: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = File().part((1, 0.5)).part((1, 0.5), (2, 0.5)).bytes()
    monkeypatch.setattr(module, limit, 1)
    lot = surveyed(io.BytesIO(content))
    assert says in str(lot.error)
    assert str(lot.error).startswith("byte ")
    events = list(StdfEvents(lot, StdfOptions()).read(io.BytesIO(content)))  # what stands before that
    assert sum(found.kind == "measurement" for found in events) == lot.results == 1


def test_checks_know_an_event_that_cannot_be_published() -> None:
    found = File().part((1, 0.5)).events()[0]
    found.event["status"] = 7
    with pytest.raises(EncodeError, match="status"):
        Checks().check(found)
