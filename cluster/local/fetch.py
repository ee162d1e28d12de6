"""The broker's and the registry's jars: fetched once by Maven into a cache that all checkouts share.

The cache's folder is named by the hash of `pom.xml` and appears by a rename when it is complete, so a folder that is
there is whole; a manifest of file sizes notices one that was damaged later. A warm cache never calls Maven. Two
processes at once: the second waits for the first.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cluster.local.errors import WAYS_OUT, LocalStackError, ToolMissingError
from cluster.local.java import Java
from cluster.local.preflight import MIB, require_space
from cluster.local.processes import Child, Command

POM = Path(__file__).with_name("pom.xml")
SPACE_BYTES = 600 * MIB  # jars 160, class archives 110, and as much again while Maven works
MAVEN_DEADLINE_S = 900.0
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Jars:
    """What has been fetched."""

    folder: Path

    @property
    def broker_class_path(self) -> str:
        """Kafka's jars; sorted, because a class archive fits one order only."""
        return os.pathsep.join(str(jar) for jar in sorted((self.folder / "libs").glob("*.jar")))

    @property
    def registry_class_path(self) -> str:
        """Apicurio's runner first, as in its manifest."""
        registry = self.folder / "registry"
        jars = (*sorted(registry.glob("*.jar")), *sorted((registry / "lib").glob("*.jar")))
        return os.pathsep.join(str(jar) for jar in jars)


@dataclass(frozen=True)
class Programs:
    """What runs the programs "broker" and "registry": a Java, the jars, and a class archive for each (warm.py)."""

    java: Java
    jars: Jars
    archives: Mapping[str, Path] = field(default_factory=dict)  # to start from; one that is missing is done without
    archives_out: Mapping[str, Path] = field(default_factory=dict)  # to write at the exit


@contextlib.contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Hold the cache's lock; it waits for another process that fetches."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch(cache: Path, pom: Path = POM) -> Jars:
    """Return the jars of the pom, from the cache or by Maven.

    Raises ToolMissingError if they are not cached and Maven is missing, LocalStackError if it fails or the disk is full.
    """
    folder = cache / f"jars-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if not _whole(folder):
        with locked(cache):
            if not _whole(folder):
                _fetch_into(folder, cache, pom)
    return Jars(folder)


def _whole(folder: Path) -> bool:
    """Return whether every file is there in its size."""
    try:
        sizes = json.loads((folder / _MANIFEST).read_text())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return False


def _fetch_into(folder: Path, cache: Path, pom: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ToolMissingError(f"Maven (mvn) is missing, and the jars are not in {cache} yet")
    require_space(cache, SPACE_BYTES, "fetching Kafka and the registry", "local.cache")
    for old in cache.glob("fetching-*"):  # of a run that was killed: we have the lock
        shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-", ignore_cleanup_errors=True) as name:
        work = Path(name)
        shutil.copyfile(pom, work / "pom.xml")  # Maven writes beside the pom
        whole = work / "whole"
        goals = (
            "dependency:copy-dependencies",
            f"-DoutputDirectory={whole / 'libs'}",
            "dependency:unpack",
            f"-Dinto={whole}",
        )
        argv = (maven, "-B", "-q", "-C", "-f", str(work / "pom.xml"), *goals)  # -C: a wrong checksum is an error
        maven_run = Child(Command("maven", argv, cache / "maven.log", work))
        try:
            maven_run.wait_exit(MAVEN_DEADLINE_S)
        except LocalStackError as error:
            said = [line for line in maven_run.output().splitlines() if "[ERROR]" in line]
            raise LocalStackError(f"{said[0] if said else error} (log {cache / 'maven.log'}); {WAYS_OUT}") from error
        finally:
            maven_run.kill()
        sizes = {str(path.relative_to(whole)): path.stat().st_size for path in whole.rglob("*") if path.is_file()}
        (whole / _MANIFEST).write_text(json.dumps(sizes, indent=0))
        if folder.exists():  # damaged
            folder.rename(work / "damaged")
        whole.rename(folder)
