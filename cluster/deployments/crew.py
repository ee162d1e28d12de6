"""The pipelines of deployments in Ray and Kafka: made, started, stopped so that what they committed is exact, forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ray.exceptions import GetTimeoutError

from actors import supervisor
from actors.engine.share import Share
from actors.errors import ReopenError
from actors.kafka.changes import Changes
from actors.kafka.client import Cluster
from actors.kafka.log import KafkaLog
from actors.pipeline import Pipeline
from cluster.deployments.record import Deployment, Offsets
from cluster.deployments.satellite import own_topics, satellite, satellite_name
from cluster.operations.errors import Conflict, Refused

ASK_S = 2.0  # for supervisors to answer
COMMITTED_S, ASK_AGAIN_S = 60.0, 0.5  # for Kafka to say what is committed
AT_ONCE = 4  # pipelines that are stopped at the same time

T = TypeVar("T")


class Crew:
    """What deployments beside one pipeline have running. Every method blocks; raises Refused, ReopenError, RayError."""

    def __init__(self, cluster: Cluster, pipeline: str) -> None:
        self.cluster = cluster
        self.pipeline = pipeline
        self._base: Pipeline | None = None
        self._log = KafkaLog(cluster)

    def base(self) -> Pipeline:
        """Return the pipeline beside which they run. Raises Refused if it does not."""
        if self._base is None:
            try:
                self._base = supervisor.pipeline_of(self.pipeline)
            except (ValueError, GetTimeoutError) as error:
                raise Refused(
                    f"pipeline {self.pipeline} does not run: a detector is deployed beside one that does"
                ) from error
        return self._base

    def changes(self) -> Changes:
        """Return what changes topics and groups."""
        return Changes(self.cluster.bootstrap_servers, self.cluster.client)

    def bounds(self) -> dict[int, tuple[int, int]]:
        """Return the first retained offset and the end of every partition of the input."""
        base = self.base()
        found = self.changes().bounds([(base.input_topic, partition) for partition in base.partitions])
        return {partition: span for (_, partition), span in found.items()}

    def make_topics(self, name: str, *, resumed: bool) -> None:
        """Make a deployment's topics. Raises Conflict if they are there, unless we have made them before."""
        base, changes = self.base(), self.changes()
        topics = own_topics(base, name)
        missing = {topic: said for topic, said in topics.items() if not changes.partitions(topic)}
        if not resumed and len(missing) < len(topics):
            raise Conflict(f"{', '.join(sorted(set(topics) - set(missing)))} is there already: take another name")
        if base_state(name) in missing:
            changes.delete_group(satellite_name(name))
        changes.apply(changes.plan(missing, len(base.partitions), changes.replication(base.input_topic)))

    def start(self, deployment: Deployment, share: Share, ends: Offsets | None = None) -> None:
        """Start a deployment's pipeline in a mode, with `ends` up to there; does not wait for it."""
        supervisor.start_pipeline(satellite(self.base(), deployment, share, ends))

    def stop(self, names: Iterable[str]) -> None:
        """Stop pipelines in order, and make sure that nobody can commit for them any more."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(self._stop, names))

    def _stop(self, name: str) -> None:
        supervisor.stop_pipeline(satellite_name(name))
        self.fence(name)

    def kill(self, name: str) -> None:
        """End a pipeline at once, whatever its processes do, and make sure that nobody can commit for it any more."""
        supervisor.kill_pipeline(satellite_name(name))
        self.fence(name)

    def fence(self, name: str) -> None:
        """Abort what a process that was ended has left open: what is committed after this stays so."""
        writer = self._log.writer(f"{satellite_name(name)}-0")  # as Pipeline.transactional_id: it has one slot
        try:
            writer.open()
        finally:
            writer.abandon()

    def committed(self, name: str) -> dict[int, int | None]:
        """Return how far a deployment has judged; asked again while Kafka does not say, for COMMITTED_S."""
        base = self.base()
        return answered(lambda: self._log.committed(satellite_name(name), base.input_topic, base.partitions))

    def statuses(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return what the supervisors of these say, by deployment; those that do not answer are left out."""
        pipelines = {satellite_name(name): name for name in names}
        return {pipelines[name]: said for name, said in supervisor.statuses(pipelines, ASK_S).items()}

    def runs(self, name: str) -> bool:
        """Say whether a deployment has a supervisor."""
        return satellite_name(name) in supervisor.running()

    def forget(self, name: str) -> list[str]:
        """Delete a deployment's topics and its group; return the topics when they are gone."""
        changes = self.changes()
        gone = changes.delete_topics(own_topics(self.base(), name))
        changes.delete_group(satellite_name(name))
        return gone

    def close(self) -> None:
        """Leave."""
        self._log.close()


def answered(ask: Callable[[], T], within_s: float = COMMITTED_S, again_s: float = ASK_AGAIN_S) -> T:
    """Return an answer, asking again after `again_s` while the group's coordinator moves or has too much to do.

    Raises ReopenError if there is none within `within_s`.
    """
    deadline = time.monotonic() + within_s
    while True:
        try:
            return ask()
        except ReopenError:
            if time.monotonic() > deadline:
                raise
            time.sleep(again_s)


def base_state(name: str) -> str:
    """Return the state topic of a deployment."""
    return f"{name}.state"


def stop_all() -> None:
    """Stop the pipelines of all deployments in order: the product ends. They are started again from their records."""
    names = [name for name in supervisor.running() if name.startswith(satellite_name(""))]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(supervisor.stop_pipeline, names))
