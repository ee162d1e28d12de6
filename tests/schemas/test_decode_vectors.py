"""Vectors: a row or a dead letter, and other vectors are somebody else's."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.batch import MicroBatch, Reason, SeriesDictionary, cut
from schemas.decode_vectors import VectorDecoder
from schemas.encode import Encoder
from schemas.reading import event_codes
from schemas.topics import load
from tests.schemas.wire import batch, finite

ENCODER = Encoder("vector_measurement", 3)
NAMES = ["a", "b", "c"]


def vector(**fields: Any) -> bytes:
    record = {
        "event_id": "e", "timestamp": 7, "equipment": "E1", "vector": "trace", "characteristics": NAMES,
        "values": [1.0, None, 3.0], "lot": "L1",
    }  # fmt: skip
    return ENCODER.encode(record | fields)


def decode(*values: bytes | None, series: SeriesDictionary | None = None) -> MicroBatch:
    decoder = VectorDecoder({3: load("vector_measurement")}.__getitem__, "trace", NAMES)
    return decoder.decode(batch(values), SeriesDictionary() if series is None else series)


def test_a_vector_is_a_row_with_its_gaps() -> None:
    series = SeriesDictionary()
    got = decode(vector(), vector(equipment="E2", subgroup="w", wafer="3"), series=series)
    np.testing.assert_array_equal(got.value, [[1.0, np.nan, 3.0]] * 2)
    assert series.keys == ["E1||||trace", "E2||||trace"]
    assert got.series.tolist() == [0, 1]
    assert got.event_time_ms.tolist() == [7, 7]
    assert (got.subgroup[0], got.subgroup[1] > 0) == (-1, True)
    assert got.columns["lot"].tolist() == ["L1", "L1"]
    assert got.columns["wafer"].tolist() == ["", "3"]
    columns = [getattr(column, "codes", column) for column in got.columns.values()]
    assert not any(array.flags.writeable for array in (got.value, got.offset, *columns))


def test_event_ids_come_as_codes_when_asked_for() -> None:
    raw = batch([vector(event_id="a"), vector(vector="other", event_id="b"), vector(event_id="c")])
    decoder = VectorDecoder({3: load("vector_measurement")}.__getitem__, "trace", NAMES)
    assert "event_id" not in decoder.decode(raw, SeriesDictionary()).columns
    got = decoder.decode(raw, SeriesDictionary(), event_ids=True)
    assert got.columns["event_id"].tolist() == event_codes(["a", "c"]).tolist()


def test_other_vectors_are_left_out_and_the_position_moves() -> None:
    got = decode(vector(vector="other", characteristics=["z"], values=[1.0]), vector())
    assert (len(got), got.rejects, got.next_offset) == (1, (), 106)
    assert got.offset.tolist() == [103]
    assert decode().value.shape == (0, 3)


@pytest.mark.parametrize(
    ("value", "reason", "says"),
    [
        (None, Reason.NO_VALUE, "null value"),
        (vector()[:-4], Reason.MALFORMED, ""),
        (vector(characteristics=["a", "x", "c"]), Reason.WRONG_CHARACTERISTICS, "3 are judged; they differ at 1"),
        (vector(characteristics=["a", "b"], values=[1.0, 2.0]), Reason.WRONG_CHARACTERISTICS, "differ at 2"),
        (vector(values=[1.0, 2.0]), Reason.MALFORMED, "2 values for 3 characteristics"),
        (vector(values=[1.0, math.inf, None]), Reason.NOT_FINITE, "infinite: b"),
        (vector(lot="x" * 300), Reason.TOO_LONG, "lot has 300 bytes"),
        (vector(equipment="|" * 256), Reason.TOO_LONG, "the series key has 777 bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_a_dead_letter(value: bytes | None, reason: Reason, says: str) -> None:
    series = SeriesDictionary()
    got = decode(vector(), value, vector(), series=series)
    assert got.offset.tolist() == [100, 106]
    [letter] = got.rejects
    assert (letter.offset, letter.reason, letter.value) == (103, reason, value)
    assert says in letter.detail
    assert len(series) == 1


def test_a_full_dictionary_is_a_dead_letter() -> None:
    got = decode(vector(), vector(equipment="E2"), vector(), series=SeriesDictionary(series_max=1))
    assert [letter.reason for letter in got.rejects] == [Reason.TOO_MANY_SERIES]
    assert got.offset.tolist() == [100, 106]


@pytest.mark.slow
@given(
    st.lists(st.lists(st.none() | finite, min_size=3, max_size=3), max_size=6),
    st.lists(st.integers(100, 120), max_size=3),
)
def test_cuts_do_not_matter(rows: list[list[float | None]], cuts: list[int]) -> None:
    raw = batch([vector(values=row) for row in rows])
    decoder = VectorDecoder({3: load("vector_measurement")}.__getitem__, "trace", NAMES)
    whole = decoder.decode(raw, SeriesDictionary())
    pieces = [decoder.decode(piece, SeriesDictionary()) for piece in cut(raw, {max(100, at) for at in cuts})]
    assert np.concatenate([piece.value for piece in pieces]).tobytes() == whole.value.tobytes()
    expected = np.array(rows, np.float64).reshape(-1, 3)
    np.testing.assert_array_equal(whole.value, expected)


def test_a_step_of_vectors_takes_as_many_as_have_room() -> None:
    decoder = VectorDecoder({3: load("vector_measurement")}.__getitem__, "trace", NAMES)
    got = decoder.decode(batch([vector()] * 5), SeriesDictionary(), rows_max=2)
    assert (len(got), got.next_offset) == (2, 106)
