"""The scheduler of a pipeline's jobs as a detached, named Ray actor. Its name is "jobs:<pipeline>".

It begins with the product, or with the first question, and Ray starts it again if it dies: then, and where Ray itself is a new
one, it begins with what the topic says.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from ray.actor import ActorHandle

from actors.detached import connected, detached, end
from actors.kafka.client import Cluster
from actors.kafka.log import KafkaLog
from actors.names import LOG_FORMAT
from cluster.jobs.job import Job
from cluster.jobs.journal import RECORDS, Journal
from cluster.jobs.run import Run
from cluster.jobs.scheduler import Scheduler
from schemas.decode import decode_event
from schemas.encode import Encoder
from schemas.registry import Registry
from schemas.topics import JOBS, load, schema_text, subject_of

CALLS_MAX = 16  # questions at once; further ones wait
STOP_S = 10.0


class Settings(NamedTuple):
    """What runs are given beside their job; it stands in no command line and no environment."""

    cluster: Cluster
    pipeline: str  # the main one
    store: str  # where fitted models are kept


class Assignment(NamedTuple):
    """What an attempt is to do."""

    settings: Settings
    run: Run


def scheduler_name(pipeline: str) -> str:
    """Return the actor's name.

    >>> scheduler_name("quality")
    'jobs:quality'
    """
    return f"jobs:{pipeline}"


class SchedulerActor:
    """The scheduler, its thread, its topic."""

    def __init__(self, settings: Settings) -> None:
        from cluster.jobs.kinds import check  # noqa: PLC0415 - who only asks does not need what they stand on
        from cluster.jobs.ray_jobs import RayJobs  # noqa: PLC0415

        logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
        self._settings = settings
        self._scheduler = Scheduler(
            lambda: journal_of(settings.cluster, settings.pipeline), RayJobs(settings.pipeline), _now_ms, check
        )
        self._scheduler.run()

    def schedule(self, job: Job) -> dict[str, Any]:
        """Have a job; see Scheduler."""
        return self._scheduler.schedule(job)

    def remove(self, name: str) -> dict[str, Any]:
        """Have a job no more."""
        return self._scheduler.remove(name)

    def start(self, name: str, by: str) -> dict[str, Any]:
        """Run a job now."""
        return self._scheduler.start(name, by)

    def cancel(self, name: str) -> dict[str, Any]:
        """Have a run end."""
        return self._scheduler.cancel(name)

    def page(self, limit: int, cursor: str | None = None) -> dict[str, Any]:
        """Return a page of jobs."""
        return self._scheduler.page(limit, cursor)

    def get(self, name: str) -> dict[str, Any]:
        """Return a job."""
        return self._scheduler.get(name)

    def history(self, name: str, limit: int, cursor: str | None = None) -> dict[str, Any]:
        """Return a page of a job's runs."""
        return self._scheduler.history(name, limit, cursor)

    def current(self, name: str) -> dict[str, Any]:
        """Return the current version of what a job makes."""
        return self._scheduler.current(name)

    def assignment(self, submission_id: str) -> Assignment:
        """Return what an attempt is to do."""
        return Assignment(self._settings, self._scheduler.assignment(submission_id))

    def note(self, submission_id: str, notes: Mapping[str, Any]) -> None:
        """Keep what further attempts have to know."""
        self._scheduler.note(submission_id, notes)

    def swap(self, submission_id: str, made: Mapping[str, Any], keep: int) -> Run:
        """Have what a run has made be the current version."""
        return self._scheduler.swap(submission_id, made, keep)

    def tell(self, submission_id: str, done: int, of: int, what: str) -> None:
        """Say how far a run is."""
        self._scheduler.tell(submission_id, done, of, what)

    def finished(self, submission_id: str, what: str, result: Mapping[str, Any]) -> None:
        """Have a run be done."""
        self._scheduler.finished(submission_id, what, result)

    def failing(self, submission_id: str, error: str) -> None:
        """Know why an attempt is about to end."""
        self._scheduler.failing(submission_id, error)

    def pid(self) -> int:
        """Return the process id."""
        return os.getpid()

    def trouble(self) -> str:
        """Return what stands in its way; empty: nothing."""
        return self._scheduler.trouble

    def stop(self) -> None:
        """End; what Ray has goes on."""
        self._scheduler.stop()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def journal_of(cluster: Cluster, pipeline: str) -> Journal:
    """Return where a pipeline's jobs are kept in Kafka. Raises RegistryUnavailable, SchemaRefused."""
    registry = Registry(cluster.registry_url, cluster.registry_client)
    ids = {record: registry.register(subject_of(JOBS, record), schema_text(record)) for record in RECORDS.values()}
    ours = {schema_id: load(record) for record, schema_id in ids.items()}
    return Journal(
        KafkaLog(cluster),
        pipeline,
        JOBS,
        {record: Encoder(record, schema_id) for record, schema_id in ids.items()},
        lambda value: decode_event(value, lambda wanted: ours.get(wanted) or registry.schema(wanted)),
    )


def connect(settings: Settings) -> ActorHandle[Any]:
    """Return the scheduler of a pipeline; it is started if it does not run."""
    with contextlib.suppress(ValueError):
        return running(settings.pipeline)
    return detached(SchedulerActor, scheduler_name(settings.pipeline), settings, calls_max=CALLS_MAX)


def running(pipeline: str) -> ActorHandle[Any]:
    """Return the scheduler of a pipeline. Raises ValueError if it does not run."""
    return connected(scheduler_name(pipeline))


def stop(pipeline: str) -> None:
    """End the scheduler of a pipeline, if it runs; jobs and runs are in the topic."""
    end(scheduler_name(pipeline), STOP_S)
