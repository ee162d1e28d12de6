"""Judging partitions as tasks of the Ray cluster that this process is connected to."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from cluster.backtest.tasks import NICE, Failed, Task, Word, judge_task

TASK_CPUS = 1.0


@ray.remote(max_retries=0, max_calls=1, num_cpus=TASK_CPUS, num_returns="streaming")
def _backtest(packed: bytes, modules: str) -> Iterator[Word]:  # pragma: no cover - in a process of its own
    """Judge a task. Unpacked here, because a detector's own module must be found then."""
    os.nice(NICE)
    sys.path.append(modules)
    yield from judge_task(pickle.loads(packed))  # noqa: S301 - from our driver, through Ray


def on_ray(tasks: Sequence[Task], modules: str) -> Iterator[Word]:
    """Run tasks in the Ray cluster that this process is connected to; they end with this process, or with this generator.

    modules: a folder, seen by all nodes, in which modules are looked for last.
    """
    running: list[Any] = [  # generators of references
        _backtest.options(name=f"backtest:{task.pipeline.input_topic}:{task.partition}").remote(
            pickle.dumps(task), modules
        )
        for task in tasks
    ]
    try:
        while running:
            ready: list[Any] = ray.wait(running, num_returns=1)[0]
            for words in ready:
                try:
                    yield ray.get(next(words))
                except StopIteration:
                    running.remove(words)
    except RayError as error:
        yield Failed(-1, f"a task that judged has ended: {error}")
    finally:
        for words in running:
            ray.cancel(words, force=True)
