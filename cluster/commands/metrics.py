"""`chipquality metrics`: the key figures, throughput, latency and errors, as the API tells them."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from actors.view.history import WINDOW_S
from cluster import errors_told, figures, stages_told
from cluster.commands.carrying_out import AddressOption
from cluster.commands.telling import Output, OutputOption, table, tell
from cluster.commands.viewing import seeing
from cluster.owner_times import OwnerTimes

app = typer.Typer(help="Figures: throughput, latency, lag, errors.", no_args_is_help=True)

WindowOption = Annotated[int, typer.Option("--window-s", min=10, max=WINDOW_S, help="Seconds up to now.")]


@app.command()
def show(output: OutputOption = Output.text, address: AddressOption = None) -> None:
    """Show the key figures with their units; those of a part that does not answer are empty."""
    from actors.kafka.admin import Admin

    with seeing(address) as seen:
        name = seen.config.pipeline.name
        kafka = Admin(seen.cluster.bootstrap_servers, seen.cluster.client).groups(only=name)
        items = figures.told({"view": seen.view("summary"), "owners": seen.owners(), "kafka": kafka})
    rows = [(item["name"], item["value"], item["unit"], item["doc"]) for item in items]
    tell({"pipeline": name, "items": items}, table(["figure", "value", "unit", "what"], rows), output)


@app.command()
def throughput(
    window_s: WindowOption = WINDOW_S, output: OutputOption = Output.text, address: AddressOption = None
) -> None:
    """Show rows a second over time, of all and by input partition."""
    with seeing(address) as seen:
        said = seen.view("throughput", window_s)
    names = list(said["by_name"])
    rows = list(zip(said["at"], said["per_s"], *said["by_name"].values(), strict=True))
    told = {
        "window_s": window_s,
        "step_s": said["step_s"],
        "at": said["at"],
        "rows_per_s": said["per_s"],
        "by_partition": said["by_name"],
    }
    tell(told, table(["at ms", "rows/s", *names], rows), output)


@app.command()
def latency(
    window_s: WindowOption = WINDOW_S, output: OutputOption = Output.text, address: AddressOption = None
) -> None:
    """Show p50, p95, p99 in ms, end to end and by stage; of the owners' stages one sample, taken now."""
    now_ms = time.time_ns() // 1_000_000
    times = OwnerTimes()
    with seeing(address) as seen:
        owners = seen.owners()
        times.add(owners["owners"] if owners else [], now_ms)
        said = stages_told.told(seen.view("latencies", window_s), times.over(window_s, now_ms))
    stages: dict[str, Any] = {"end_to_end": said["end_to_end"], **said["stages"]}
    rows = [(name, *(stage[column] for column in ("p50", "p95", "p99", "n"))) for name, stage in stages.items()]
    tell({"window_s": window_s, "unit": "ms", **said}, table(["stage", "p50", "p95", "p99", "n"], rows), output)


@app.command()
def errors(
    window_s: WindowOption = WINDOW_S, output: OutputOption = Output.text, address: AddressOption = None
) -> None:
    """Show dead letters by reason, detectors that are off, partitions in quarantine."""
    with seeing(address) as seen:
        told = errors_told.told(seen.view("summary"), seen.view("dead_letters", window_s), seen.owners(), window_s)
    letters = told["dead_letters"]
    rows = [
        (reason, count, letters["in_window"]["by_reason"].get(reason, 0), letters["per_s_by_reason"].get(reason, 0.0))
        for reason, count in letters["by_reason"].items()
    ]
    lines = table(["dead letters", "ever", f"in {window_s} s", "per s"], rows)
    lines += [f"off: {each['detector']} on partition {each['partition']}" for each in told["detectors_off"]]
    lines += [f"in quarantine: partition {each['partition']}: {each['why']}" for each in told["quarantined"]]
    tell(told, lines, output)
