"""Vectors on the real broker: T² and Q of every row once, contributions in alerts, wrong characteristics in dead letters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from actors.pipeline import Vector
from cluster.local.stack import Endpoints
from models import judge
from models.pca import PcaChart
from models.pca_fit import fit_pca
from schemas.encode import Encoder
from schemas.topics import schema_text
from tests.integration.line import TestLine, same_as_undisturbed
from tests.integration.test_slot import run_to_end, step_until

NAMES = ("pressure", "power", "flow", "bias")


def correlated(rows: int, seed: int) -> np.ndarray:
    """Return (rows, 4): two hidden causes, two columns each."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(rows, 2))
    return hidden[:, [0, 0, 1, 1]] + 0.2 * random.normal(size=(rows, 4))


MODEL = fit_pca(correlated(200, 1), components=2, names=NAMES)


@pytest.fixture
def line(stack: Endpoints) -> TestLine:
    families = {"multivariate": (PcaChart(MODEL),)}
    return TestLine(stack, families=families, settings={"vector": Vector("trace", NAMES)})


def records(line: TestLine, values: np.ndarray, **changed: Any) -> list[bytes]:
    schema_id = line.registry.register(f"{line.input}-vector", schema_text("vector_measurement"))
    encoder = Encoder("vector_measurement", schema_id)
    common = {"event_id": "e", "equipment": "E1", "vector": "trace", "characteristics": list(NAMES)}
    return [
        encoder.encode(
            {**common, "timestamp": n, "values": [None if np.isnan(x) else float(x) for x in row], **changed}
        )
        for n, row in enumerate(values)
    ]


def test_every_vector_is_judged_once_as_in_a_notebook(line: TestLine) -> None:
    values = correlated(60, 2)
    values[10, 1] = np.nan
    values[20] = np.nan
    values[40, 2] += 4.0  # flow and bias come apart
    line.write(0, records(line, values))
    line.write(1, records(line, values[:5], vector="another") + records(line, values[:5]))
    wrong = records(line, values[:1, ::-1], characteristics=list(NAMES[::-1]))
    line.write(1, wrong)
    run_to_end(line)

    expected = judge(PcaChart(MODEL), values)
    verdicts = line.verdicts()
    assert sorted((p, o) for p, o, _ in verdicts) == [(0, o) for o in range(60)] + [(1, o) for o in range(5, 10)]
    for offset in range(60):
        said = verdicts[0, offset, "multivariate.pca"]
        assert said[3:7] == tuple(part[offset].tobytes() for part in expected[:4])
        assert said[7:] == (int(expected.signal[offset]), bool(expected.valid[offset]))
    [letter] = line.events(line.topics.dead_letters)
    assert (letter["offset"], letter["reason"]) == (10, "wrong_characteristics")
    opened = [a for a in line.events(line.topics.alerts) if a["opened_offset"] == 40 and a["state"] == "OPEN"]
    assert [a["rule"] for a in opened] == ["q_beyond_limit"]
    assert opened[0]["detail"].startswith("Q: ")
    assert set(opened[0]["detail"].split()) & {"flow", "bias"}


def test_a_crash_changes_no_verdict_of_a_vector(line: TestLine) -> None:
    line.settings["snapshot_interval_ms"] = 600_000
    line.write(0, records(line, correlated(40, 3)))
    slot = line.slot()
    slot.open()
    step_until(slot, 40)
    slot._settle(block=True)
    slot.abandon()  # as a killed process leaves it: no snapshot since the start
    line.write(0, records(line, correlated(40, 4)))
    run_to_end(line)
    same_as_undisturbed(line, run_to_end)
