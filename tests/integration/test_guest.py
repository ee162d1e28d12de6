"""Detectors of packages in real Ray processes: they judge as they would anywhere, and what they do wrong stays there."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from actors import supervisor
from actors.actor_hosts import Cast, InActors
from actors.deal import Seat
from actors.engine.family import Work
from actors.engine.fold import Topics
from actors.errors import ConfigError, ReopenError
from actors.hosts import InOwner, Judged, Opening
from actors.kafka.client import Cluster
from actors.packages import Guest, Limits, Packaged
from actors.packages.examine import examine_on
from actors.packages.loading import forget, load
from actors.packages.store import PackageStore
from actors.pipeline import Pipeline
from actors.stretch import Stretch, replayed
from models.detector import Description, Detector
from models.ewma import Ewma
from tests.actors.engine.test_judge import batch_of
from tests.actors.packages import made
from tests.actors.packages.made import package_of, stored
from tests.integration.line import wait_for

ROWS = 40
GUEST = Guest(Limits(load_s=5.0, memory_bytes=256 * 2**20))
STEP_S = 3.0
GONE_S = 10.0
LEAKS_LATER = made.LEAKS.replace("LEAK.append(", "if n > 2: LEAK.append(").replace("2_000_000", "100_000_000")
TOPICS = Topics("charts", "alerts", "dlq", "state", "control", "deals")
Hosting = Callable[..., InActors]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageStore]:
    """A store; what this process loads of it is forgotten afterwards."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield stored(tmp_path)
    forget()


@pytest.fixture
def hosting(ray_cluster: None) -> Iterator[Hosting]:
    """Start a family in a guest's process; all end with the test."""
    started: list[InActors] = []

    def start(*detectors: Detector) -> InActors:
        cast = Cast(f"t{uuid.uuid4().hex[:8]}", Seat(0, 1), {"mine": detectors}, 20, GUEST.limits.cpus, GUEST)
        started.append(InActors(cast, STEP_S, with_spare=False))
        return started[-1]

    yield start
    for hosts in started:
        hosts.close()


def packaged(store: PackageStore, code: str, described: Detector) -> Packaged:
    """Return what stands for a detector of this code, which says of itself what another one does."""
    package = package_of(code)
    store.put(package.data)
    return Packaged(store.url, package.digest, package.target, {}, Description.of(described))


def above(store: PackageStore) -> Detector:
    package = package_of()
    store.put(package.data)
    return load(store, package.digest, package.target, {})


def judged(hosts: InActors | InOwner, values: np.ndarray | None = None) -> Judged:
    """Open a partition anew and judge a batch."""
    hosts.drop(0)
    hosts.open(Opening("fab", 0, (), (), frozenset()))
    values = np.random.default_rng(1).normal(10, 1, ROWS) if values is None else values
    return hosts.judge([Work(0, 1, 0, batch_of(values, [0] * ROWS), ("E1|CD",), emit=True)], snapshot=True)()


def test_a_guest_judges_as_its_detector_does_anywhere(store: PackageStore, hosting: Hosting) -> None:
    real = above(store)
    hosts = hosting(packaged(store, made.ABOVE, real), Ewma())
    hosts.reset()
    undisturbed = judged(InOwner(hosts.cast.pipeline, {"mine": (real, Ewma())}, 20))
    assert judged(hosts) == undisturbed
    assert undisturbed.pages[0]
    (pid,) = hosts.pids().values()
    guest = psutil.Process(pid)
    assert guest.nice() == GUEST.limits.nice
    assert guest.rlimit(psutil.RLIMIT_DATA)[0] > GUEST.limits.memory_bytes
    assert guest.environ()["CHIPQUALITY_GUEST"] == "1"


def test_a_leak_switches_the_detector_off_and_the_others_go_on(store: PackageStore, hosting: Hosting) -> None:
    hosts = hosting(packaged(store, LEAKS_LATER, above(store)), Ewma())
    hosts.reset()
    said = judged(hosts)
    (output,) = said.outputs[0]
    (failure,) = output.failures
    assert "MemoryError" in failure.detail
    assert "in update" in failure.detail
    assert said.pages[0], "the other one's"


@pytest.mark.parametrize(
    ("code", "why", "traced"),
    [
        (made.RAISES_AT_IMPORT, "module above_all cannot be imported: OSError: no licence", "above_all.py"),
        (made.HANGS_AT_IMPORT, "loading the package was not done within 5 s", "while True"),
        (made.HANGS_IN_UPDATE, "the first step was not done within 5 s", "in update"),
        (made.ABOVE.replace("version = 1", "version = 2"), "says another identity, version of itself", ""),
    ],
)
def test_what_cannot_be_loaded_is_told_with_its_traceback(
    store: PackageStore, hosting: Hosting, code: str, why: str, traced: str
) -> None:
    hosts = hosting(packaged(store, code, above(store)))
    began = time.monotonic()
    with pytest.raises(ReopenError, match=why) as told:
        hosts.reset()
    assert traced in str(told.value)
    assert time.monotonic() - began < GONE_S + GUEST.limits.load_s
    assert not hosts._crew._known(), "its process is not kept"


def test_a_step_that_never_ends_is_ended(store: PackageStore, hosting: Hosting) -> None:
    later = made.HANGS_IN_UPDATE.replace("while n:", "while n > 2:")
    hosts = hosting(packaged(store, later, above(store)))
    hosts.reset()
    (pid,) = hosts.pids().values()
    with pytest.raises(ReopenError, match="gone or slow"):
        judged(hosts)
    hosts.close()
    wait_for(lambda: not psutil.pid_exists(pid), "it is gone")


def test_an_examination_on_a_node(store: PackageStore, ray_cluster: None) -> None:
    package = package_of()
    store.put(package.data)
    found = examine_on(store, package.digest)
    assert found.ok, found.failure
    assert found.packaged == packaged(store, made.ABOVE, above(store))
    refused = examine_on(store, "0" * 64)
    assert refused.failure is not None
    assert refused.failure.phase == "package"


def test_packages_run_in_processes_of_their_own_or_not_at_all(store: PackageStore) -> None:
    families = {"mine": (packaged(store, made.ABOVE, above(store)),)}
    pipeline = Pipeline("p", Cluster(""), "in", (0,), TOPICS, families, {}, guest=GUEST)
    for wrong in (replace(pipeline, guest=None), replace(pipeline, hosting="owner")):
        with pytest.raises(ConfigError, match="detectors of packages run in processes of their own"):
            supervisor.start_pipeline(wrong)
    with pytest.raises(ConfigError, match="detectors of packages run in processes of their own"):
        InOwner("p", families, 20)
    assert replayed(pipeline, "june", Stretch("in", {0: 0}, {0: 1})).hosting == "actor"
    assert (pipeline.detector_cpus, replace(pipeline, guest=None).detector_cpus) == (GUEST.limits.cpus, 0.1)
