"""Columns of texts: what is taken out is what was put in, however it grows."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.texts import Distinct, Texts, WordList

words = st.lists(st.text(max_size=5), max_size=20)


@given(words)
def test_a_column_is_the_texts_it_was_made_of(given_texts: list[str]) -> None:
    texts = Texts.of(given_texts)
    assert texts == given_texts == list(texts) == texts.array().tolist()
    assert Texts.of(texts) is texts
    assert len(set(texts.words)) == len(texts.words)
    assert pickle.loads(pickle.dumps(texts)) == texts  # noqa: S301 - our own
    assert texts[::2] == given_texts[::2]
    assert texts[np.arange(len(texts)) % 2 == 0] == given_texts[::2]


def test_a_column_is_not_changed_and_is_no_key() -> None:
    texts = Texts.of(["a"])
    with pytest.raises(ValueError, match="read-only"):
        texts.codes[0] = 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(texts)
    assert texts != 1


@given(st.lists(words, max_size=6), st.data())
def test_words_are_taken_by_number_however_they_came(parts: list[list[str]], data: st.DataObject) -> None:
    every = [text for part in parts for text in part]
    grown = WordList()
    for part in parts:
        grown.append(part)
    assert len(grown) == len(every)
    numbers = data.draw(st.lists(st.integers(0, len(every) - 1), max_size=9)) if every else []
    taken = grown.take(np.array(numbers, np.int32))
    assert list(taken) == [every[number] for number in numbers]
    assert taken[1:3] == list(taken)[1:3]


def test_many_long_words_make_room() -> None:
    grown = WordList(["x" * 3_000])
    grown.append([f"{i}" * 50 for i in range(2_000)])
    assert list(grown.take(np.array([0, 2_000, 1]))) == ["x" * 3_000, "1999" * 50, "0" * 50]
    with pytest.raises(IndexError, match="text 1 of 1"):
        grown.take(np.array([0]))[1]


@given(st.lists(st.integers(0, 400)))
def test_distinct_codes_in_the_order_of_their_first(codes: list[int]) -> None:
    distinct = Distinct()
    for _ in range(2):  # it leaves nothing behind
        found, which = distinct.of(np.array(codes, np.int64), 401)
        assert found.tolist() == list(dict.fromkeys(codes))
        assert found[which].tolist() == codes
