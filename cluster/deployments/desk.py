"""The deployments beside one pipeline: their records, kept in Kafka, and a thread that looks after those that run.

Theory of operation
-------------------
All of it is in the process of the operations actor: records are changed by operations (cluster/deployments/carrying_out.py),
each on a thread, and by the watch, which switches off what fails (cluster/deployments/containing.py). When the process starts
it reads the records, and starts every pipeline that should run; those that do run are left alone. So deployments come back after
the loss of this process, of Ray's head, or of everything but Kafka.

A record is written before what it says is begun, and what was stopped is told as stopped after it is: whoever reads the records
and does what they say does nothing twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from ray.exceptions import RayError

from actors.errors import ConfigError
from actors.kafka.client import Cluster
from cluster.deployments.containing import Failure, Watched
from cluster.deployments.crew import Crew
from cluster.deployments.record import RUNNING, Deployment, Phase, mode_of
from cluster.deployments.telling import tell_off
from cluster.operations.errors import Absent, Refused, shown
from cluster.operations.journal import Form, Journal, journal
from cluster.operations.running import LOST
from schemas.topics import DEPLOYMENTS

_LOG = logging.getLogger("chipquality.deployments")

LOOK_S = 0.5  # between two looks at what runs
RETRY_S = 2.0  # after the journal, or the pipeline beside, was not there
READY_S = 20.0  # for the records to be read after a start
DEPLOYMENTS_MAX = 50  # kept beside one pipeline, running or not

FORM: Form[Deployment] = Form(
    "deployments", lambda deployment: deployment.name, Deployment.to_record, Deployment.of_record
)


class Deployments:
    """Records and pipelines of what is deployed beside one pipeline. Thread-safe."""

    def __init__(self, cluster: Cluster, pipeline: str, now_ms: Callable[[], int]) -> None:
        self.pipeline = pipeline
        self.cluster = cluster
        self.crew = Crew(cluster, pipeline)
        self.trouble = "its records are not read yet"
        self._now_ms = now_ms
        self._records: dict[str, Deployment] = {}
        self._journal: Journal[Deployment] | None = None
        self._lock = threading.RLock()  # over records, journal and watched
        self._watched: dict[str, Watched] = {}
        self._said: dict[str, dict[str, Any]] = {}  # what their supervisors said last
        self._ready = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="deployments", daemon=True)

    def run(self) -> None:
        """Start the watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch; what is deployed goes on."""
        self._over.set()
        self._thread.join()
        with self._lock:
            if self._journal is not None:
                self._journal.close()
        self.crew.close()

    # ---- records

    def all(self) -> list[Deployment]:
        """Return all deployments, by name. Raises Refused while they are not read."""
        self._require_ready()
        with self._lock:
            return sorted(self._records.values(), key=lambda deployment: deployment.name)

    def get(self, name: str) -> Deployment:
        """Return a deployment. Raises Absent."""
        found = self.find(name)
        if found is None:
            raise Absent(f"no deployment {shown(name)}")
        return found

    def find(self, name: str | None) -> Deployment | None:
        """Return a deployment, None if there is none."""
        self._require_ready()
        with self._lock:
            return None if name is None else self._records.get(name)

    def said(self) -> dict[str, dict[str, Any]]:
        """Return what the supervisor of each deployment that runs said last."""
        with self._lock:
            return dict(self._said)

    def keep(self, *deployments: Deployment) -> None:
        """Write records, all or nothing, and have them. Raises ReopenError, FencedError: then nothing is changed."""
        with self._lock:
            self._must_journal().write(deployments)
            self._records |= {deployment.name: deployment for deployment in deployments}

    def forget(self, name: str) -> None:
        """Delete a record."""
        with self._lock:
            self._must_journal().write([], [name])
            self._records.pop(name, None)
            self._said.pop(name, None)

    def now_ms(self) -> int:
        """Return the time."""
        return self._now_ms()

    # ---- pipelines

    def begin(self, name: str) -> None:
        """Start the pipeline of a deployment as its record has it."""
        deployment = self.get(name)
        warms = deployment.phase is Phase.warming and mode_of(deployment.wanted).high > 0
        self.crew.start(deployment, deployment.share, deployment.warm if warms else None)

    def look(self, names: Iterable[str]) -> dict[str, Failure]:
        """Ask the pipelines of these deployments how they are; return those that have to be switched off, and why."""
        wanted = list(names)
        said = self.crew.statuses(wanted)
        now = time.monotonic()
        with self._lock:
            self._said = {name: old for name, old in self._said.items() if name in self._records} | said
            for name in wanted:
                self._watched.setdefault(name, Watched(now))
            found = {name: self._watched[name].failure(told, now) for name, told in said.items()}
        return {name: failure for name, failure in found.items() if failure is not None}

    def watch_anew(self, names: Iterable[str]) -> None:
        """Forget what was seen of pipelines that are stopped: they begin anew."""
        with self._lock:
            for name in names:
                self._watched.pop(name, None)
                self._said.pop(name, None)

    def switch_off(self, name: str, failure: Failure) -> None:
        """End a deployment's pipeline, whatever it does, and say why."""
        with self._lock:
            off = self._off(name, failure)
        tell_off(self.cluster, off)

    def _off(self, name: str, failure: Failure) -> Deployment:
        _LOG.warning("deployment %s is switched off: %s", name, failure.reason)
        self.crew.kill(name)
        self.watch_anew([name])
        record = self.get(name)
        committed = self.crew.committed(name) if record.history else {}
        at = {partition: record.starts[partition] if end is None else end for partition, end in committed.items()}
        off = record.off(at or None, failure.reason, failure.traceback, self._now_ms())
        self.keep(off)
        return off

    # ---- the watch

    def _watch(self) -> None:
        while not self._over.is_set():
            try:
                if not self._ready.is_set():
                    self._boot()
                self._tend()
                self.trouble = ""
            except (*LOST, Refused, RayError, ConfigError) as error:
                self.trouble = str(error)
                _LOG.warning("deployments beside %s: %s", self.pipeline, error)
                self._over.wait(RETRY_S)
            except Exception as error:  # noqa: BLE001 - without this thread nobody contains what is deployed
                self.trouble = f"{type(error).__name__}: {error}"
                _LOG.exception("deployments beside %s", self.pipeline)
                self._over.wait(RETRY_S)
            self._over.wait(LOOK_S)

    def _boot(self) -> None:
        with self._lock:
            if self._journal is None:
                self._journal = journal(self.cluster, self.pipeline, DEPLOYMENTS, "deployment", FORM)
            self._records = {deployment.name: deployment for deployment in self._journal.load()}
        self._ready.set()

    def _tend(self) -> None:
        """Start what should run and does not; switch off what fails."""
        with self._lock:
            wanted = [name for name, record in self._records.items() if record.phase in RUNNING]
        if not wanted:
            return
        for name, failure in self.look(wanted).items():
            with self._lock:  # also over what follows: an operation that wants it now waits
                off = self._off(name, failure) if self._runs(name) else None
            if off is not None:
                tell_off(self.cluster, off)
        for name in [name for name in wanted if name not in self.said()]:
            with self._lock:
                if self._runs(name) and not self.crew.runs(name):
                    self.begin(name)

    def _runs(self, name: str) -> bool:
        record = self._records.get(name)
        return record is not None and record.phase in RUNNING

    def _require_ready(self) -> None:
        if not self._ready.wait(READY_S):
            raise Refused(f"deployments beside {self.pipeline}: {self.trouble}")

    def _must_journal(self) -> Journal[Deployment]:
        self._require_ready()
        assert self._journal is not None  # noqa: S101 - for mypy: it is ready
        return self._journal
