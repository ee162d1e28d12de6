"""STDF files for tests, as lists of records."""

from __future__ import annotations

import io
from typing import Any

from actors.inputs.found import Checks, Found
from actors.inputs.stdf_events import StdfEvents, StdfOptions
from actors.inputs.stdf_lot import Lot, surveyed
from schemas.stdf.layouts import Order
from tests.schemas.stdf_writer import far, record

HERE = {"HEAD_NUM": 1, "SITE_NUM": 0}


class File:
    """An STDF file that is being written."""

    def __init__(self, order: Order = "<", **header: Any) -> None:
        self.order = order
        self.records = [far(order)]
        said = {"SETUP_T": 900, "START_T": 1_000, "STAT_NUM": 1, "LOT_ID": "L1", "NODE_NAM": "T9", "JOB_NAM": "prog"}
        self.add("MIR", **said | {"TEST_COD": "WS1"} | header)

    def add(self, name: str, **fields: Any) -> File:
        self.records.append(record(name, self.order, **fields))
        return self

    def wafer(self, name: str = "W1", start: int = 1_000) -> File:
        return self.add("WIR", HEAD_NUM=1, SITE_GRP=255, START_T=start, WAFER_ID=name)

    def wafer_ends(self, finish: int = 2_000, **fields: Any) -> File:
        return self.add("WRR", HEAD_NUM=1, SITE_GRP=255, FINISH_T=finish, PART_CNT=0, **fields)

    def ptr(
        self, test: int, result: float | None, site: int = 0, flags: int = 0, parametric: int = 0, **f: Any
    ) -> File:
        common = {"HEAD_NUM": 1, "SITE_NUM": site, "TEST_NUM": test, "TEST_FLG": flags, "PARM_FLG": parametric}
        return self.add("PTR", **common, RESULT=result, **f)

    def part(self, *results: tuple[int, float], site: int = 0, **prr: Any) -> File:
        """Add a part with results of tests that have their defaults already."""
        self.add("PIR", HEAD_NUM=1, SITE_NUM=site)
        for test, result in results:
            self.ptr(test, result, site)
        return self.prr(site, **prr)

    def prr(self, site: int = 0, **fields: Any) -> File:
        common = {"HEAD_NUM": 1, "SITE_NUM": site, "PART_FLG": 0, "NUM_TEST": 1, "HARD_BIN": 1, "SOFT_BIN": 65_535}
        return self.add("PRR", **common | {"X_COORD": -32_768, "Y_COORD": -32_768} | fields)

    def bytes(self, *, whole: bool = True) -> bytes:
        end = [record("MRR", self.order, FINISH_T=3_000)] if whole else []
        return b"".join([*self.records, *end])

    def lot(self) -> Lot:
        found = surveyed(io.BytesIO(self.bytes()))
        assert found.error is None, found.error
        return found

    def events(self, **options: Any) -> list[Found]:
        """Return the events, each checked as publishing would."""
        return events_of(self.bytes(), **options)

    def measured(self, **options: Any) -> list[dict[str, Any]]:
        return [found.event for found in self.events(**options) if found.kind == "measurement"]

    def inspected(self, **options: Any) -> list[dict[str, Any]]:
        return [found.event for found in self.events(**options) if found.kind == "inspection"]


def events_of(content: bytes, **options: Any) -> list[Found]:
    lot, checks = surveyed(io.BytesIO(content)), Checks()
    found = list(StdfEvents(lot, StdfOptions(**options)).read(io.BytesIO(content)))
    for one in found:
        checks.check(one)
    return found
