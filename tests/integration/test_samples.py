"""Records of many samples on the real broker: judged as the same values one by one, through a crash, in bounded steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from actors.producers import Context, MeasurementPublisher, Publisher
from cluster.local.stack import Endpoints
from schemas.encode import Encoder
from schemas.topics import MEASUREMENTS, schema_text
from tests.actors.publisher_support import read
from tests.fixtures_stack import prepared
from tests.integration.line import TestLine, same_as_undisturbed, wait_for
from tests.integration.test_slot import owner, run_to_end, step_until

ROWS_MAX = 400  # of a step
LONGEST = 150  # samples of a record


@pytest.fixture
def line(stack: Endpoints) -> TestLine:
    return TestLine(stack, partitions=1, settings={"step_samples_max": ROWS_MAX, "snapshot_interval_ms": 600_000})


def array(line: TestLine, series: str, values: list[float | None], n: int, **further: Any) -> bytes:
    """Return a record of samples, a millisecond apart, otherwise as `line.measurement` has it."""
    schema_id = line.registry.register(f"{line.input}-array", schema_text("measurement_array"))
    return Encoder("measurement_array", schema_id).encode(
        {
            "event_id": f"e{n}", "timestamp": 1_700_000_000_000 + n, "period_us": 1_000, "equipment": "E1", "chamber": "A",
            "recipe": "R", "operation": "10", "characteristic": series, "lot": "L1", "wafer": f"W{n}", "values": values,
            "unit": "nm", "lsl": 0.0, "usl": 20.0, "target": 10.0, **further,
        }
    )  # fmt: skip


def runs(seed: int, records: int) -> list[list[float | None]]:
    """Return values, some excursions and some missing, of records of 1 to LONGEST samples."""
    random = np.random.default_rng(seed)
    made: list[list[float | None]] = []
    for _ in range(records):
        value = random.normal(10, 1, int(random.integers(1, LONGEST)))
        value[random.random(len(value)) < 0.02] += 8
        made.append([None if random.random() < 0.05 else float(x) for x in value])
    return made


def test_samples_are_judged_as_the_same_values_one_by_one(line: TestLine, stack: Endpoints) -> None:
    values = runs(3, 60)
    line.write(0, [array(line, f"s{n % 3}", of_one, n) for n, of_one in enumerate(values)])
    line.write(0, [line.measurement("s0", 10.5, 60), array(line, "s1", [10.0, np.inf], 61), array(line, "s2", [], 62)])
    slot = line.slot()
    slot.open()
    step_until(slot, 30)
    slot.abandon()  # as a killed process leaves it: no snapshot, the last commit perhaps in flight
    with owner(line) as loop:
        line.wait_done()
        status = loop.status()
    total = sum(map(len, values)) + 1
    missing = sum(value is None for of_one in values for value in of_one)
    assert (status["records"] + status["dead_lettered"] + status["replayed"], status["dead_lettered"]) == (63, 2)
    letters = {letter["offset"]: letter["reason"] for letter in line.events(line.topics.dead_letters)}
    assert letters == {61: "not_finite", 62: "wrong_samples"}
    verdicts = line.verdicts()
    single = TestLine(stack, partitions=1)  # the same values, each in a record of its own
    flat = [(n, value) for n, of_one in enumerate(values) for value in of_one] + [(60, 10.5)]
    single.write(0, [single.measurement(f"s{n % 3}", value, n) for n, value in flat])
    run_to_end(single)
    expected = single.verdicts()
    places = [(n, k) if k else n for n, of_one in enumerate(values) for k in range(len(of_one))] + [60]
    assert len(places) == total
    names = {name for _, _, name in expected}
    assert verdicts == {(0, place, name): expected[0, at, name] for at, place in enumerate(places) for name in names}
    said = [row[2] for (_, _, name), row in verdicts.items() if name == "spc.individuals"]
    assert sum(np.isnan(np.frombuffer(value)[0]) for value in said) == missing
    opened = [
        (alert["rule"], alert["series"], alert["state"], alert["rows"]) for alert in line.events(line.topics.alerts)
    ]
    alone = [
        (alert["rule"], alert["series"], alert["state"], alert["rows"]) for alert in single.events(single.topics.alerts)
    ]
    assert sorted(opened) == sorted(alone)
    ids = [(alert["alert_id"], alert["state"]) for alert in line.events(line.topics.alerts)]
    assert len(set(ids)) == len(ids) > 10
    assert any(alert["opened_sample"] for alert in line.events(line.topics.alerts))


def test_the_cut_into_steps_does_not_matter(line: TestLine) -> None:
    line.write(0, [array(line, f"s{n % 3}", of_one, n) for n, of_one in enumerate(runs(5, 40))])
    run_to_end(line)
    line.settings["step_samples_max"] = 10_000
    same_as_undisturbed(line, run_to_end)


def test_what_is_published_is_judged_beside_single_measurements(stack: Endpoints, line: TestLine) -> None:
    """Through the typed publisher to fab.measurements, and from there as it stands to the line."""
    prepared(stack)
    with Publisher(stack.bootstrap_servers, line.registry) as publisher:
        measurements = MeasurementPublisher(publisher)
        series = {"equipment": "E1", "chamber": "A", "recipe": "R", "operation": "10", "characteristic": "published"}
        places = [
            measurements.array_measured(
                **series, values=[1.0, None, 3.0], period_us=500, context=Context(timestamp_ms=5)
            ).result(10),
            measurements.measured(**series, value=2.0).result(10),
        ]
    assert places[0][0] == places[1][0]
    messages = [read(stack.bootstrap_servers, MEASUREMENTS, *place)[0] for place in places]
    assert messages[0].key() == messages[1].key()
    line.write(0, [message.value() or b"" for message in messages])
    with owner(line) as loop:
        wait_for(lambda: loop.status().get("records") == 2, "both records")
        assert (loop.status()["rows"], loop.status()["missing"]) == (4, 1)
    offsets = {offset for _, offset, _ in line.verdicts()}
    assert offsets == {0, (0, 1), (0, 2), 1}
