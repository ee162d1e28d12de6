"""What is refused before anything of a pipeline is started in Ray."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors import supervisor
from actors.engine.arrivals import Arrivals
from actors.errors import ConfigError
from models.cusum import Cusum
from tests.actors.engine.test_judge import Hoarder
from tests.simulation import line

PIPELINE = line.pipeline(2, 1, 50, 5_000, Arrivals())


@pytest.mark.parametrize(
    ("detectors", "says"),
    [((Hoarder(kept=40_000),), "test.above@.* the limit is 262,144"), ((Cusum(), Cusum()), "stands twice")],
)
def test_a_family_that_cannot_be_held_is_refused(detectors: tuple[Hoarder | Cusum, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        supervisor.start_pipeline(replace(PIPELINE, families={"good": (Cusum(),), "bad": detectors}))


def test_more_slots_than_partitions_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 slots: a pipeline"):
        supervisor.start_pipeline(PIPELINE, slots=3)
