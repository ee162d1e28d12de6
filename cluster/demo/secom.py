"""SECOM as measurements: each sensor of each wafer is one record, in time order.

The data names no tools and has no specification limits. Made up here, and labelled so wherever it is shown (`NOTES`): the tool,
the recipe, wafer numbers, subgroups of 5 wafers, and specification limits at 5 standard deviations around the mean of the first
50 wafers. Sensors that never change get none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import pandas as pd

TOOL = "DEMO-TOOL-1"
RECIPE = "SECOM"
SUBGROUP_WAFERS = 5
SPEC_WAFERS = 50  # the first wafers, from which the made-up specification limits come
SPEC_SIGMAS = 5.0

NOTES = (
    "SECOM, a real semiconductor line (McCann and Johnston 2008, UCI Machine Learning Repository no. 179, CC BY 4.0).",
    f"Made up by the demo, not in the data: the tool name {TOOL}, the recipe name, wafer numbers, subgroups of "
    f"{SUBGROUP_WAFERS} wafers, and specification limits ({SPEC_SIGMAS:g} standard deviations around the mean of the first "
    f"{SPEC_WAFERS} wafers).",
)


@dataclass(frozen=True)
class Line:
    """The whole data set as arrays; W wafers, C sensors."""

    time_ms: np.ndarray  # (W,) int64, UTC
    sensors: tuple[str, ...]  # C names
    value: np.ndarray  # (W, C) float64, NaN = missing
    lsl: np.ndarray  # (C,) float64, made up; NaN = none
    usl: np.ndarray  # (C,) float64
    target: np.ndarray  # (C,) float64

    @property
    def span_ms(self) -> int:
        """Return how much event time one pass takes."""
        return int(self.time_ms[-1] - self.time_ms[0]) + 60_000


def load() -> Line:
    """Read the data that ships with the project."""
    with as_file(files("cluster.demo") / "data" / "secom.parquet") as path:
        frame = pd.read_parquet(path)
    sensors = tuple(name for name in frame.columns if name.startswith("f") and name[1:].isdigit())
    value = frame[list(sensors)].to_numpy(np.float64)
    lsl, usl, target = made_up_limits(value[:SPEC_WAFERS])
    time_ms = frame["time"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    return Line(time_ms, sensors, value, lsl, usl, target)


def made_up_limits(value: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return LSL, USL and target (each (C,)) from the first wafers' values (W, C); NaN for a sensor that does not vary."""
    seen = np.isfinite(value).sum(axis=0)
    filled = np.nan_to_num(value)
    mean = np.divide(filled.sum(axis=0), seen, out=np.full(value.shape[1], np.nan), where=seen > 0)
    squares = np.where(np.isfinite(value), (value - mean) ** 2, 0.0).sum(axis=0)
    sigma = np.sqrt(np.divide(squares, seen - 1, out=np.full(value.shape[1], np.nan), where=seen > 1))
    varies = sigma > 0
    mean, sigma = np.where(varies, mean, np.nan), np.where(varies, sigma, np.nan)
    return mean - SPEC_SIGMAS * sigma, mean + SPEC_SIGMAS * sigma, mean


def wafer_name(number: int) -> str:
    """Return what the demo calls a wafer, counted from 0."""
    return f"W{number + 1:05d}"


def wafers(line: Line, *, passes: int = 1) -> Iterator[list[dict[str, Any]]]:
    """Yield the measurements of one wafer after the other; a further pass goes on in event time and wafer numbers."""
    limits = [
        {name: None if np.isnan(limit) else limit for name, limit in zip(("lsl", "usl", "target"), row, strict=True)}
        for row in zip(line.lsl.tolist(), line.usl.tolist(), line.target.tolist(), strict=True)
    ]
    for number in range(passes * len(line.time_ms)):
        turn, row = divmod(number, len(line.time_ms))
        common = {
            "timestamp": int(line.time_ms[row]) + turn * line.span_ms,
            "equipment": TOOL,
            "chamber": "",
            "recipe": RECIPE,
            "operation": "",
            "lot": None,
            "wafer": wafer_name(number),
            "site": None,
            "subgroup": f"G{number // SUBGROUP_WAFERS + 1:05d}",
            "unit": "",
            "metadata": {},
        }
        yield [
            {
                **common,
                "event_id": f"secom-{number + 1}-{sensor}",
                "characteristic": sensor,
                "value": None if value != value else value,  # noqa: PLR0124 - NaN is missing
                **limit,
            }
            for sensor, value, limit in zip(line.sensors, line.value[row].tolist(), limits, strict=True)
        ]
