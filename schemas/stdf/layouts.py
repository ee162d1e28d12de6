"""Fields of the STDF V4 records that are read, as a table of field codes, and how a record's bytes become them.

Theory of operation
-------------------
A record ends where its header says. Fields that its end leaves out are absent: None. So are texts of length 0, which the
specification calls missing; a text of one zero byte is the empty text. A record that ends inside a field is damaged. What comes
after the last field known here is left alone: V4-2007 appends fields.

Codes: U, I, R unsigned, signed and real numbers with their bytes; B1 a byte of bits; C1 a character; Cn a text of up to 255 bytes
after its length; `R4*RSLT_CNT` as many as that field says; N1 half a byte each. `!` marks the last field that a record must have.

Source: Standard Test Data Format (STDF) Specification, version 4, Teradyne; "Data Type Codes and Representation", "Optional
Fields and Missing/Invalid Data", and the page of each record.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any, Literal, NamedTuple

Order = Literal["<", ">"]  # little-endian, big-endian; as the module struct writes them

_TEST = "TEST_NUM:U4 HEAD_NUM:U1 SITE_NUM:U1 TEST_FLG:B1 PARM_FLG:B1!"
_SCALES = "TEST_TXT:Cn ALARM_ID:Cn OPT_FLAG:B1 RES_SCAL:I1 LLM_SCAL:I1 HLM_SCAL:I1 LO_LIMIT:R4 HI_LIMIT:R4"
_FORMATS = "C_RESFMT:Cn C_LLMFMT:Cn C_HLMFMT:Cn LO_SPEC:R4 HI_SPEC:R4"
_TABLE = f"""
FAR  0 10 CPU_TYPE:U1 STDF_VER:U1!
MIR  1 10 SETUP_T:U4 START_T:U4 STAT_NUM:U1! MODE_COD:C1 RTST_COD:C1 PROT_COD:C1 BURN_TIM:U2 CMOD_COD:C1 LOT_ID:Cn PART_TYP:Cn \
NODE_NAM:Cn TSTR_TYP:Cn JOB_NAM:Cn JOB_REV:Cn SBLOT_ID:Cn OPER_NAM:Cn EXEC_TYP:Cn EXEC_VER:Cn TEST_COD:Cn TST_TEMP:Cn
MRR  1 20 FINISH_T:U4!
HBR  1 40 HEAD_NUM:U1 SITE_NUM:U1 HBIN_NUM:U2! HBIN_CNT:U4 HBIN_PF:C1 HBIN_NAM:Cn
SBR  1 50 HEAD_NUM:U1 SITE_NUM:U1 SBIN_NUM:U2! SBIN_CNT:U4 SBIN_PF:C1 SBIN_NAM:Cn
PMR  1 60 PMR_INDX:U2! CHAN_TYP:U2 CHAN_NAM:Cn PHY_NAM:Cn LOG_NAM:Cn
WIR  2 10 HEAD_NUM:U1 SITE_GRP:U1 START_T:U4! WAFER_ID:Cn
WRR  2 20 HEAD_NUM:U1 SITE_GRP:U1 FINISH_T:U4! PART_CNT:U4 RTST_CNT:U4 ABRT_CNT:U4 GOOD_CNT:U4 FUNC_CNT:U4 WAFER_ID:Cn
PIR  5 10 HEAD_NUM:U1 SITE_NUM:U1!
PRR  5 20 HEAD_NUM:U1 SITE_NUM:U1 PART_FLG:B1 NUM_TEST:U2 HARD_BIN:U2! SOFT_BIN:U2 X_COORD:I2 Y_COORD:I2 TEST_T:U4 PART_ID:Cn \
PART_TXT:Cn
PTR 15 10 {_TEST} RESULT:R4 {_SCALES} UNITS:Cn {_FORMATS}
MPR 15 15 {_TEST} RTN_ICNT:U2 RSLT_CNT:U2 RTN_STAT:N1*RTN_ICNT RTN_RSLT:R4*RSLT_CNT {_SCALES} START_IN:R4 INCR_IN:R4 \
RTN_INDX:U2*RTN_ICNT UNITS:Cn UNITS_IN:Cn {_FORMATS}
"""
# further records of V4 and V4-2007, which are counted and not read
SKIPPED = {
    (0, 20): "ATR", (0, 30): "VUR", (1, 30): "PCR", (1, 62): "PGR", (1, 63): "PLR", (1, 70): "RDR", (1, 80): "SDR",
    (1, 90): "PSR", (1, 91): "NMR", (1, 92): "CNR", (1, 93): "SSR", (1, 94): "CDR", (2, 30): "WCR", (10, 30): "TSR",
    (15, 20): "FTR", (15, 30): "STR", (20, 10): "BPS", (20, 20): "EPS", (50, 10): "GDR", (50, 30): "DTR",
}  # fmt: skip
RESERVED = (180, 181)  # types of Image and IG900 software
CUSTOM_FROM = 200  # types from here on are anybody's

_STRUCT_CODES = {"U1": "B", "U2": "H", "U4": "I", "I1": "b", "I2": "h", "I4": "i", "R4": "f", "R8": "d", "B1": "B"}
_STRUCT_CODES["C1"] = "c"
NO_FIELD = ""


class FieldCutError(ValueError):
    """A record ends inside a field; its name is the argument."""


class Field(NamedTuple):
    """One field: its name, its code, and which field says how many there are."""

    name: str
    code: str
    times: str = NO_FIELD
    must: bool = False  # be there, and all before it


def _parsed(text: str) -> Field:
    name, code = text.split(":")
    code, _, count = code.removesuffix("!").partition("*")
    return Field(name, code, count, text.endswith("!"))


class Layout:
    """The fields of one type of record."""

    def __init__(self, name: str, kind: tuple[int, int], fields: tuple[Field, ...]) -> None:
        self.name, self.kind, self.fields = name, kind, fields
        self._absent: dict[str, Any] = dict.fromkeys(field.name for field in fields)
        self._must = next((field.name for field in fields if field.must), NO_FIELD)
        orders: tuple[Order, Order] = ("<", ">")
        self._steps = {order: _steps(fields, order) for order in orders}

    def read(self, body: bytes, order: Order) -> dict[str, Any]:
        """Return the fields of a record without its header; None = absent. Raises FieldCutError.

        >>> LAYOUTS[5, 10].read(bytes([1, 3]), ">"), LAYOUTS[2, 10].read(bytes([1, 255, 0, 0, 0, 60, 2, 87, 52]), ">")
        ({'HEAD_NUM': 1, 'SITE_NUM': 3}, {'HEAD_NUM': 1, 'SITE_GRP': 255, 'START_T': 60, 'WAFER_ID': 'W4'})
        """
        values = self._absent.copy()
        at, end = 0, len(body)
        for step in self._steps[order]:
            if at == end:
                break
            at = step(body, at, values)
        if self._must and values[self._must] is None:
            raise FieldCutError(self._must)
        return values


class _Fixed:
    """Neighbouring fields of fixed size, unpacked at once."""

    def __init__(self, fields: list[Field], order: Order) -> None:
        self._names = tuple(field.name for field in fields)
        self._texts = tuple(field.name for field in fields if field.code == "C1")
        self._all = struct.Struct(order + "".join(_STRUCT_CODES[field.code] for field in fields))
        self._each = [struct.Struct(order + _STRUCT_CODES[field.code]) for field in fields]

    def __call__(self, body: bytes, at: int, values: dict[str, Any]) -> int:
        if at + self._all.size <= len(body):
            values.update(zip(self._names, self._all.unpack_from(body, at), strict=True))
            at += self._all.size
        else:
            at = self._some(body, at, values)
        for name in self._texts:
            values[name] = None if values[name] is None else _text(values[name])
        return at

    def _some(self, body: bytes, at: int, values: dict[str, Any]) -> int:
        for name, one in zip(self._names, self._each, strict=True):
            if at == len(body):
                break
            if at + one.size > len(body):
                raise FieldCutError(name)
            (values[name],) = one.unpack_from(body, at)
            at += one.size
        return at


class _Text:
    """A text after its length."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, body: bytes, at: int, values: dict[str, Any]) -> int:
        end = at + 1 + body[at]
        if end > len(body):
            raise FieldCutError(self._name)
        values[self._name] = _text(body[at + 1 : end]) if body[at] else None
        return end


class _Array:
    """As many numbers as an earlier field says."""

    def __init__(self, field: Field, order: Order) -> None:
        self._name, self._count, self._halves = field.name, field.times, field.code == "N1"
        self._order, self._code = order, "B" if self._halves else _STRUCT_CODES[field.code]

    def __call__(self, body: bytes, at: int, values: dict[str, Any]) -> int:
        count = values[self._count] or 0
        size = (count + 1) // 2 if self._halves else count
        packed = struct.Struct(f"{self._order}{size}{self._code}")
        if at + packed.size > len(body):
            raise FieldCutError(self._name)
        found = packed.unpack_from(body, at)
        if self._halves:
            found = tuple(half for byte in found for half in (byte & 15, byte >> 4))[:count]
        values[self._name] = found
        return at + packed.size


def _steps(fields: tuple[Field, ...], order: Order) -> list[_Fixed | _Text | _Array]:
    steps: list[_Fixed | _Text | _Array] = []
    run: list[Field] = []
    for field in (*fields, Field("", "Cn")):  # the last one ends the last run
        if field.code in _STRUCT_CODES and not field.times:
            run.append(field)
            continue
        if run:
            steps.append(_Fixed(run, order))
            run = []
        steps.append(_Array(field, order) if field.times else _Text(field.name))
    return steps[:-1]


@lru_cache(maxsize=8_192)  # the same few names and units come with every result
def _text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text.strip("\0")


def _layouts() -> dict[tuple[int, int], Layout]:
    found = {}
    for line in _TABLE.strip().splitlines():
        name, major, minor, *fields = line.split()
        kind = (int(major), int(minor))
        found[kind] = Layout(name, kind, tuple(map(_parsed, fields)))
    return found


LAYOUTS = _layouts()  # by REC_TYP and REC_SUB
