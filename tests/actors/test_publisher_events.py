"""Every event method of every category: published, read back from the broker, decoded, equal."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

import fastavro
import pytest

from actors.producers import (
    Context,
    Defect,
    Delivery,
    EncodeError,
    Inspection,
    InspectionPublisher,
    ManufacturingPublisher,
    MeasurementPublisher,
    MlPublisher,
    Model,
    Publisher,
    QualityPublisher,
    Service,
    SystemPublisher,
    UserPublisher,
)
from actors.producers.category import CategoryPublisher
from schemas.registry import Registry
from schemas.topics import TOPICS, load
from tests.actors.publisher_support import make_topic, read

if TYPE_CHECKING:
    from cluster.local import Endpoints

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CONTEXT = Context(
    event_id="event-1",
    timestamp_ms=1_700_000_000_123,
    correlation_id="flow-9",
    traceparent=TRACE,
    tracestate="vendor=1",
    metadata={"shift": "night"},
)
AOI = Inspection("I-1", "B-7", "C-0042", "AOI")
SCRATCH = Defect("SCRATCH", "MAJOR", 0.93, "x=12.5 y=3.1")
FOUND = [{"defect_type": "SCRATCH", "severity": "MAJOR", "confidence": 0.93, "location": "x=12.5 y=3.1"}]
ETCHER = Service("etcher", instance="host-3", version="2.1")
MODEL = Model("wafer-map", "4")

# (publisher, method, arguments, event type, key, the fields beyond those of the context and the defaults)
Case = tuple[type, str, dict[str, Any], str, str, dict[str, Any]]


def _same(publisher: type, method: str, event_type: str, key: str, /, **fields: Any) -> Case:
    """Describe a method whose arguments are the fields."""
    return publisher, method, fields, event_type, key, fields


def _inspection(method: str, event_type: str, status: str, more: dict[str, Any], fields: dict[str, Any]) -> Case:
    named = {"inspection_id": "I-1", "batch_id": "B-7", "chip_id": "C-0042", "inspection_type": "AOI"}
    return (
        InspectionPublisher,
        method,
        {"inspection": AOI, **more},
        event_type,
        "I-1",
        {**named, "status": status, **fields},
    )


def _system(method: str, event_type: str, more: dict[str, Any], fields: dict[str, Any]) -> Case:
    named = {"service": "etcher", "instance": "host-3", "version": "2.1"}
    return SystemPublisher, method, {"service": ETCHER, **more}, event_type, "etcher", {**named, **fields}


def _ml(method: str, event_type: str, /, **fields: Any) -> Case:
    named = {"model": "wafer-map", "model_version": "4"}
    return MlPublisher, method, {"model": MODEL, **fields}, event_type, "wafer-map", {**named, **fields}


_M, _Q, _U = ManufacturingPublisher, QualityPublisher, UserPublisher
_STEP = {"operation": "4200", "equipment": "ETCH-07", "chamber": "B", "recipe": "POLY_V3", "batch_id": "B-7"}
_ASKED = {
    "action": "detector.deploy",
    "resource": "spc.cusum",
    "role": "admin",
    "session_id": "s1",
    "source_address": "10.0.0.7",
}
_ALERT = {"characteristic": "CD", "lot_id": "L1", "equipment": "ETCH-07"}

CASES: list[Case] = [
    _same(_M, "lot_created", "LOT_CREATED", "L1", lot_id="L1", product="P", route="R", wafer_count=25, operator="mes"),
    _same(_M, "lot_started", "LOT_STARTED", "L1", lot_id="L1", operator="mes"),
    _same(_M, "lot_completed", "LOT_COMPLETED", "L1", lot_id="L1", wafer_count=24, operator="mes"),
    _same(_M, "lot_on_hold", "LOT_ON_HOLD", "L1", lot_id="L1", reason="Cpk", operation="4200", operator="ann"),
    _same(
        _M, "batch_created", "BATCH_CREATED", "L1",
        lot_id="L1", batch_id="B-7", equipment="FURNACE-2", recipe="OX", wafer_count=100, operator="mes",
    ),
    _same(_M, "step_started", "STEP_STARTED", "L1", lot_id="L1", operator="mes", **_STEP),
    _same(_M, "step_completed", "STEP_COMPLETED", "L1", lot_id="L1", wafer_count=25, operator="mes", **_STEP),
    _same(_M, "milestone_reached", "MILESTONE_REACHED", "L1", lot_id="L1", milestone="FEOL_DONE", operation="4200"),
    _inspection("created", "INSPECTION_CREATED", "CREATED", {}, {}),
    _inspection("started", "INSPECTION_STARTED", "IN_PROGRESS", {}, {}),
    _inspection(
        "completed", "INSPECTION_COMPLETED", "COMPLETED",
        {"quality_score": 0.97, "defects": [SCRATCH]}, {"quality_score": 0.97, "defects": FOUND},
    ),
    _inspection("failed", "INSPECTION_FAILED", "NO_FOCUS", {"status": "NO_FOCUS"}, {}),
    _inspection("defect_detected", "DEFECT_DETECTED", "IN_PROGRESS", {"defects": [SCRATCH]}, {"defects": FOUND}),
    _inspection(
        "quality_assessed", "QUALITY_ASSESSED", "ASSESSED",
        {"quality_score": 0.5, "defects": [SCRATCH]}, {"quality_score": 0.5, "defects": FOUND},
    ),
    _same(
        _Q, "threshold_violated", "THRESHOLD_VIOLATED", "S",
        subject="S", metric="yield", value=0.91, threshold=0.95, severity="CRITICAL", **_ALERT,
    ),
    _same(
        _Q, "alert_raised", "ALERT_RAISED", "S",
        subject="S", alert_id="a1", severity="WARNING", reason="Nelson 2", **_ALERT,
    ),
    (
        _Q, "compliance_checked", {"subject": "L1", "standard": "IATF 16949", "passed": False}, "COMPLIANCE_CHECKED",
        "L1", {"subject": "L1", "standard": "IATF 16949", "passed": False, "severity": "CRITICAL"},
    ),
    _same(
        _Q, "compliance_checked", "COMPLIANCE_CHECKED", "L1", subject="L1", standard="IATF 16949", passed=True,
        severity="INFO", reason="audit", lot_id="L1", operator="ann",
    ),
    (
        _Q, "capability_assessed", {"subject": "S", "metric": "Cpk", "value": 1.1, "threshold": 1.33},
        "CAPABILITY_ASSESSED", "S",
        {"subject": "S", "metric": "Cpk", "value": 1.1, "threshold": 1.33, "passed": False, "severity": "WARNING"},
    ),
    (
        _Q, "lot_held", {"lot_id": "L1", "reason": "Cpk", "operator": "ann", "alert_id": "a1"}, "LOT_HELD", "L1",
        {"subject": "L1", "lot_id": "L1", "reason": "Cpk", "operator": "ann", "alert_id": "a1", "severity": "CRITICAL"},
    ),
    (
        _Q, "lot_released", {"lot_id": "L1", "operator": "ann"}, "LOT_RELEASED", "L1",
        {"subject": "L1", "lot_id": "L1", "operator": "ann", "severity": "INFO"},
    ),
    _same(
        _U, "logged_in", "USER_LOGGED_IN", "ann",
        user_id="ann", method="OIDC", session_id="s1", source_address="10.0.0.7",
    ),
    _same(
        _U, "login_failed", "LOGIN_FAILED", "ann",
        user_id="ann", method="API_KEY", reason="expired", source_address="10.0.0.7",
    ),
    _same(_U, "logged_out", "USER_LOGGED_OUT", "ann", user_id="ann", session_id="s1"),
    _same(_U, "authorisation_granted", "AUTHORISATION_GRANTED", "ann", user_id="ann", **_ASKED),
    _same(_U, "authorisation_denied", "AUTHORISATION_DENIED", "ann", user_id="ann", reason="not admin", **_ASKED),
    _same(
        _U, "audit_recorded", "AUDIT_RECORDED", "ann",
        user_id="ann", before='{"k":0.5}', after='{"k":1}', reason="tighter", **_ASKED,
    ),
    _system("started", "SERVICE_STARTED", {"message": "up"}, {"status": "UP", "message": "up"}),
    _system("stopped", "SERVICE_STOPPED", {}, {"status": "DOWN"}),
    _system("health", "SERVICE_HEALTH", {"status": "DEGRADED", "message": "slow"}, {"status": "DEGRADED", "message": "slow"}),
    _system(
        "performance", "PERFORMANCE_METRIC",
        {"metric": "step_ms", "value": 4.5, "unit": "ms"}, {"metric": "step_ms", "value": 4.5, "unit": "ms"},
    ),
    _system(
        "error", "ERROR_RAISED", {"error": ValueError("bad dose"), "severity": "FATAL"},
        {
            "severity": "FATAL", "error_type": "ValueError", "message": "bad dose",
            "stack_trace": "ValueError: bad dose\n",
        },
    ),
    _ml(
        "inference_completed", "INFERENCE_COMPLETED",
        subject="C-1", label="EDGE_RING", confidence=0.8, latency_ms=3.5, rows=1, scores={"EDGE_RING": 0.8},
    ),
    _ml("training_completed", "TRAINING_COMPLETED", duration_s=12.5, rows=1567, scores={"auc": 0.75}),
    _ml(
        "drift_detected", "DRIFT_DETECTED",
        statistic=5.5, threshold=5.0, feature="s059", subject="SECOM||||s059", rows=200,
    ),
    _ml("model_deployed", "MODEL_DEPLOYED", environment="shadow"),
]  # fmt: skip


@pytest.fixture(scope="module")
def publisher(stack: Endpoints) -> Iterator[Publisher]:
    for topic in TOPICS:
        if topic.startswith("fab."):
            make_topic(stack.bootstrap_servers, topic)
    with Publisher(stack.bootstrap_servers, Registry(stack.registry_url), clock=lambda: 1_600_000_000.5) as publisher:
        yield publisher


def _decode(value: bytes | None, record: str) -> dict[str, Any]:
    assert value is not None
    assert value[0] == 0
    decoded = fastavro.schemaless_reader(BytesIO(value[5:]), fastavro.parse_schema(dict(load(record))), None)
    assert isinstance(decoded, dict)
    decoded["timestamp"] = round(decoded["timestamp"].timestamp() * 1000)
    return decoded


def _expected(record: str, fields: dict[str, Any]) -> dict[str, Any]:
    defaults = {field["name"]: field["default"] for field in load(record)["fields"] if "default" in field}
    own = {"event_id": "event-1", "timestamp": 1_700_000_000_123, "metadata": {"shift": "night"}}
    return {**defaults, **own, **fields}


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0].__name__}.{case[1]}" for case in CASES])
def test_event_round_trip(case: Case, publisher: Publisher, stack: Endpoints) -> None:
    category, method, arguments, event_type, key, fields = case
    events = category(publisher)
    partition, offset = getattr(events, method)(**arguments, context=CONTEXT).result(10)
    (message,) = read(stack.bootstrap_servers, events.topic, partition, offset)
    assert message.key() == key.encode()
    assert _decode(message.value(), events.record) == _expected(events.record, {**fields, "event_type": event_type})
    assert message.headers() == [
        ("correlation-id", b"flow-9"),
        ("traceparent", TRACE.encode()),
        ("tracestate", b"vendor=1"),
    ]


def test_every_method_and_every_event_type_has_a_case() -> None:
    tested = {(case[0], case[1]) for case in CASES}
    for category in {case[0] for case in CASES}:
        events = inspect.getmembers(category, inspect.isfunction)
        public = {name for name, _ in events if not name.startswith("_") and name not in vars(CategoryPublisher)}
        assert {(category, name) for name in public} <= tested
        symbols = next(f["type"]["symbols"] for f in load(category.record)["fields"] if f["name"] == "event_type")
        assert {case[3] for case in CASES if case[0] is category} == set(symbols) - {"UNKNOWN"}


def test_what_is_not_given_is_made(publisher: Publisher, stack: Endpoints) -> None:
    lots = ManufacturingPublisher(publisher)
    places = [lots.lot_started("L1").result(10) for _ in range(2)]
    first, second = (read(stack.bootstrap_servers, lots.topic, *place)[0] for place in places)
    event, other = _decode(first.value(), "manufacturing"), _decode(second.value(), "manufacturing")
    assert event["event_id"] != other["event_id"]
    assert event["timestamp"] == 1_600_000_000_500
    headers = dict(first.headers() or ())
    assert headers["correlation-id"] == event["event_id"].encode()
    assert len(headers["traceparent"] or b"") == 55
    assert headers["traceparent"] != dict(second.headers() or ())["traceparent"]


def test_events_of_one_key_keep_their_order(publisher: Publisher, stack: Endpoints) -> None:
    lots = ManufacturingPublisher(publisher)
    deliveries = [lots.lot_started(f"order-{i % 7}", context=Context(event_id=f"{i:04}")) for i in range(350)]
    places = [delivery.result(10) for delivery in deliveries]
    for lot in range(7):
        mine = places[lot::7]
        assert len({partition for partition, _ in mine}) == 1
        assert [offset for _, offset in mine] == sorted(offset for _, offset in mine)
    partition, offset = places[0]
    count = places[343][1] - offset + 1
    seen = [
        _decode(m.value(), "manufacturing") for m in read(stack.bootstrap_servers, lots.topic, partition, offset, count)
    ]
    assert [e["event_id"] for e in seen if e["lot_id"] == "order-0"] == [f"{i:04}" for i in range(0, 350, 7)]


@pytest.mark.parametrize(
    ("publish", "field"),
    [
        (lambda p: ManufacturingPublisher(p).lot_created("", product="P"), "lot_id"),
        (lambda p: ManufacturingPublisher(p).lot_created("L1", wafer_count=2**31), "wafer_count"),
        (lambda p: ManufacturingPublisher(p).lot_started(7), "lot_id"),
        (lambda p: InspectionPublisher(p).quality_assessed(AOI, 97.0), "quality_score"),
        (lambda p: InspectionPublisher(p).quality_assessed(AOI, math.nan), "quality_score"),
        (lambda p: InspectionPublisher(p).quality_assessed(AOI, "good"), "quality_score"),
        (
            lambda p: InspectionPublisher(p).defect_detected(AOI, [SCRATCH, Defect("S", "MAJOR", 1.5, "")]),
            "defects[1].confidence",
        ),
        (lambda p: InspectionPublisher(p).defect_detected(AOI, [Defect("S", 3, 0.5, "")]), "defects[0].severity"),
        (lambda p: QualityPublisher(p).alert_raised("S", alert_id="a", severity="AWFUL"), "severity"),
        (lambda p: UserPublisher(p).logged_in("ann", method=3), "method"),
        (lambda p: SystemPublisher(p).performance(ETCHER, metric="step_ms", value="4"), "value"),
        (lambda p: MlPublisher(p).training_completed(MODEL, duration_s=1.0, rows=1.5, scores={}), "rows"),
        (lambda p: MlPublisher(p).inference_completed(MODEL, subject="C", confidence=-0.1), "confidence"),
        (
            lambda p: ManufacturingPublisher(p).lot_started("L1", context=Context(metadata={"a": 1})),
            "metadata['a']",
        ),
        (lambda p: ManufacturingPublisher(p).lot_started("L1", context=Context(timestamp_ms=1.5)), "timestamp"),
        (lambda p: MeasurementPublisher(p).measured(equipment="E", characteristic="C", value=math.inf), "value"),
        (lambda p: MeasurementPublisher(p).measured(equipment=None, characteristic="C", value=1.0), "equipment"),
        (lambda p: MeasurementPublisher(p).publish_batch([{"equipment": "E", "value": 1.0}]), "characteristic"),
        (lambda p: MeasurementPublisher(p).publish_batch([_row(1.0), _row("1.0")]), "value"),
        (lambda p: MeasurementPublisher(p).publish_batch([_row(1.0), {**_row(1.0), "usl": -math.inf}]), "usl"),
        (lambda p: MeasurementPublisher(p).publish_batch([{**_row(1.0), "colour": "red"}]), "colour"),
        (lambda p: _array(p, []), "values"),
        (lambda p: _array(p, [1.0] * 10_001), "values"),
        (lambda p: _array(p, [1.0, None, math.inf]), "values[2]"),
        (lambda p: _array(p, [1.0, "2.0"]), "values[1]"),
        (lambda p: _array(p, [1.0], period_us=-1), "period_us"),
        (lambda p: _array(p, [1.0], period_us=86_400_000_001), "period_us"),
        (lambda p: _array(p, [1.0], period_us=0.5), "period_us"),
        (lambda p: _array(p, [1.0], usl=-math.inf), "usl"),
        (lambda p: _vector(p, ["a", "b"], [1.0]), "values"),
        (lambda p: _vector(p, ["a", "a"], [1.0, 2.0]), "characteristics"),
        (lambda p: _vector(p, ["a", "b"], [1.0, math.inf]), "values[1]"),
        (lambda p: _vector(p, ["a", "b"], [1.0, 2.0], lsl=[0.0]), "lsl"),
    ],
)
def test_what_is_not_valid_is_refused_and_the_field_named(
    publish: Callable[[Publisher], object], field: str, publisher: Publisher
) -> None:
    before = publisher.metrics().producer.published
    with pytest.raises(EncodeError) as refused:
        publish(publisher)
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}: ")
    assert publisher.metrics().producer.published == before


def _row(value: Any) -> dict[str, Any]:
    return {"equipment": "E", "characteristic": "C", "value": value}


def _array(publisher: Publisher, values: list[Any], period_us: Any = 1_000, **more: Any) -> Delivery:
    return MeasurementPublisher(publisher).array_measured(
        equipment="E", characteristic="C", values=values, period_us=period_us, **more
    )


def _vector(publisher: Publisher, names: list[str], values: list[Any], **more: Any) -> Delivery:
    return MeasurementPublisher(publisher).vector_measured(
        equipment="E", vector="plan", characteristics=names, values=values, **more
    )


def test_measurement_round_trip(publisher: Publisher, stack: Endpoints) -> None:
    given = {
        "equipment": "ETCH-07", "characteristic": "CD|1", "value": 42.5, "chamber": "B", "recipe": "POLY_V3",
        "operation": "4200", "lot": "L1", "wafer": "W3", "site": "5", "subgroup": "L1/W3", "unit": "nm",
        "lsl": 40.0, "usl": 45.0, "target": 42.0,
    }  # fmt: skip
    place = MeasurementPublisher(publisher).measured(**given, context=CONTEXT).result(10)
    (message,) = read(stack.bootstrap_servers, "fab.measurements", *place)
    assert message.key() == b"ETCH-07|B|POLY_V3|4200|CD%7C1"
    assert _decode(message.value(), "measurement") == _expected("measurement", given)
    place = MeasurementPublisher(publisher).measured(equipment="E", characteristic="C", value=math.nan).result(10)
    (message,) = read(stack.bootstrap_servers, "fab.measurements", *place)
    assert _decode(message.value(), "measurement")["value"] is None


def test_array_round_trip(publisher: Publisher, stack: Endpoints) -> None:
    given = {
        "equipment": "ETCH-07", "characteristic": "CD|1", "period_us": 1_500, "chamber": "B", "recipe": "POLY_V3",
        "operation": "4200", "lot": "L1", "wafer": "W3", "site": "5", "subgroup": "L1/W3", "unit": "nm",
        "lsl": 40.0, "usl": 45.0, "target": 42.0, "sample_size": 7.0,
    }  # fmt: skip
    measurements = MeasurementPublisher(publisher)
    place = measurements.array_measured(**given, values=[42.5, None, math.nan], context=CONTEXT).result(10)
    (message,) = read(stack.bootstrap_servers, "fab.measurements", *place)
    wanted = _expected("measurement_array", {**given, "values": [42.5, None, None]})
    assert _decode(message.value(), "measurement_array") == wanted
    shared = ("equipment", "characteristic", "chamber", "recipe", "operation")
    partition, _ = measurements.measured(**{name: given[name] for name in shared}, value=1.0).result(10)
    assert (message.key(), partition) == (b"ETCH-07|B|POLY_V3|4200|CD%7C1", place[0])


def test_measurement_batch_keeps_order_and_leaves_its_rows_alone(publisher: Publisher, stack: Endpoints) -> None:
    rows = [_row(float(i)) for i in range(500)]
    rows[3]["value"] = None
    rows[4] |= {"value": math.nan, "event_id": "mine", "timestamp": 5, "lsl": math.nan}
    rows[5]["value"] = 5
    copies = [dict(row) for row in rows]
    measurements = MeasurementPublisher(publisher)
    partition, offset = measurements.measured(equipment="E", characteristic="C", value=-1.0).result(10)
    batch = measurements.publish_batch(rows, correlation_id="run-1", traceparent=TRACE)
    assert batch.result(10) == 500
    assert [str(row) for row in rows] == [str(copy) for copy in copies]
    messages = read(stack.bootstrap_servers, "fab.measurements", partition, offset + 1, 500)
    seen = [_decode(message.value(), "measurement") for message in messages]
    assert [event["value"] for event in seen] == [None if i in {3, 4} else float(i) for i in range(500)]
    assert (seen[4]["event_id"], seen[4]["timestamp"], seen[4]["lsl"]) == ("mine", 5, None)
    assert seen[5]["timestamp"] == 1_600_000_000_500
    assert len({event["event_id"] for event in seen}) == 500
    assert {message.key() for message in messages} == {b"E||||C"}
    assert messages[499].headers() == [("correlation-id", b"run-1"), ("traceparent", TRACE.encode())]


def test_a_batch_error_says_which_row(publisher: Publisher) -> None:
    for bad in (_row("1.0"), _row(math.inf)):
        with pytest.raises(EncodeError) as refused:
            MeasurementPublisher(publisher).publish_batch([_row(1.0), _row(2.0), bad])
        assert refused.value.__notes__ == ["row 2 of the batch; nothing of it was sent"]


def test_vector_round_trip(publisher: Publisher, stack: Endpoints) -> None:
    names, numbers = ["a", "b", "c"], [1.0, None, 3.0]
    given = {
        "equipment": "E", "vector": "plan", "characteristics": names, "chamber": "B", "recipe": "R", "operation": "10",
        "lot": "L1", "wafer": "W1", "site": "5", "subgroup": "g", "units": ["nm", "nm", "V"],
        "lsl": numbers, "usl": numbers, "target": [],
    }  # fmt: skip
    place = (
        MeasurementPublisher(publisher)
        .vector_measured(**given, values=[1.0, math.nan, 3.0], context=CONTEXT)
        .result(10)
    )
    (message,) = read(stack.bootstrap_servers, "fab.vectors", *place)
    assert message.key() == b"E|B|R|10|plan"
    assert _decode(message.value(), "vector_measurement") == _expected(
        "vector_measurement", {**given, "values": numbers}
    )
