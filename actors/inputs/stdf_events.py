"""What the parts of an STDF file become: measurements of their results, and one inspection of each wafer with all its parts.

| STDF | here |
|---|---|
| NODE_NAM (else TSTR_TYP); head.site; JOB_NAM; TEST_COD | equipment; chamber; recipe; operation |
| TEST_NUM TEST_TXT, of an MPR with pins also @pin | characteristic |
| LOT_ID; WAFER_ID; X_COORD,Y_COORD (else PART_ID) | lot; wafer; site |
| RESULT, LO_LIMIT, HI_LIMIT, in UNITS | value, lsl, usl, in UCUM's unit; LO_SPEC and HI_SPEC if that is asked for |
| a PRR | QUALITY_ASSESSED (score 1 passed; 0 failed, with a defect HARD_BIN_n at the die), or INSPECTION_FAILED: not judged |
| WIR, WRR | INSPECTION_STARTED; INSPECTION_COMPLETED with the yield as its score |

STDF has no time of a part. It has those of its wafer's first and last, between which parts are spread evenly; without an end they
all have the beginning's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, BinaryIO, Literal

from actors.inputs.found import Found, texts, with_id
from actors.inputs.opened import InputError
from actors.inputs.stdf_lot import NO_BIN, Lot, LotReader, Part, Wafer
from actors.inputs.stdf_tests import Result, TooMuchError
from schemas.stdf import StdfError

FIELDS = ("equipment", "chamber", "recipe", "operation", "lot", "wafer")  # that a user may name otherwise
_SEVERITY = "MAJOR"  # of what fails at the end of its test


@dataclass(frozen=True, slots=True)
class StdfOptions:
    """How a file is read."""

    zone: tzinfo = UTC  # of the tester's clock: STDF has local time
    given: Mapping[str, str] = field(default_factory=dict)  # of FIELDS, instead of what the file says
    retests: Literal["last", "all"] = "last"  # of a part that was tested again, which tests count
    limits: Literal["test", "spec"] = "test"  # what lsl and usl are: LO_LIMIT and HI_LIMIT, or LO_SPEC and HI_SPEC


class StdfEvents:
    """The events of a file that was surveyed. Iterate with the file opened again.

    Raises InputError for a file without a time.
    """

    def __init__(self, lot: Lot, options: StdfOptions) -> None:
        self._lot, self._options = lot, options
        header = lot.header
        self._common: dict[str, Any] = {
            "equipment": header.get("NODE_NAM") or header.get("TSTR_TYP") or "",
            "recipe": header.get("JOB_NAM") or "",
            "operation": header.get("TEST_COD") or "",
            "lot": header.get("LOT_ID"),
        } | {name: value for name, value in options.given.items() if name not in ("chamber", "wafer")}
        if any(not wafer.start for wafer in lot.wafers):
            raise InputError("neither WIR nor MIR says when the first part was tested: START_T is 0")

    def read(self, stream: BinaryIO) -> Iterator[Found]:
        """Yield the events in the order of the file, up to where the survey found it wrong."""
        begun: set[int] = set()
        try:
            for part in LotReader(stream):
                if part.number in self._lot.superseded and self._options.retests == "last":
                    continue
                wafer = self._lot.wafers[part.wafer.number]
                if wafer.number not in begun:
                    begun.add(wafer.number)
                    yield self._started(wafer)
                yield from self._measured(part, wafer)
                yield self._assessed(part, wafer)
        except (StdfError, TooMuchError):
            if self._lot.error is None:
                raise
        for wafer in self._lot.wafers:
            if wafer.number in begun and wafer.finish:
                yield self._completed(wafer)

    # ---- measurements

    def _measured(self, part: Part, wafer: Wafer) -> Iterator[Found]:
        fields = part.fields
        common = {
            **self._common,
            "timestamp": self._time_ms(wafer, part.number_on_wafer),
            "chamber": self._options.given.get("chamber", f"{fields['HEAD_NUM']}.{fields['SITE_NUM']}"),
            "wafer": self._wafer_name(wafer),
            "site": _die(part) or part.name,
        }
        metadata = self._part_metadata(part)
        for number, result in enumerate(part.results):
            spec = self._options.limits == "spec"
            said = {
                **common,
                "unit": result.unit,
                "lsl": result.lo_spec if spec else result.lo,
                "usl": result.hi_spec if spec else result.hi,
                "metadata": metadata | _result_metadata(result),
            }
            place = f"part {part.number} result {number}"
            name = f"{result.test} {result.name}".rstrip()
            if result.many and not result.pins:
                samples = {"characteristic": name, "period_us": 0, "values": list(result.values)}
                yield with_id("measurement", place, said | samples)
                continue
            for i, value in enumerate(result.values):
                pin = f" @{self._pin(result.pins[i])}" if result.pins else ""
                yield with_id("measurement", f"{place} {i}", said | {"characteristic": name + pin, "value": value})

    def _pin(self, index: int) -> str:
        return self._lot.pins.get(index) or str(index)

    # ---- inspections

    def _started(self, wafer: Wafer) -> Found:
        said = self._inspection(wafer, "INSPECTION_STARTED", "IN_PROGRESS", self._time_ms(wafer, 0))
        return with_id("inspection", f"wafer {wafer.number} started", said)

    def _completed(self, wafer: Wafer) -> Found:
        said = self._inspection(wafer, "INSPECTION_COMPLETED", "COMPLETED", self._utc_ms(wafer.finish))
        said["quality_score"] = wafer.good / wafer.standing if wafer.standing else None
        said["metadata"] |= {"parts": str(wafer.standing), "good": str(wafer.good)}
        return with_id("inspection", f"wafer {wafer.number} completed", said)

    def _assessed(self, part: Part, wafer: Wafer) -> Found:
        when = self._time_ms(wafer, part.number_on_wafer)
        if part.passed is None:
            kind, status = "INSPECTION_FAILED", "ABORTED" if part.abnormal else "NOT_JUDGED"
        else:
            kind, status = "QUALITY_ASSESSED", "PASSED" if part.passed else "FAILED"
        said = self._inspection(wafer, kind, status, when)
        said |= {"chip_id": part.name, "quality_score": None if part.passed is None else float(part.passed)}
        said["metadata"] |= self._part_metadata(part) | texts(
            {
                "head": part.fields["HEAD_NUM"],
                "tester_site": part.fields["SITE_NUM"],
                "tests": part.fields["NUM_TEST"],
                "test_ms": part.fields["TEST_T"] or None,
                "part_text": part.fields["PART_TXT"],
                "abnormal": "yes" if part.abnormal else None,
            }
        )
        if part.passed is False:
            name = f"HARD_BIN_{part.fields['HARD_BIN']}"
            said["defects"] = [
                {"defect_type": name, "severity": _SEVERITY, "confidence": 1.0, "location": _die(part) or part.name}
            ]
        return with_id("inspection", f"part {part.number}", said)

    def _inspection(self, wafer: Wafer, kind: str, status: str, when_ms: int) -> dict[str, Any]:
        lot, name, operation = self._common["lot"] or "", self._wafer_name(wafer) or "", self._common["operation"]
        begun = datetime.fromtimestamp(self._utc_ms(wafer.start) / 1000, UTC)
        return {
            "event_type": kind,
            "timestamp": when_ms,
            "inspection_id": ":".join((lot, name, operation, f"{begun:%Y%m%dT%H%M%SZ}")).replace(
                "/", "_"
            ),  # part of a path
            "batch_id": lot,
            "chip_id": name,
            "inspection_type": "WAFER_SORT" if wafer.name else "FINAL_TEST",
            "status": status,
            "quality_score": None,
            "defects": [],
            "metadata": texts(
                {
                    "lot": lot,
                    "wafer": name,
                    "sublot": self._lot.header.get("SBLOT_ID"),
                    "product": self._lot.header.get("PART_TYP"),
                    "equipment": self._common["equipment"],
                    "program": " ".join(filter(None, (self._lot.header.get(f) for f in ("JOB_NAM", "JOB_REV")))),
                    "temperature": self._lot.header.get("TST_TEMP"),
                }
            ),
        }

    def _part_metadata(self, part: Part) -> dict[str, str]:
        hard, soft = part.fields["HARD_BIN"], part.fields["SOFT_BIN"]
        x, y = part.die or (None, None)
        return texts(
            {
                "part": part.name,
                "x": x,
                "y": y,
                "hard_bin": hard,
                "hard_bin_name": self._lot.bins.get(hard),
                "soft_bin": None if soft == NO_BIN else soft,
                "superseded": "yes" if part.number in self._lot.superseded else None,
            }
        )

    def _wafer_name(self, wafer: Wafer) -> str | None:
        return self._options.given.get("wafer", wafer.name) or None

    # ---- time

    def _time_ms(self, wafer: Wafer, number: int) -> int:
        """Return when a wafer's part of this number was tested, as far as the file tells it."""
        begun = self._utc_ms(wafer.start)
        if wafer.finish <= wafer.start:
            return begun
        return begun + (1000 * (wafer.finish - wafer.start) * number) // max(1, wafer.parts)

    def _utc_ms(self, local_s: int) -> int:
        """Return milliseconds since 1970 UTC of what a clock of the tester's zone calls so many seconds since 1970."""
        clock = datetime.fromtimestamp(local_s, UTC).replace(tzinfo=self._options.zone)
        return int(clock.timestamp()) * 1000


def _die(part: Part) -> str:
    return "" if part.die is None else "die {},{}".format(*part.die)


def _result_metadata(result: Result) -> dict[str, str]:
    return texts(
        {
            "failed": "yes" if result.failed else None,
            "missing": result.missing,
            "as_written": " ".join(map(repr, result.raw)) if result.missing and not result.many else None,
            "scale": result.scale or None,
        }
    )
