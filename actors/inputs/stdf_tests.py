"""Results of parametric tests (PTR, MPR) with what the first record of their test gave for all of them.

Rules, from the STDF V4 specification's pages of PTR and MPR:
1. From OPT_FLAG on, the first record of a test number gives defaults; a later one that has a field overrides it for itself only.
2. OPT_FLAG: bit 0 RES_SCAL is the default's; 2, 3 there is no LO_SPEC, HI_SPEC; 4, 5 LO_LIMIT, HI_LIMIT are the default's; 6, 7
   there is no LO_LIMIT, HI_LIMIT. A field that the record's end leaves out is the default's too.
3. A result is of use only if TEST_FLG says no alarm (bit 0), valid (1), reliable (2), no timeout (3), executed (4), not aborted
   (5), and PARM_FLG no scale error (0), no drift (1), no oscillation (2). Of a test that was not executed there is none at all.
4. RESULT and the limits are in the base unit UNITS, whatever the scales: 10**RES_SCAL is how a person is shown them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

_NOT_EXECUTED = 1 << 4
_TEST_FLAGS = {0: "alarm", 1: "not valid", 2: "unreliable", 3: "timeout", 5: "aborted"}
_PARAMETRIC_FLAGS = {0: "scale error", 1: "drift", 2: "oscillation"}
_NO_LO_SPEC, _NO_HI_SPEC, _DEFAULT_LO, _DEFAULT_HI, _NO_LO, _NO_HI = (1 << bit for bit in range(2, 8))
_DEFAULT_SCALE = 1
TESTS_MAX = 200_000  # test numbers of a file

# UCUM's code of what testers call a base unit, in any case of letters; others stay as they are
_UNITS = {
    "v": "V", "volt": "V", "volts": "V", "a": "A", "amp": "A", "amps": "A", "hz": "Hz", "ohm": "Ohm", "ohms": "Ohm", "db": "dB",
    "s": "s", "sec": "s", "f": "F", "farad": "F", "farads": "F", "h": "H", "w": "W", "watt": "W", "watts": "W", "c": "Cel",
    "degc": "Cel",
}  # fmt: skip
_PERCENT_SCALE = 2


class TooMuchError(ValueError):
    """A file has more of something than is kept of it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one PTR or MPR says; `values` has one number, or as many as the MPR has results. None = missing."""

    test: int  # TEST_NUM
    name: str  # TEST_TXT, or that of the test's first record
    values: tuple[float | None, ...]
    pins: tuple[int, ...]  # PMR indexes of the results of an MPR; () = none are told, or it is no MPR
    many: bool  # an MPR
    missing: str  # why no value is of use; "" where they are
    raw: tuple[float, ...]  # as written, of use or not
    failed: bool | None  # by the tester; None = it does not say
    unit: str  # UCUM where known
    lo: float | None  # test limits, in the base unit
    hi: float | None
    lo_spec: float | None  # specification limits, in the base unit
    hi_spec: float | None
    scale: int  # 10**scale times a value is how a person is shown it


@dataclass(frozen=True, slots=True)
class _Default:
    name: str
    lo: float | None
    hi: float | None
    lo_spec: float | None
    hi_spec: float | None
    scale: int
    units: str
    pins: tuple[int, ...]


_NONE = _Default("", None, None, None, None, 0, "", ())


class TestDefaults:
    """Reads PTRs and MPRs in the order of the file."""

    __test__ = False

    def __init__(self) -> None:
        self._first: dict[tuple[str, int], _Default] = {}

    def read(self, record: str, fields: dict[str, Any]) -> Result | None:
        """Return what a PTR or MPR says; None if its test was not executed. Raises TooMuchError."""
        key = (record, fields["TEST_NUM"])
        first = self._first.get(key)
        said = _filled(fields, first or _NONE)
        if first is None:
            if len(self._first) >= TESTS_MAX:
                raise TooMuchError(f"more than {TESTS_MAX:,} test numbers")
            self._first[key] = said
        flags, parametric = fields["TEST_FLG"], fields["PARM_FLG"]
        if flags & _NOT_EXECUTED:
            return None
        many = record == "MPR"
        raw = fields["RTN_RSLT"] or () if many else () if fields["RESULT"] is None else (fields["RESULT"],)
        missing = ", ".join(
            [
                *(why for bit, why in _TEST_FLAGS.items() if flags >> bit & 1),
                *(why for bit, why in _PARAMETRIC_FLAGS.items() if parametric >> bit & 1),
            ]
        )
        values = tuple(None if missing else _finite(value) for value in raw) or (None,)
        if not missing and None in values:
            missing = "not a finite number" if raw else "no result"
        return Result(
            test=key[1],
            name=said.name,
            values=values,
            pins=said.pins if many and len(said.pins) == len(values) else (),
            many=many,
            missing=missing,
            raw=raw,
            failed=None if flags & 0x40 else bool(flags & 0x80),
            unit=unit_of(said.units, said.scale),
            lo=said.lo,
            hi=said.hi,
            lo_spec=said.lo_spec,
            hi_spec=said.hi_spec,
            scale=said.scale,
        )


def _filled(fields: dict[str, Any], default: _Default) -> _Default:
    """Return what holds for one record: what it says, and where it is silent the default."""
    flags = fields["OPT_FLAG"] or 0
    scale, units, pins = fields["RES_SCAL"], fields["UNITS"], fields.get("RTN_INDX")
    return _Default(
        name=" ".join((fields["TEST_TXT"] or default.name).split()),
        lo=_limit(fields["LO_LIMIT"], default.lo, flags & _DEFAULT_LO, flags & _NO_LO),
        hi=_limit(fields["HI_LIMIT"], default.hi, flags & _DEFAULT_HI, flags & _NO_HI),
        lo_spec=_limit(fields["LO_SPEC"], default.lo_spec, 0, flags & _NO_LO_SPEC),
        hi_spec=_limit(fields["HI_SPEC"], default.hi_spec, 0, flags & _NO_HI_SPEC),
        scale=default.scale if scale is None or flags & _DEFAULT_SCALE else scale,
        units=default.units if units is None else units,
        pins=default.pins if pins is None else pins,
    )


def _limit(said: float | None, default: float | None, is_default: int, is_none: int) -> float | None:
    if is_none:
        return None
    return default if is_default or said is None else _finite(said)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def unit_of(units: str, scale: int) -> str:
    """Return the UCUM code of a base unit. What is shown as per cent is written as a share of 1.

    >>> unit_of("v", 3), unit_of("%", 2), unit_of("LSB", 0)
    ('V', '1', 'LSB')
    """
    units = units.strip()
    if units == "%" and scale == _PERCENT_SCALE:
        return "1"
    return _UNITS.get(units.lower(), units)
