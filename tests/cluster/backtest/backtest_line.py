"""A line whose topic has shifts in it, which are known: for backtests by the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner, Result

from cluster.cli import app
from cluster.local.stack import Endpoints
from tests.integration.line import TestLine, series_of, wait_for

ROWS = 1_500  # of each partition
SHIFT = 300  # rows of a series between the begin of one shift and of the next
SHIFTED = 30  # rows that each lasts
MINUTE = 60_000
BEGIN = 1_700_000_000_000


class BacktestLine(TestLine):
    """Three series in each of two partitions, a row of each a minute; two of them shift now and then."""

    def __init__(self, endpoints: Endpoints) -> None:
        super().__init__(endpoints)
        random = np.random.default_rng(3)
        for partition in range(self.partitions):
            rows = []
            for n in range(ROWS):
                name, at = f"s{partition}{n % 3}", n // 3
                value = float(random.normal(10, 1)) + (6.0 if self.shifted(name, at) else 0.0)
                rows.append(self.measurement(name, value, n, timestamp=BEGIN + at * MINUTE, lot=f"L{at // 50}"))
            self.write(partition, rows)

    @staticmethod
    def shifted(name: str, at: int) -> bool:
        return name.endswith(("0", "1")) and at >= 100 and at % SHIFT < SHIFTED

    def labels(self, path: Path) -> Path:
        """Write what is known: a label for each shift, and one that has no row."""
        lines = ["series,from,to,kind"]
        begin, end = BEGIN + SHIFT * MINUTE, BEGIN + (SHIFT + SHIFTED) * MINUTE
        lines += [f"{series_of(name)},{begin},{end},shift" for name in ("s00", "s01", "s10", "s11")]
        lines.append(f"{series_of('none')},,,drift")
        path.write_text("\n".join(lines) + "\n")
        return path


def run(line: TestLine, *arguments: object) -> Result:
    """Run the command on the line's topic."""
    given = ["backtest", *map(str, arguments)]
    if "--topic" not in given:
        given += ["--topic", line.input]
    return CliRunner().invoke(app, given, env=where(line))


def where(line: TestLine) -> dict[str, str]:
    """Return the settings that say where the line is."""
    return {
        "CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS": line.endpoints.bootstrap_servers,
        "CHIPQUALITY_REGISTRY__URL": line.endpoints.registry_url,
    }


@contextmanager
def under_way(line: TestLine, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own that judges both partitions; it is ended with all that it has started."""
    program = [sys.executable, "-c", "from cluster.cli import main; main()"]
    command = [*program, "backtest", *arguments, "--topic", line.input]
    process = subprocess.Popen(
        command, env=os.environ | where(line), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        wait_for(lambda: len(list(Path().glob("backtest.part/verdicts/*"))) == 2, "both partitions are under way", 40)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def said(result: Result) -> dict[str, Any]:
    """Return what it prints as JSON."""
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found
