"""STDF V4: every field of both byte orders, a real lot turned around, and what is wrong at which byte."""

from __future__ import annotations

import bz2
import gzip
import io
import json
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.stdf import LAYOUTS, Record, StdfError, StdfReader
from schemas.stdf import reader as reading
from schemas.stdf.layouts import FieldCutError, Order
from tests.schemas.stdf_writer import far, framed, record, turned

pytestmark = pytest.mark.compiled_only  # no kernels are here

LOT2 = Path(__file__).parent.parent / "actors" / "inputs" / "data" / "lot2.stdf.gz"
ORDERS: tuple[Order, Order] = ("<", ">")
BYTES: dict[Order, Literal["little", "big"]] = {"<": "little", ">": "big"}
MPR = {
    "TEST_NUM": 7, "HEAD_NUM": 1, "SITE_NUM": 2, "TEST_FLG": 128, "PARM_FLG": 8, "RTN_ICNT": 3, "RSLT_CNT": 2,
    "RTN_STAT": (1, 2, 15), "RTN_RSLT": (0.5, -2.0), "TEST_TXT": "leak", "ALARM_ID": None, "OPT_FLAG": 2, "RES_SCAL": -3,
    "LLM_SCAL": 6, "HLM_SCAL": 0, "LO_LIMIT": -1.5, "HI_LIMIT": 2.5, "START_IN": 0.0, "INCR_IN": 0.25, "RTN_INDX": (4, 5, 6),
    "UNITS": "", "UNITS_IN": "V", "C_RESFMT": "%9.3f", "C_LLMFMT": None, "C_HLMFMT": None, "LO_SPEC": -4.0, "HI_SPEC": 4.0,
}  # fmt: skip


def small(order: Order) -> bytes:
    """A file with two parts."""
    common = {"HEAD_NUM": 1, "SITE_NUM": 0}
    return b"".join(
        [
            far(order),
            record("MIR", order, SETUP_T=1, START_T=1_000, STAT_NUM=1, LOT_ID="L1", NODE_NAM="T9"),
            framed((200, 7), b"anybody's", order),
            record("PIR", order, **common),
            record(
                "PTR", order, **common, TEST_NUM=10, TEST_FLG=0, PARM_FLG=0, RESULT=1.25, TEST_TXT="Vth", OPT_FLAG=14
            ),
            record("PRR", order, **common, PART_FLG=8, NUM_TEST=1, HARD_BIN=5, SOFT_BIN=65_535, X_COORD=-3, Y_COORD=4),
            record("MPR", order, **MPR),
            record("MRR", order, FINISH_T=2_000),
        ]
    )


def read(content: bytes) -> tuple[list[Record], StdfReader]:
    reader = StdfReader(io.BytesIO(content))
    return list(reader), reader


def wrong(content: bytes) -> tuple[list[Record], StdfError]:
    """Return what is read before the error, and the error."""
    reader, found = StdfReader(io.BytesIO(content)), []
    with pytest.raises(StdfError) as error:
        found.extend(reader)  # what came before the error stays
    assert "\n" not in str(error.value)
    return found, error.value


@pytest.mark.parametrize("order", ORDERS)
def test_fields_come_back_as_they_were_written(order: Order) -> None:
    records, reader = read(small(order))
    by_name = {one.name: one.fields for one in records}
    assert by_name["MPR"] == MPR
    assert by_name["MIR"]["LOT_ID"] == "L1"
    assert by_name["MIR"]["TEST_COD"] is None  # the record ended before it
    assert (by_name["PRR"]["X_COORD"], by_name["PRR"]["SOFT_BIN"], by_name["PRR"]["PART_ID"]) == (-3, 65_535, None)
    assert by_name["PTR"]["RESULT"] == 1.25
    assert (by_name["PTR"]["OPT_FLAG"], by_name["PTR"]["LO_LIMIT"]) == (14, None)
    assert reader.order == order
    assert reader.counts == {"FAR": 1, "MIR": 1, "200/7": 1, "PIR": 1, "PTR": 1, "PRR": 1, "MPR": 1, "MRR": 1}


def test_both_byte_orders_say_the_same() -> None:
    little, big = (read(small(order))[0][1:] for order in ORDERS)  # but for FAR
    assert [one[:] for one in little] == [one[:] for one in big]


@pytest.mark.slow
def test_a_real_lot_is_read_whole_and_the_same_turned_around(anchors: dict[str, int]) -> None:
    content = gzip.decompress(LOT2.read_bytes())
    records, reader = read(content)
    assert reader.counts["PTR"] == anchors["PTR_records"]
    assert reader.counts["PRR"] == anchors["parts"]
    assert reader.offset == len(content)
    other, turned_reader = read(turned(content))
    assert turned_reader.order == "<"
    assert turned_reader.counts == reader.counts
    assert [(one.name, one.offset, repr(one.fields)) for one in other[1:]] == [
        (one.name, one.offset, repr(one.fields)) for one in records[1:]
    ]


@pytest.fixture(scope="module")
def anchors() -> dict[str, int]:
    found: dict[str, int] = json.loads((LOT2.parent / "lot2.json").read_text())
    return found


@pytest.mark.parametrize("order", ORDERS)
def test_wherever_a_file_is_cut_off_the_whole_records_before_come_out_and_the_place_is_told(order: Order) -> None:
    content = small(order)
    records, _ = read(content)
    ends = [one.offset + 4 + int.from_bytes(content[one.offset :][:2], BYTES[order]) for one in records]
    for cut in range(1, len(content)):
        found, error = wrong(content[:cut])
        assert found == records[: len(found)]
        assert error.offset <= cut
        assert "cut off" in str(error)
        whole = sum(end <= cut for end in ends)
        assert len(found) == whole, (cut, error)


def test_a_lot_that_is_cut_off_says_how_far_it_went() -> None:
    content = gzip.decompress(LOT2.read_bytes())[:2_000_000]
    found, error = wrong(content)
    assert found[-1].offset + 4 < error.offset <= 2_000_000
    assert error.records >= len(found)
    assert str(error).startswith(f"byte {error.offset:,}: a record PTR of")
    assert f"{error.records:,} whole records stand before it" in str(error)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_compressed_data_that_break_off_are_told_as_such(pack: object, tmp_path: Path) -> None:
    packed = pack(small(">") * 50)  # type: ignore[operator]
    (tmp_path / "x").write_bytes(packed[: len(packed) - 4])
    opened = gzip.open if packed[:2] == b"\x1f\x8b" else bz2.open
    with opened(tmp_path / "x") as stream, pytest.raises(StdfError, match="break off or are damaged"):
        list(StdfReader(stream))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_compressed_lot_that_breaks_off_says_how_far_it_went(tmp_path: Path) -> None:
    cut = tmp_path / "cut.stdf.gz"
    cut.write_bytes(LOT2.read_bytes()[:20_000])
    with gzip.open(cut) as stream, pytest.raises(StdfError, match="break off or are damaged") as refused:
        list(StdfReader(stream))  # type: ignore[arg-type]
    assert (refused.value.offset > 20_000, refused.value.records > 1_000) == (True, True), refused.value


GOOD = small(">")
SWAPPED_PAIRS = bytes(byte for i in range(0, 40, 2) for byte in (GOOD[i + 1], GOOD[i]))


@pytest.mark.parametrize(
    ("content", "offset", "says"),
    [
        (b"", 0, "the file is empty"),
        (b"PK\x03\x04 something else", 0, "no STDF: a record FAR of 2 bytes must begin the file, not 50 4b 03 04"),
        (SWAPPED_PAIRS, 0, "its bytes swapped in pairs"),
        (far(">")[:5] + b"\x03" + GOOD[6:], 0, "STDF version 3; 4 is what"),
        (far(">")[:4] + b"\x00" + GOOD[5:], 0, "CPU_TYPE 0: numbers of a VAX"),
        (far(">")[:4] + b"\x07" + GOOD[5:], 0, "CPU_TYPE 7 is not defined"),
        (far(">")[:4] + b"\x02" + GOOD[5:], 0, "says little-endian, but the length before it is big-endian"),
        (far(">") + framed((77, 3), b"abc", ">"), 6, "a record of type 77/3, which STDF V4 does not have"),
        (far(">") + framed((15, 10), b"\0" * 200, ">")[:-1], 6, "a record PTR of 200 bytes begins, and 203 bytes"),
        (far(">") + framed((15, 10), b"\0" * 10, ">"), 6, "ends inside or before its field RESULT"),
        (far(">") + framed((15, 10), b"\0" * 4, ">"), 6, "ends inside or before its field PARM_FLG"),
        (far(">") + framed((2, 10), b"\1\1\0\0\0\1\x09abc", ">"), 6, "ends inside or before its field WAFER_ID"),
        (far(">") + framed((15, 15), b"\0" * 8 + b"\0\5\0\0\1", ">"), 6, "ends inside or before its field RTN_STAT"),
        (far(">"), 6, "the file ends without an MRR"),
        (GOOD + b"\0\0", len(GOOD), "a header of 4 bytes begins, and 2 bytes are left"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_line_with_its_place(content: bytes, offset: int, says: str) -> None:
    _, error = wrong(content)
    assert error.offset == offset
    assert says in str(error)


def test_more_than_a_file_may_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CONTENT_BYTES_MAX", 100)
    _, error = wrong(GOOD)
    assert "more than 100 bytes" in str(error)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.integers(0, len(GOOD)))
def test_damage_anywhere_gives_records_or_an_error_and_nothing_else(at: int, byte: int, cut: int) -> None:
    content = (GOOD[:at] + bytes([byte]) + GOOD[at + 1 :])[:cut]
    found: list[Record] = []
    offset = 0
    try:
        found.extend(StdfReader(io.BytesIO(content)))
    except StdfError as error:
        offset = error.offset
    assert found[-1:] == [] or offset or found[-1].name == "MRR"
    assert 0 <= offset <= len(content)


def test_texts_of_other_code_pages_are_read_all_the_same() -> None:
    body = b"\x01\x01\0\0\0\1\x05W\xe4f\xfcr"
    assert LAYOUTS[2, 10].read(body, ">")["WAFER_ID"] == "Wäfür"
    with pytest.raises(FieldCutError):
        LAYOUTS[2, 10].read(body[:-1], ">")
