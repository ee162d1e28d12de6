"""Bytewax, at least once, state in its recovery store: a per-key EWMA. It keeps its place itself, and has no consumer group."""

from __future__ import annotations

from datetime import timedelta

import bytewax.operators as op
from bytewax._bytewax import cli_main, init_db_dir
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig
from common import NEW, VERDICT, Measurements, State, arguments, ewma, say_running


def main() -> None:
    """Judge for ever."""
    asked = arguments()
    measurements = Measurements(asked.registry)

    def keyed(message: KafkaSourceMessage) -> tuple[str, tuple[int, int, float]] | None:
        measured = measurements.read(message.value)
        if measured["value"] is None:
            return None
        return message.key.decode(), (
            int(measured["timestamp"].timestamp() * 1000), message.timestamp[1], measured["value"],
        )  # fmt: skip

    def judge(state: State | None, row: tuple[int, int, float]) -> tuple[State, bytes]:
        advanced, z, limit, beyond = ewma(state or NEW, row[2])
        return advanced, VERDICT.pack(row[0], row[1], row[2], z, limit, beyond)

    flow = Dataflow("ewma")
    read = op.input("read", flow, KafkaSource([asked.bootstrap], [asked.topic], batch_size=5_000))
    rows = op.filter_map("decode", read, keyed)
    said = op.stateful_map("judge", rows, judge)
    out = op.map("pack", said, lambda pair: KafkaSinkMessage(pair[0].encode(), pair[1]))
    op.output("write", out, KafkaSink([asked.bootstrap], asked.out))
    asked.folder.mkdir(parents=True, exist_ok=True)
    init_db_dir(asked.folder, 1)
    say_running()
    cli_main(flow, epoch_interval=timedelta(seconds=asked.commit_s), recovery_config=RecoveryConfig(asked.folder))


if __name__ == "__main__":
    main()
