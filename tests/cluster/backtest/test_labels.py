"""Labels from files: what they say, which rows they are about, and clear errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cluster.backtest import labels as module
from cluster.backtest.labels import BEGINNING, END, Label, Matching, read_labels
from cluster.operations.errors import Invalid
from schemas.batch import MicroBatch
from schemas.texts import Texts


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_labels_from_csv(tmp_path: Path) -> None:
    found = read_labels(
        written(
            tmp_path / "labels.csv",
            "series,lot,wafer,from,to,kind\n"
            "E1|*,,,2026-06-01,2026-06-02T00:00Z,shift\n"
            ",L1,,,,scrap\n"
            ",,W7,1780272000000,,\n",
        )
    )
    day = 1_780_272_000_000
    assert found == (
        Label("E1|*", "", "", day, day + 86_400_000, "shift"),
        Label("*", "L1", "", int(BEGINNING), int(END), "scrap"),
        Label("*", "", "W7", day, int(END), ""),
    )


def test_labels_from_parquet_with_real_times(tmp_path: Path) -> None:
    frame = pd.DataFrame({"wafer": ["W1", None], "from": pd.to_datetime(["2026-06-01", None]), "to": [None, 5]})
    frame["to"] = pd.to_numeric(frame["to"]).astype("Int64")
    frame["series"] = [None, "E1"]
    path = tmp_path / "labels.parquet"
    frame.to_parquet(path)
    assert read_labels(path) == (
        Label("*", "", "W1", 1_780_272_000_000, int(END), ""),
        Label("E1", "", "", int(BEGINNING), 5, ""),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("series,form\nE1,1\n", r"no column 'form' is known; there may be series, lot, wafer, from, to, kind"),
        ("kind\nshift\n", "labels need one of the columns"),
        ("series\n", "0 labels; there must be 1 to"),
        ("series,from\nE1,noon\n", r"label 1: 'noon' is no time"),
        ("series,from,to\nE1,1,2\nE1,7,7\n", "label 2: `to` is not after `from`"),
        ("series,kind\nE1,a\n,b\n", "label 2: it names neither a series, a lot, a wafer nor a time"),
        ('series\n"E1\n', "labels cannot be read"),
        ("", "labels cannot be read"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, why: str) -> None:
    path = written(tmp_path / "labels.csv", text)
    with pytest.raises(Invalid, match=why) as error:
        read_labels(path)
    assert str(error.value).startswith(str(path))


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path / "absent.csv", tmp_path, written(tmp_path / "no.parquet", "x"), tmp_path / "gone.parquet"):
        with pytest.raises(Invalid, match="labels cannot be read"):
            read_labels(path)
    monkeypatch.setattr(module, "LABELS_MAX", 1)
    with pytest.raises(Invalid, match="2 labels; there must be 1 to 1"):
        read_labels(written(tmp_path / "many.csv", "lot\nL1\nL2\n"))


def test_rows_of_labels_by_series_that_come_later_too() -> None:
    matching = Matching(
        [Label("a*"), Label("*", lot="L1"), Label("*", wafer="W1", from_ms=5, to_ms=6), Label("b", lot="L1")]
    )

    def batch(series: list[int], lot: list[str], wafer: list[str], at: list[int]) -> MicroBatch:
        n, none = len(series), np.zeros(len(series))
        columns = {"lot": Texts.of(lot), "wafer": Texts.of(wafer)}
        time = np.array(at, np.int64)
        return MicroBatch("t", 0, np.arange(n), n, time, time, np.array(series, np.int32), none, time, columns)

    def found(batch: MicroBatch, keys: list[str]) -> dict[int, list[int]]:
        return {number: rows.tolist() for number, rows in matching.rows(batch, keys)}

    assert found(batch([0, 1], ["L1", "L2"], ["", "W1"], [4, 5]), ["b", "a1"]) == {0: [1], 1: [0], 2: [1], 3: [0]}
    assert found(batch([2, 0], ["", ""], ["W1", "W2"], [6, 7]), ["b", "a1", "a2"]) == {0: [0]}
    assert found(batch([], [], [], []), []) == {}
