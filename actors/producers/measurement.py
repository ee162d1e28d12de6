"""Measurements: single values, batches of them, arrays of samples, vectors. Key: the series, so that values keep their order."""

from __future__ import annotations

import math
import secrets
import uuid
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from actors.kafka.delivery import BatchDelivery, Delivery
from actors.producers.category import NO_CONTEXT, Context
from actors.producers.publisher import KeyOf, Publisher
from schemas.batch import SERIES_KEY_BYTES_MAX, TEXT_BYTES_MAX, series_key
from schemas.columnar.samples import PERIOD_US_MAX, SAMPLES_MAX
from schemas.framing import EncodeError
from schemas.topics import MEASUREMENTS, VECTORS

_RECORD = "measurement"
_ARRAY = "measurement_array"
_VECTOR = "vector_measurement"
_NUMBERS = ("value", "lsl", "usl", "target", "sample_size")
_LIMITS = _NUMBERS[1:]


class MeasurementPublisher:
    """Publishes to `fab.measurements` and `fab.vectors`.

    A value of None or NaN is *missing*: it is published as a null, counted, and not judged; a limit of None or NaN is not
    given. Infinity is refused. The parts of a series (equipment, chamber, recipe, operation) are "" where not applicable.
    Errors are those of `Publisher.publish`.
    """

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher

    def measured(
        self,
        *,
        equipment: str,
        characteristic: str,
        value: float | None,
        chamber: str = "",
        recipe: str = "",
        operation: str = "",
        lot: str | None = None,
        wafer: str | None = None,
        site: str | None = None,
        subgroup: str | None = None,
        unit: str = "",
        lsl: float | None = None,
        usl: float | None = None,
        target: float | None = None,
        sample_size: float | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Publish one measured value; `value` and limits in `unit` (UCUM), limits from the customer's specification.

        `sample_size`, where the value is a count: the units inspected (p, np charts) or the area of opportunity (u chart).
        """
        row: dict[str, Any] = {
            "equipment": equipment,
            "characteristic": characteristic,
            "value": value,
            "chamber": chamber,
            "recipe": recipe,
            "operation": operation,
            "lot": lot,
            "wafer": wafer,
            "site": site,
            "subgroup": subgroup,
            "unit": unit,
            "lsl": lsl,
            "usl": usl,
            "target": target,
            "sample_size": sample_size,
        }
        with self.publisher.counting_invalid():
            row |= {name: _finite(name, row[name]) for name in _NUMBERS}
        return self._publish(MEASUREMENTS, _RECORD, row, _key_of, context)

    def array_measured(
        self,
        *,
        equipment: str,
        characteristic: str,
        values: Sequence[float | None],
        period_us: int,
        chamber: str = "",
        recipe: str = "",
        operation: str = "",
        lot: str | None = None,
        wafer: str | None = None,
        site: str | None = None,
        subgroup: str | None = None,
        unit: str = "",
        lsl: float | None = None,
        usl: float | None = None,
        target: float | None = None,
        sample_size: float | None = None,
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Publish 1 to SAMPLES_MAX samples of one series in one record: each is judged as `measured` would have it judged.

        They are in order of time, `period_us` microseconds from one to the next (0: all at one time), the first at the context's
        time. All have the lot, the limits and the rest in common, and the partition of the series' single measurements.
        """
        row: dict[str, Any] = {
            "equipment": equipment,
            "characteristic": characteristic,
            "period_us": period_us,
            "chamber": chamber,
            "recipe": recipe,
            "operation": operation,
            "lot": lot,
            "wafer": wafer,
            "site": site,
            "subgroup": subgroup,
            "unit": unit,
            "lsl": lsl,
            "usl": usl,
            "target": target,
            "sample_size": sample_size,
        }
        with self.publisher.counting_invalid():
            row |= {name: _finite(name, row[name]) for name in _LIMITS}
            row["values"] = _samples(values, period_us)
        return self._publish(MEASUREMENTS, _ARRAY, row, _key_of, context)

    def publish_batch(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        correlation_id: str | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
    ) -> BatchDelivery:
        """Publish many values, the fast way: rows are mappings with the fields of `measurement.avsc`, in log order.

        Fields with a default may be absent, and `event_id` (new: 32 hex digits) and `timestamp` (ms; the publisher's clock).
        If one row is not valid nothing is sent; the error names the field, and its note the row. All records carry the same
        headers. At most `publisher.BATCH_RECORDS_MAX` rows.
        """
        ids = secrets.token_hex(16 * len(rows))
        now_ms = int(self.publisher.clock() * 1000)
        records: list[dict[str, Any]] = []
        try:
            for i, row in enumerate(rows):
                record = {"event_id": ids[32 * i : 32 * i + 32], "timestamp": now_ms, **row}
                for name in _NUMBERS:
                    number = record.get(name)
                    if number is not None and (type(number) is not float or number - number != 0.0):
                        record[name] = _finite(name, number)
                records.append(record)
        except EncodeError as error:
            self.publisher.count_invalid()
            error.add_note(f"row {len(records)} of the batch; nothing of it was sent")
            raise
        return self.publisher.publish_batch(
            MEASUREMENTS,
            _RECORD,
            records,
            key_of=_key_of,
            correlation_id=correlation_id,
            traceparent=traceparent,
            tracestate=tracestate,
        )

    def vector_measured(
        self,
        *,
        equipment: str,
        vector: str,
        characteristics: Sequence[str],
        values: Sequence[float | None],
        chamber: str = "",
        recipe: str = "",
        operation: str = "",
        lot: str | None = None,
        wafer: str | None = None,
        site: str | None = None,
        subgroup: str | None = None,
        units: Sequence[str] = (),
        lsl: Sequence[float | None] = (),
        usl: Sequence[float | None] = (),
        target: Sequence[float | None] = (),
        context: Context = NO_CONTEXT,
    ) -> Delivery:
        """Publish p characteristics measured together, with gaps (None or NaN); all sequences have length p.

        `units`, `lsl`, `usl` and `target` may be empty: none at all. `vector` names the set of characteristics; it is the last
        part of the series key.
        """
        numbers = {"values": values, "lsl": lsl, "usl": usl, "target": target}
        with self.publisher.counting_invalid():
            columns = _columns(characteristics, numbers, units)
        row = {
            "equipment": equipment,
            "vector": vector,
            "chamber": chamber,
            "recipe": recipe,
            "operation": operation,
            "lot": lot,
            "wafer": wafer,
            "site": site,
            "subgroup": subgroup,
            **columns,
        }
        return self._publish(VECTORS, _VECTOR, row, _vector_key_of, context)

    def _publish(
        self, topic: str, record_name: str, fields: Mapping[str, Any], key_of: KeyOf, context: Context
    ) -> Delivery:
        timestamp_ms = context.timestamp_ms
        record = {
            **fields,
            "event_id": context.event_id or str(uuid.uuid4()),
            "timestamp": int(self.publisher.clock() * 1000) if timestamp_ms is None else timestamp_ms,
            "metadata": dict(context.metadata),
        }
        return self.publisher.publish(
            topic,
            record_name,
            record,
            key=key_of,
            correlation_id=context.correlation_id,
            traceparent=context.traceparent,
            tracestate=context.tracestate,
        )


def _finite(name: str, number: Any) -> Any:
    """Return None for NaN, and the rest as it is: the encoder looks at types. Raises EncodeError for infinity."""
    if number is None or not isinstance(number, Real) or math.isfinite(number):
        return number
    if math.isnan(number):
        return None
    raise EncodeError(name, f"{number!r} is not finite")


def _samples(values: Sequence[float | None], period_us: int) -> list[Any]:
    """Return samples without NaN. Raises EncodeError for too few or too many, a period out of its bounds, infinity."""
    if not 0 < len(values) <= SAMPLES_MAX:
        raise EncodeError("values", f"{len(values)} of them: 1 to {SAMPLES_MAX}")
    if isinstance(period_us, int) and not 0 <= period_us <= PERIOD_US_MAX:
        raise EncodeError("period_us", f"{period_us}: 0 to {PERIOD_US_MAX}")
    return [_finite(f"values[{i}]", number) for i, number in enumerate(values)]


def _columns(
    characteristics: Sequence[str], numbers: Mapping[str, Sequence[float | None]], units: Sequence[str]
) -> dict[str, list[Any]]:
    """Return the columns of a vector. Raises EncodeError if they do not fit together."""
    p = len(characteristics)
    if len(set(characteristics)) != p:
        raise EncodeError("characteristics", "a name stands there twice")
    for name, given in {**numbers, "units": units}.items():
        if len(given) != p and (given or name == "values"):
            raise EncodeError(name, f"{len(given)} of them for {p} characteristics")
    cleaned = {
        name: [_finite(f"{name}[{i}]", number) for i, number in enumerate(given)] for name, given in numbers.items()
    }
    return {"characteristics": list(characteristics), "units": list(units), **cleaned}


def record_of_measured(record: Mapping[str, Any]) -> str:
    """Return which schema a measurement from outside is of, by the fields that only one of them has.

    >>> record_of_measured({"values": [1.0], "period_us": 0}), record_of_measured({"vector": "v", "values": []})
    ('measurement_array', 'vector_measurement')
    """
    return _VECTOR if "vector" in record else _ARRAY if "values" in record else _RECORD


def check_measured(record: Mapping[str, Any]) -> None:
    """Check of a measurement that its schema lets pass what the schema cannot say. Raises EncodeError."""
    name = record_of_measured(record)
    parts = ("equipment", "chamber", "recipe", "operation", "vector" if name == _VECTOR else "characteristic")
    for part in (*parts, "lot", "wafer", "subgroup"):
        if len((record[part] or "").encode()) > TEXT_BYTES_MAX:
            raise EncodeError(part, f"longer than {TEXT_BYTES_MAX} bytes")
    if len(key_of_measured(record).encode()) > SERIES_KEY_BYTES_MAX:
        raise EncodeError(", ".join(parts), f"together longer than {SERIES_KEY_BYTES_MAX} bytes")
    if name == _VECTOR:
        _columns(
            record["characteristics"],
            {part: record[part] for part in ("values", "lsl", "usl", "target")},
            record["units"],
        )
        return
    if name == _ARRAY:
        _samples(record["values"], record["period_us"])
    for part in _LIMITS if name == _ARRAY else _NUMBERS:
        _finite(part, record[part])


def key_of_measured(record: Mapping[str, Any]) -> str:
    """Return the series key of a measurement."""
    equipment, chamber, recipe, operation = (
        record.get(part, "") for part in ("equipment", "chamber", "recipe", "operation")
    )
    return series_key(
        equipment, chamber, recipe, operation, record["vector" if "vector" in record else "characteristic"]
    )


def _key_of(record: Mapping[str, Any]) -> str:
    return series_key(
        record["equipment"],
        record.get("chamber", ""),
        record.get("recipe", ""),
        record.get("operation", ""),
        record["characteristic"],
    )


def _vector_key_of(record: Mapping[str, Any]) -> str:
    return series_key(record["equipment"], record["chamber"], record["recipe"], record["operation"], record["vector"])
