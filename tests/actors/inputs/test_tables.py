"""CSV and Parquet: mapped columns, times with their zones, bad rows by line, limits."""

from __future__ import annotations

import bz2
import gzip
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.inputs import rows as reading
from actors.inputs import tables
from actors.inputs.found import Found
from actors.inputs.opened import InputError, opened
from actors.inputs.rows import csv_rows, parquet_rows
from actors.inputs.tables import BadRow, Events, Mapped

HEAD = "equipment,characteristic,timestamp,value\n"
NOON_MS = 1_777_888_800_000  # 2026-05-04T10:00:00Z


AS_NAMED = Mapped()


def read(path: Path, mapped: Mapped = AS_NAMED, **how: Any) -> list[Found | BadRow]:
    with csv_rows(path, **how) as (columns, found):
        return list(Events(mapped, columns, check=True).read(found))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.csv"


def events(found: list[Found | BadRow]) -> list[dict[str, Any]]:
    assert not any(isinstance(one, BadRow) for one in found), found
    return [one.event for one in found if isinstance(one, Found)]


def test_columns_are_fields_by_name_or_as_mapped(file: Path) -> None:
    file.write_text("tool,t,CD,wafer,shift,who,spec lo\nE1,2026-05-04T10:00Z,50.5,7,night,ada,45\n")
    mapped = Mapped(
        {"tool": "equipment", "t": "timestamp", "CD": "value", "who": "metadata.by", "spec lo": "lsl"},
        {"characteristic": "CD_WIDTH", "unit": "nm", "metadata.line": "L2"},
    )
    with csv_rows(file) as (columns, found):
        read_as = Events(mapped, columns, check=True)
        (event,) = events(list(read_as.read(found)))
    assert read_as.left_out == ["shift"]
    assert event.pop("event_id")
    assert event == {
        "equipment": "E1", "characteristic": "CD_WIDTH", "timestamp": NOON_MS, "value": 50.5, "wafer": "7", "unit": "nm",
        "lsl": 45.0, "metadata": {"by": "ada", "line": "L2"},
    }  # fmt: skip


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_plain_or_compressed_by_content_with_a_byte_order_mark(pack: Any, file: Path) -> None:
    file.write_bytes(pack(b"\xef\xbb\xbf" + f"{HEAD}E1,CD,{NOON_MS},1\r\n\r\n".encode()))
    assert [event["value"] for event in events(read(file))] == [1.0]


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-05-04T12:00:00+02:00", UTC, NOON_MS),
        ("2026-05-04 10:00:00.250", UTC, NOON_MS + 250),
        ("2026-05-04T12:00", ZoneInfo("Europe/Berlin"), NOON_MS),
        ("2026-05-04T10:00Z", ZoneInfo("Europe/Berlin"), NOON_MS),
        ("1777888800000", ZoneInfo("Europe/Berlin"), NOON_MS),
        ("2026-01-04", ZoneInfo("Asia/Taipei"), 1_767_456_000_000),
    ],
)
def test_a_time_has_its_zone_or_the_one_given(text: str, zone: Any, expected: int, file: Path) -> None:
    file.write_text(f"{HEAD}E1,CD,{text},1\n")
    assert events(read(file, Mapped(zone=zone)))[0]["timestamp"] == expected


@pytest.mark.parametrize("missing", ["", "NaN", "null", " - "])
def test_a_missing_value_is_information(missing: str, file: Path) -> None:
    file.write_text(f"{HEAD}E1,CD,{NOON_MS},{missing}\n")
    assert events(read(file))[0]["value"] is None


def test_bad_rows_are_told_with_their_line_and_the_others_are_events(file: Path) -> None:
    rows = [
        f'E1,CD,{NOON_MS},1', f'E1,"two\nlines",{NOON_MS},2', f"E1,CD,{NOON_MS},abc", "E1,CD,yesterday,1", f"E1,CD,{NOON_MS}",
        "", f"E1,,{NOON_MS},1", f"E1,CD,{NOON_MS},inf", f"{'E' * 300},CD,{NOON_MS},1", f"E1,CD,{NOON_MS},3",
    ]  # fmt: skip
    file.write_text(HEAD.replace("value", "v") + "\n".join(rows) + "\n")
    found = read(file, Mapped({"v": "value"}))
    assert [one.event["value"] for one in found if isinstance(one, Found)] == [1.0, 2.0, 3.0]
    assert [str(one) for one in found if isinstance(one, BadRow)] == [
        "line 5: value (column 'v'): 'abc' is no number",
        "line 6: timestamp: 'yesterday' is no time: ISO 8601, or milliseconds since 1970",
        "line 7: 3 cells for 4 columns",
        "line 9: characteristic: it is empty; it names the series",
        "line 10: value (column 'v'): 'inf' is not finite",
        "line 11: equipment: longer than 256 bytes",
    ]


def test_ids_are_the_same_again_of_rows_that_were_there(file: Path) -> None:
    first = f"{HEAD}E1,CD,{NOON_MS},1\nE1,CD,{NOON_MS},1\nE1,CD,{NOON_MS},bad\n"
    file.write_text(first)
    ids = [one.event["event_id"] for one in read(file) if isinstance(one, Found)]
    assert len(set(ids)) == 2  # two rows that say the same are two measurements
    file.write_text(first.replace("bad", "2") + f"E1,CD,{NOON_MS},4\n")
    again = [event["event_id"] for event in events(read(file))]
    assert again[:2] == ids
    assert len(set(again)) == 4
    file.write_text("event_id," + HEAD + f"my-id,E1,CD,{NOON_MS},1\n")
    assert events(read(file))[0]["event_id"] == "my-id"


@pytest.mark.parametrize(
    ("text", "mapped", "says"),
    [
        ("", Mapped(), "line 1: the names of the columns must stand there"),
        ("a,a\n", Mapped(), "column 'a' stands there twice"),
        ("a,b\n", Mapped({"c": "value"}), "--map c=…: there is no such column; there are a, b"),
        ("a,b\n", Mapped({"a": "valeu"}), "'valeu' is no field: one of equipment"),
        ("a,b\n", Mapped({"a": "metadata."}), "'metadata.' is no field"),
        ("a,b\n", Mapped({"a": "value", "b": "value"}), "columns 'a' and 'b' are both mapped to value"),
        ("a,b\n", Mapped({"a": "lot"}, {"lot": "x"}), "lot is both given by --set and mapped"),
        (
            "a,value\n",
            Mapped({"a": "equipment"}),
            "nothing says characteristic, timestamp: --map COLUMN=characteristic",
        ),
        (HEAD + '"E1,CD\n', Mapped(), "line 2: unexpected end of data"),
        (HEAD + f"{'x' * 140_000},CD,1,1\n", Mapped(), "line 2: field larger than field limit"),
    ],
)
def test_what_cannot_be_read_is_one_line(text: str, mapped: Mapped, says: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(InputError) as error:
        read(file, mapped)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_content_that_is_no_text_or_breaks_off_is_told_with_its_line(file: Path) -> None:
    file.write_bytes(HEAD.encode() + b"E\xff,CD,1,1\n")
    with pytest.raises(InputError, match=r"from line 1 on: 'utf-8' codec can't decode"):
        read(file)
    file.write_bytes(gzip.compress((HEAD + f"E1,CD,{NOON_MS},1\n" * 50_000).encode())[:-20])
    with pytest.raises(InputError, match=r"from line \d+ on: "):
        read(file)
    with pytest.raises(InputError, match="No such file"), opened(file.parent / "none"):
        pass


def test_rows_and_columns_have_limits(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(HEAD + f"E1,CD,{NOON_MS},1\n" * 3)
    monkeypatch.setattr(reading, "ROWS_MAX", 2)
    with pytest.raises(InputError, match="line 4: more than 2 rows"):
        read(file)
    monkeypatch.setattr(tables, "COLUMNS_MAX", 3)
    with pytest.raises(InputError, match="4 columns; at most 3"):
        read(file)


# ---- Parquet


def parquet(path: Path, mapped: Mapped = AS_NAMED, **columns: Any) -> list[Found | BadRow]:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    with parquet_rows(path) as (names, found):
        return list(Events(mapped, names, check=True).read(found))


def test_a_parquet_file_keeps_its_types(tmp_path: Path) -> None:
    local = [datetime(2026, 5, 4, 12), None]
    found = parquet(
        tmp_path / "x.parquet",
        Mapped(zone=ZoneInfo("Europe/Berlin")),
        equipment=["E1", "E1"],
        characteristic=pa.array([4200.0, 4200.0]),
        value=pa.array([1.5, None]),
        lot=pa.array([None, float("nan")]),
        wafer=pa.array([7, 8]),
        timestamp=pa.array(local, pa.timestamp("us")),
    )
    event, bad = found
    assert isinstance(event, Found)
    assert {name: event.event[name] for name in ("characteristic", "value", "wafer", "timestamp")} == {
        "characteristic": "4200", "value": 1.5, "wafer": "7", "timestamp": NOON_MS,
    }  # fmt: skip
    assert "lot" not in event.event
    assert str(bad) == "row 2: timestamp: None is no time"


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (pa.array([datetime(2026, 5, 4, 10, tzinfo=UTC)], pa.timestamp("ms", "Asia/Taipei")), NOON_MS),
        (pa.array([NOON_MS]), NOON_MS),
        (pa.array([date(2026, 5, 4)]), NOON_MS - 10 * 3_600_000),
        (pa.array(["2026-05-04T10:00Z"]), NOON_MS),
    ],
)
def test_times_of_any_type(times: pa.Array, expected: int, tmp_path: Path) -> None:
    found = parquet(tmp_path / "x", equipment=["E"], characteristic=["C"], value=["2.5"], timestamp=times)
    assert [(e["timestamp"], e["value"]) for e in events(found)] == [(expected, 2.5)]


def test_values_that_are_no_numbers_are_told_with_their_row(tmp_path: Path) -> None:
    where = {"equipment": ["E"], "characteristic": ["C"], "timestamp": [NOON_MS]}
    assert [str(one) for one in parquet(tmp_path / "x", value=pa.array([[1.0]]), **where)] == [
        "row 1: value: [1.0] is no number"
    ]
    assert [one.why for one in parquet(tmp_path / "x", value=["z" * 100], **where) if isinstance(one, BadRow)] == [
        f"'{'z' * 59}… is no number"
    ]
    assert events(parquet(tmp_path / "x", value=pa.array([float("nan")]), **where))[0]["value"] is None


def test_a_file_that_is_no_parquet_or_is_damaged_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"not parquet")
    with pytest.raises(InputError, match=r"x\.parquet: "), parquet_rows(path):
        pass
    pq.write_table(
        pa.table({name: ["1"] * 1_000 for name in ("equipment", "characteristic", "value", "timestamp")}), path
    )
    damaged = bytearray(path.read_bytes())
    damaged[4:200] = bytes(196)
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="after row 0: "), parquet_rows(path) as (_, found):
        list(found)
