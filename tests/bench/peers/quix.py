"""Quix Streams, exactly once, state in its RocksDB with a changelog: a per-key EWMA."""

from __future__ import annotations

from typing import Any

from common import NEW, VERDICT, Measurements, arguments, ewma, say_running
from quixstreams import Application, State


def main() -> None:
    """Judge for ever."""
    asked = arguments()
    app = Application(
        broker_address=asked.bootstrap,
        consumer_group=asked.group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=asked.commit_s,
        consumer_poll_timeout=0.02,
        state_dir=asked.folder,
        loglevel="WARNING",
    )
    measurements = Measurements(asked.registry)

    def judge(value: bytes, key: Any, timestamp: int, headers: Any, state: State) -> bytes | None:
        measured = measurements.read(value)
        if measured["value"] is None:
            return None
        advanced, z, limit, beyond = ewma(tuple(state.get("ewma") or NEW), measured["value"])  # type: ignore[arg-type]
        state.set("ewma", advanced)
        return VERDICT.pack(
            int(measured["timestamp"].timestamp() * 1000), timestamp, measured["value"], z, limit, beyond
        )

    measured = app.topic(asked.topic, key_deserializer="bytes", value_deserializer="bytes")
    said = app.topic(asked.out, key_serializer="bytes", value_serializer="bytes")
    frame = app.dataframe(measured).apply(judge, stateful=True, metadata=True)
    frame.filter(lambda value: value is not None).to_topic(said)
    say_running()
    app.run()


if __name__ == "__main__":
    main()
