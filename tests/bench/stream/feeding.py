"""Starting and ending the producer beside a system (feed.py), and hearing what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.bench.stream.systems import System

END_S = 60.0


class Feeding:
    """The producer beside a system: at a rate, or so that the lag stays what it is. A context manager."""

    def __init__(self, system: System, series: int, *, lag: int = 0, rate: int = 0) -> None:
        asked = {
            "bootstrap": system.endpoints.bootstrap_servers,
            "topic": system.line.input,
            "group": system.group,
            "out": system.out,
            "partitions": system.partitions,
            "series": series,
            "schema_id": system.line.encoder.schema_id,
            "lag": lag,
            "rate": rate,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.stream.feed", json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def told(self) -> dict[str, Any]:
        """Return the next line that it prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the producer has ended")
        return dict(json.loads(line))

    def __enter__(self) -> Feeding:
        """It is started already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.communicate("\n", timeout=END_S)
