"""An STDF file as a lot: its wafers, and its parts with their results, as far as one has to read to know them.

A part's records stand between its PIR and its PRR, mixed with those of other sites; only the PRR says which part it was. So the
results of the parts that are open are held (RESULTS_MAX of them), and a part comes out when it is whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from actors.inputs.stdf_tests import Result, TestDefaults, TooMuchError
from schemas.stdf import StdfError, StdfReader

RESULTS_MAX = 2_000_000  # of parts that are open at once
PARTS_MAX = 5_000_000  # of a file
NO_COORDINATE, NO_BIN = -32_768, 65_535  # what says "none"
_ALL_HEADS = 255
_SAME_ID, _SAME_PLACE, _ABNORMAL, _FAILED, _NOT_JUDGED = (1 << bit for bit in range(5))  # of PART_FLG

Place = tuple[int, int]  # head and site


@dataclass(slots=True)
class Wafer:
    """A wafer as its WIR and WRR have it; of a lot without wafers the whole lot."""

    number: int  # from 0, in the order of the file
    name: str  # "" = a lot without wafers
    start: int  # seconds since 1970 in the tester's time zone; 0 = not said
    finish: int = 0
    parts: int = 0  # tested, those that a retest has superseded too
    good: int = 0  # of those that no retest has superseded
    standing: int = 0  # those


@dataclass(slots=True)
class Part:
    """A part that was tested: its PRR, and the results since its PIR."""

    number: int  # from 0, in the order of the PRRs
    number_on_wafer: int
    wafer: Wafer
    fields: dict[str, Any]  # of PRR
    results: list[Result]

    @property
    def passed(self) -> bool | None:
        """Whether it passed; None = the tester does not say."""
        flags = self.fields["PART_FLG"]
        return None if flags & _NOT_JUDGED else not flags & _FAILED

    @property
    def abnormal(self) -> bool:
        """Whether its test came to an abnormal end."""
        return bool(self.fields["PART_FLG"] & _ABNORMAL)

    @property
    def die(self) -> tuple[int, int] | None:
        """Where on the wafer it is."""
        x, y = self.fields["X_COORD"], self.fields["Y_COORD"]
        return None if x in (None, NO_COORDINATE) or y in (None, NO_COORDINATE) else (x, y)

    @property
    def name(self) -> str:
        """Its PART_ID; without one, where it is, or which one it is."""
        place = "" if self.die is None else "{},{}".format(*self.die)
        return self.fields["PART_ID"] or place or f"part {self.number + 1}"


@dataclass(slots=True)
class Lot:
    """What a file says, but for the results themselves."""

    header: dict[str, Any] = field(default_factory=dict)  # of MIR
    finish: int = 0  # of MRR
    records: Counter[str] = field(default_factory=Counter)
    wafers: list[Wafer] = field(default_factory=list)
    pins: dict[int, str] = field(default_factory=dict)  # PMR index → name
    bins: dict[int, str] = field(default_factory=dict)  # hard bin → name
    parts: int = 0
    good: int = 0
    hard_bins: Counter[int] = field(default_factory=Counter)
    superseded: set[int] = field(default_factory=set)  # numbers of parts that were tested again
    tests: set[int] = field(default_factory=set)
    results: int = 0  # values of PTRs and MPRs of whole parts
    missing: Counter[str] = field(default_factory=Counter)  # of these, by reason
    not_executed: int = 0
    without_part: int = 0  # results that no PRR follows, or that no PIR precedes
    error: StdfError | None = None  # where reading ended, if not at the end


class LotReader:
    """Reads a file once: iterate over its whole parts; `lot` is what was read so far. Errors: StdfError, TooMuchError."""

    def __init__(self, stream: BinaryIO) -> None:
        self.lot = Lot()
        self.reader = StdfReader(stream)
        self.lot.records = self.reader.counts
        self._tests = TestDefaults()
        self._open: dict[Place, list[Result]] = {}
        self._held = 0
        self._wafers: dict[int, Wafer] = {}  # by head
        self._whole: Wafer | None = None  # of a lot without wafers

    def __iter__(self) -> Iterator[Part]:
        """Yield every part when its PRR has come."""
        try:
            for name, _, fields in self.reader:
                if name == "PRR":
                    yield self._part(fields)
                else:
                    self._take(name, fields)
        finally:
            for place in list(self._open):
                self._close(place)

    def _take(self, name: str, fields: dict[str, Any]) -> None:
        lot = self.lot
        if name in ("PTR", "MPR"):
            self._result(name, fields)
        elif name == "PIR":
            self._close(_place(fields))
            self._open[_place(fields)] = []
        elif name == "MIR":
            lot.header = fields
        elif name == "MRR":
            lot.finish = fields["FINISH_T"]
            if self._whole:
                self._whole.finish = lot.finish
        elif name in ("WIR", "WRR"):
            self._wafer(name, fields)
        elif name == "PMR":
            lot.pins[fields["PMR_INDX"]] = fields["LOG_NAM"] or fields["PHY_NAM"] or fields["CHAN_NAM"] or ""
        elif name == "HBR" and fields["HBIN_NAM"]:
            lot.bins[fields["HBIN_NUM"]] = fields["HBIN_NAM"]

    def _result(self, name: str, fields: dict[str, Any]) -> None:
        result = self._tests.read(name, fields)
        self.lot.tests.add(fields["TEST_NUM"])
        if result is None:
            self.lot.not_executed += 1
            return
        results = self._open.get(_place(fields))
        if results is None:
            self.lot.without_part += len(result.values)
            return
        self._held += 1
        if self._held > RESULTS_MAX:
            raise TooMuchError(f"more than {RESULTS_MAX:,} results of parts without a PRR")
        results.append(result)

    def _close(self, place: Place) -> None:
        """Forget a part of which no PRR came."""
        results = self._open.pop(place, [])
        self._held -= len(results)
        self.lot.without_part += sum(len(result.values) for result in results)

    def _part(self, fields: dict[str, Any]) -> Part:
        results = self._open.pop(_place(fields), [])
        self._held -= len(results)
        wafer = self._wafer_of(fields["HEAD_NUM"])
        part = Part(self.lot.parts, wafer.parts, wafer, fields, results)
        if part.number >= PARTS_MAX:
            raise TooMuchError(f"more than {PARTS_MAX:,} parts")
        self.lot.parts += 1
        wafer.parts += 1
        self.lot.good += part.passed is True
        self.lot.hard_bins[fields["HARD_BIN"]] += 1
        return part

    def _wafer_of(self, head: int) -> Wafer:
        wafer = self._wafers.get(head) or self._wafers.get(_ALL_HEADS)
        if wafer is None:
            header = self.lot.header
            wafer = self._whole or self._new_wafer("", header.get("START_T") or header.get("SETUP_T") or 0)
            self._whole = wafer
        return wafer

    def _new_wafer(self, name: str, start: int) -> Wafer:
        wafer = Wafer(len(self.lot.wafers), name, start)
        self.lot.wafers.append(wafer)
        return wafer

    def _wafer(self, name: str, fields: dict[str, Any]) -> None:
        head = fields["HEAD_NUM"]
        if name == "WIR":
            start = fields["START_T"] or self.lot.header.get("START_T") or 0
            self._wafers[head] = self._new_wafer(fields["WAFER_ID"] or f"wafer {len(self.lot.wafers) + 1}", start)
        elif (wafer := self._wafers.pop(head, None)) is not None:
            wafer.finish = fields["FINISH_T"]
            wafer.name = fields["WAFER_ID"] or wafer.name  # the one of WRR supersedes that of WIR


def _place(fields: dict[str, Any]) -> Place:
    return fields["HEAD_NUM"], fields["SITE_NUM"]


_Tested = dict[
    tuple[int, str | tuple[int, int]], list[tuple[int, bool]]
]  # (wafer, PART_ID or die) → (part, passed) of each


def surveyed(stream: BinaryIO) -> Lot:
    """Read all of a file; return what it says. What is wrong with it stands in `error`: the lot is what was read before it."""
    reader = LotReader(stream)
    lot = reader.lot
    tested: _Tested = {}
    try:
        for part in reader:
            _count(lot, part)
            _supersede(lot, part, tested)
    except StdfError as error:
        lot.error = error
    except TooMuchError as error:
        lot.error = StdfError(reader.reader.offset, reader.reader.records, str(error))
    return lot


def _count(lot: Lot, part: Part) -> None:
    for result in part.results:
        lot.results += len(result.values)
        if result.missing:
            lot.missing[result.missing] += result.values.count(None)
    part.wafer.standing += 1
    part.wafer.good += part.passed is True


def _supersede(lot: Lot, part: Part, tested: _Tested) -> None:
    """Note what a part that is tested again supersedes: all before it with its PART_ID, or at its place, on its wafer."""
    flags = part.fields["PART_FLG"]
    keys: dict[int, str | tuple[int, int] | None] = {_SAME_ID: part.fields["PART_ID"], _SAME_PLACE: part.die}
    for bit, key in keys.items():
        if key is None:
            continue
        before = tested.setdefault((part.wafer.number, key), [])
        if flags & bit:
            for number, passed in before:
                if number not in lot.superseded and number != part.number:
                    lot.superseded.add(number)
                    part.wafer.standing -= 1
                    part.wafer.good -= passed
            before.clear()
        before.append((part.number, part.passed is True))
