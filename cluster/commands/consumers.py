"""`chipquality consumers`: how far consumer groups and pipelines are, and how they do.

Exit codes: 0 all are well, as far as can be told; 1 one lags and does not keep up, or Kafka does not answer; 2 refused.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from actors.kafka.admin import Admin
from actors.lag_status import SAMPLES
from cluster.commands.telling import NOT_WELL, Output, OutputOption, one_line, refuse, table, tell
from cluster.commands.where import cluster_of
from cluster.config import load
from cluster.lag_sampler import Lags

app = typer.Typer(help="Consumer groups and pipelines: lag, and how they do.", no_args_is_help=True)

WELL = frozenset({"OK", "UNKNOWN"})
WATCH_S = 9.0

WatchOption = Annotated[
    float,
    typer.Option(
        "--watch-s", min=0, max=600, help=f"Take {SAMPLES} samples in this time if something lags; 0: one, which tells only lags."
    ),
]  # fmt: skip


@app.command("list")
def list_consumers(watch_s: WatchOption = WATCH_S, output: OutputOption = Output.text) -> None:
    """Show every group: lag in records and in seconds, and a status from how the lag moves, without thresholds."""
    with one_line():
        found = _watched(watch_s)
    rows = [
        (group["group"], group["kind"], group["status"], group["lag"], group["lag_s"], group["state"], group["why"])
        for group in found
    ]
    lines = table(["group", "kind", "status", "lag", "lag_s", "state", "why"], rows)
    tell({"items": found, "total": len(found)}, lines, output)
    raise typer.Exit(0 if all(group["status"] in WELL for group in found) else NOT_WELL)


@app.command()
def show(
    group: Annotated[str, typer.Argument(help="The group; a pipeline's is called as the pipeline.")],
    watch_s: WatchOption = WATCH_S,
    output: OutputOption = Output.text,
) -> None:
    """Show a group by partition. Who owns a pipeline's partitions, `chipquality pipeline list` shows: it asks Ray."""
    with one_line():
        found = next(iter(_watched(watch_s, only=group)), None)
    if found is None:
        raise refuse(f"no group {group!r} has committed an offset")
    rows = [
        (f"{p['topic']}:{p['partition']}", p["status"], p["committed"], p["end"], p["lag"], p["lag_s"], p["why"])
        for p in found["partitions"]
    ]
    lines = [
        f"{found['group']}  {found['kind']}  {found['state']}  {found['status']}: {found['why']}",
        *table(["partition", "status", "committed", "end", "lag", "lag_s", "why"], rows),
    ]
    tell(found, lines, output)
    raise typer.Exit(0 if found["status"] in WELL else NOT_WELL)


def _watched(watch_s: float, only: str | None = None) -> list[dict[str, Any]]:
    """Return all groups, or one, after as many samples as a status takes if one of them lags."""
    config = load()
    cluster = cluster_of(config)
    pipelines: Mapping[str, None] = {config.pipeline.name: None, config.vectors.name: None}
    lags = Lags(Admin(cluster.bootstrap_servers, cluster.client), cluster)
    samples = SAMPLES if watch_s else 1
    for sample in range(samples):
        began = time.monotonic()
        found = lags.consumers(lags.take(int(time.time() * 1000), only), pipelines, int(time.time() * 1000))
        if all(group["status"] == "OK" for group in found):
            break
        if sample < samples - 1:
            time.sleep(max(0.0, watch_s / (samples - 1) - (time.monotonic() - began)))
    return found
