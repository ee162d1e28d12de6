"""The kinds of operations that there are, and which of them may be run again after their process has ended.

A redrive may: what was redriven is known in Kafka. A replay may: its pipeline goes on without its operation, from its state. The
others are over in a moment, and somebody may have done something else since: those are asked for again.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cluster.operations.delete import run_delete
from cluster.operations.redrive import run_redrive
from cluster.operations.replay import run_replay
from cluster.operations.reset import run_reset
from cluster.operations.running import Kind
from cluster.operations.scale import run_scale

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "replay": Kind(run_replay, resumes=True),
        "redrive": Kind(run_redrive, resumes=True),
        "reset": Kind(run_reset),
        "delete": Kind(run_delete),
        "scale": Kind(run_scale),
    }
)
