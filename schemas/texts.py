"""Columns of texts without a Python object per row: codes of a few words, and words one after the other in a buffer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from schemas.kernel import kernel

_NO_CODE = -1


class Texts(Sequence[str]):
    """A column of n texts: row i is words[codes[i]]. Not to be changed.

    >>> lots = Texts.of(["L1", "L1", "L2"])
    >>> lots.codes.tolist(), lots.words, lots[2], lots[1:].tolist(), lots[np.array([True, False, True])] == ["L1", "L2"]
    ([0, 0, 1], ['L1', 'L2'], 'L2', ['L1', 'L2'], True)
    """

    __hash__ = None  # type: ignore[assignment]
    __slots__ = ("codes", "words")

    def __init__(self, codes: np.ndarray, words: list[str]) -> None:
        self.codes = codes  # (n,) int32, read-only
        codes.setflags(write=False)
        self.words = words

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        """Return these as a column."""
        if isinstance(texts, Texts):
            return texts
        known: dict[str, int] = {}
        codes = [known.setdefault(text, len(known)) for text in texts]
        return cls(np.array(codes, np.int32), list(known))

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, rows: int) -> str: ...
    @overload
    def __getitem__(self, rows: slice | np.ndarray) -> Texts: ...
    def __getitem__(self, rows: Any) -> Any:
        chosen = self.codes[rows]
        return Texts(chosen, self.words) if isinstance(chosen, np.ndarray) else self.words[chosen]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self.tolist() == list(other)

    def tolist(self) -> list[str]:
        """Return the text of every row."""
        words = self.words
        return [words[code] for code in self.codes.tolist()]

    def array(self) -> np.ndarray:
        """Return (n,) str objects."""
        words = np.empty(len(self.words), object)
        words[:] = self.words
        chosen: np.ndarray = words[self.codes]
        return chosen


class PackedTexts(Sequence[str]):
    """Texts in a buffer: text i is data[begin[i]:begin[i + 1]], UTF-8. Not to be changed."""

    __slots__ = ("begin", "data")

    def __init__(self, begin: np.ndarray, data: np.ndarray) -> None:
        self.begin = begin  # (n + 1,) int32
        self.data = data  # uint8

    def __len__(self) -> int:
        return len(self.begin) - 1

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        if not 0 <= at < len(self):
            raise IndexError(f"text {at} of {len(self)}")
        return self.data[self.begin[at] : self.begin[at + 1]].tobytes().decode()


class WordList:
    """Texts that only become more, from which some are taken by number without an object for each.

    >>> words = WordList(["a", "", "Ü"])
    >>> words.append(["bb"])
    >>> len(words), list(words.take(np.array([3, 0, 2, 1])))
    (4, ['bb', 'a', 'Ü', ''])
    """

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self._count = 0
        self._begin = np.zeros(256, np.int64)
        self._data = np.zeros(4_096, np.uint8)
        self.append(texts)

    def __len__(self) -> int:
        """Return how many there are."""
        return self._count

    def append(self, texts: Sequence[str]) -> None:
        """Add these at the end."""
        if not texts:
            return
        more = [text.encode() for text in texts]
        filled, count = int(self._begin[self._count]), self._count + len(more)
        ends = filled + np.cumsum([len(text) for text in more])
        self._begin = with_room(self._begin, count + 1)
        self._data = with_room(self._data, int(ends[-1]))
        self._begin[self._count + 1 : count + 1] = ends
        self._data[filled : ends[-1]] = np.frombuffer(b"".join(more), np.uint8)
        self._count = count

    def take(self, numbers: np.ndarray) -> PackedTexts:
        """Return those with these numbers (integers), in this order."""
        begin = np.zeros(len(numbers) + 1, np.int32)
        np.cumsum(self._begin[numbers + 1] - self._begin[numbers], out=begin[1:])
        data = np.empty(begin[-1], np.uint8)
        _gather(self._begin, self._data, numbers.astype(np.int64), begin, data)
        return PackedTexts(begin, data)


def with_room(array: np.ndarray, size: int) -> np.ndarray:
    """Return the array if it has so many rows, else a longer one that begins with it: twice as long at least."""
    if size <= len(array):
        return array
    more = max(size, 2 * len(array)) - len(array)
    return np.concatenate([array, np.zeros((more, *array.shape[1:]), array.dtype)])


@kernel
def _gather(begin: np.ndarray, data: np.ndarray, numbers: np.ndarray, at: np.ndarray, into: np.ndarray) -> None:
    for k in range(len(numbers)):
        start, to = begin[numbers[k]], at[k]
        for byte in range(at[k + 1] - to):
            into[to + byte] = data[start + byte]


class Distinct:
    """Finds the distinct codes of a batch, in the order in which they appear. Codes are small: it holds a number for each."""

    def __init__(self) -> None:
        self._seen = np.full(256, _NO_CODE, np.int32)

    def of(self, codes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the distinct ones (int64), and (n,) int32, which of them each one is; all codes are below `count`.

        >>> [part.tolist() for part in Distinct().of(np.array([7, 2, 7]), 8)]
        [[7, 2], [0, 1, 0]]
        """
        if count > len(self._seen):
            self._seen = np.full(max(count, 2 * len(self._seen)), _NO_CODE, np.int32)
        found, which = np.empty(len(codes), np.int64), np.empty(len(codes), np.int32)
        number = _distinct(codes.astype(np.int64), self._seen, found, which)
        return found[:number], which


@kernel
def _distinct(codes: np.ndarray, seen: np.ndarray, found: np.ndarray, which: np.ndarray) -> int:
    number = 0
    for k in range(len(codes)):
        code = codes[k]
        if seen[code] < 0:
            seen[code] = number
            found[number] = code
            number += 1
        which[k] = seen[code]
    for k in range(number):
        seen[found[k]] = -1
    return number


def warm() -> None:
    """Load the kernels, or compile them."""
    nothing = np.zeros(0, np.int64)
    WordList().take(nothing)
    Distinct().of(nothing, 0)
