"""Judging one partition in a process of its own, and such processes beside each other on this machine.

`judge_task` writes what is said as Parquet, and yields how far it is, at the end the counts. `here` runs it for many partitions
in processes of this one; cluster/backtest/on_ray.py does so in a Ray cluster. What they yield is the same.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import NamedTuple

from actors.backtest import judge_partition
from actors.collecting import collect_seldom
from actors.engine.judge import assigned
from actors.errors import ConfigError, FencedError, ReopenError
from actors.kafka.log import SystemClock
from actors.packages import resolve
from actors.pipeline import Pipeline
from actors.surroundings import Codec
from cluster.backtest.labels import Label
from cluster.backtest.tally import Counts, Tally
from cluster.backtest.verdicts import AlertWriter, VerdictWriter, file_of
from cluster.local.die_with_parent import bind
from schemas.columnar.reader import warm
from schemas.registry import RegistryUnavailable

TELL_S = 0.3  # between two words of a partition
NICE = 10  # of a process that judges history: the live pipeline comes first
END_S = 5.0  # for a process to end by itself after its last word


@dataclass(frozen=True)
class Task:
    """One partition."""

    pipeline: Pipeline
    partition: int
    since: int
    folder: str
    labels: tuple[Label, ...]


class Progress(NamedTuple):
    """How far a partition is."""

    partition: int
    done: int  # offsets


class Ended(NamedTuple):
    """A partition is judged."""

    partition: int
    counts: Counts


class Failed(NamedTuple):
    """A partition could not be judged."""

    partition: int
    why: str


Word = Progress | Ended | Failed


def judge_task(task: Task) -> Iterator[Word]:
    """Judge one partition in this process. What hinders it is the last word, not an exception."""
    try:
        yield from _judged(task)
    except (ConfigError, ReopenError, FencedError, RegistryUnavailable) as error:
        yield Failed(task.partition, str(error))
    except Exception:  # noqa: BLE001 - a process of its own: what happens there is told where somebody reads it
        yield Failed(task.partition, f"partition {task.partition}: {traceback.format_exc()}")


def _judged(task: Task) -> Iterator[Word]:
    warm()
    collect_seldom()
    partition, folder = task.partition, Path(task.folder)
    ((family, guests),) = task.pipeline.families.items()
    (assignment,) = assigned(resolve(guests))
    pipeline = replace(task.pipeline, families={family: (assignment,)})
    log = pipeline.log(pipeline.cluster)
    start = log.first(pipeline.input_topic, [partition])[partition]
    log.close()
    tally = Tally(assignment.detector, assignment.name, partition, task.labels, pipeline.clean_rows)
    told_at, at = time.monotonic(), start
    yield Progress(partition, 0)
    with (
        VerdictWriter(file_of(folder, "verdicts", partition), [assignment]) as verdicts,
        AlertWriter(file_of(folder, "alerts", partition)) as alerts,
    ):
        for said in judge_partition(pipeline, partition, task.since, Codec.of(pipeline).decoder, SystemClock()):
            tally.take(said)
            verdicts.take(said)
            alerts.take(said)
            at = said.next_offset
            if time.monotonic() - told_at > TELL_S:
                told_at = time.monotonic()
                yield Progress(partition, at - start)
    counts = tally.counts()
    counts.records = max(0, at - task.since)
    yield Progress(partition, at - start)
    yield Ended(partition, counts)


# ---- in processes of this one


def here(tasks: Sequence[Task], at_once: int | None = None) -> Iterator[Word]:
    """Run tasks in processes of this one, `at_once` at a time; whatever ends this generator ends them."""
    rest = list(tasks)
    running: dict[Connection, SpawnProcess] = {}
    context = multiprocessing.get_context("spawn")
    most = at_once or os.cpu_count() or 1
    try:
        while rest or running:
            while rest and len(running) < most:
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_in_process, args=(rest.pop(0), theirs, os.getpid()), daemon=True)
                process.start()
                theirs.close()
                running[ours] = process
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)  # noqa: S101 - for mypy
                try:
                    yield ready.recv()
                except EOFError:
                    process = running.pop(ready)
                    process.join(END_S)
                    if process.exitcode:
                        yield Failed(-1, f"a process that judged has ended with {process.exitcode}")
    finally:
        for process in running.values():
            process.kill()
        for process in running.values():
            process.join(END_S)


def _in_process(task: Task, tell: Connection, parent: int) -> None:  # pragma: no cover - in a process of its own
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all of us: our parent ends us
    bind(parent)
    os.nice(NICE)
    for word in judge_task(task):
        tell.send(word)
    tell.close()
