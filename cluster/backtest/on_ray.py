"""Judging partitions as tasks of the Ray cluster that this process is connected to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from cluster.backtest.tasks import NICE, Failed, Task, Word, judge_task

TASK_CPUS = 1.0


@ray.remote(max_retries=0, max_calls=1, num_cpus=TASK_CPUS, num_returns="streaming")
def _backtest(task: Task) -> Iterator[Word]:  # pragma: no cover - in a process of its own
    os.nice(NICE)
    yield from judge_task(task)


def on_ray(tasks: Sequence[Task]) -> Iterator[Word]:
    """Run tasks in the Ray cluster that this process is connected to; they end with this process, or with this generator."""
    running: list[Any] = [  # generators of references
        _backtest.options(name=f"backtest:{task.pipeline.input_topic}:{task.partition}").remote(task) for task in tasks
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
