"""The cache of jars, with a program in place of Maven; and the class archives, written by the real broker and registry."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.local import LocalStackError, java
from cluster.local.errors import ToolMissingError
from cluster.local.fetch import Jars, Programs, fetch
from cluster.local.java import find_java
from cluster.local.warm import with_archives

pytestmark = pytest.mark.processes

REPOSITORY = Path(__file__).parents[2]

# Writes what Maven would: jars under -DoutputDirectory=…, the unpacked archive under -Dinto=…; one line per call in calls.log.
_MAVEN = r"""#!/bin/sh
echo "$@" >> "$(dirname "$0")/calls.log"
for argument; do case $argument in
    -DoutputDirectory=*) libs=${argument#*=} ;;
    -Dinto=*) into=${argument#*=} ;;
esac; done
mkdir -p "$libs" "$into/registry/lib"
echo b > "$libs/b.jar"; echo a > "$libs/a.jar"
echo r > "$into/registry/runner.jar"; echo l > "$into/registry/lib/l.jar"
"""


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `mvn` first in PATH; its calls are in calls.log beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "mvn").write_text(_MAVEN)
    (folder / "mvn").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder / "mvn"


@pytest.fixture
def pom(tmp_path: Path) -> Path:
    file = tmp_path / "pom.xml"
    file.write_text("<project/>")
    return file


def calls(maven: Path) -> list[str]:
    log = maven.with_name("calls.log")
    return log.read_text().splitlines() if log.exists() else []


def test_maven_is_called_once_for_each_pom(tmp_path: Path, maven: Path, pom: Path) -> None:
    cache = tmp_path / "cache"
    jars = fetch(cache, pom)
    assert fetch(cache, pom) == jars
    assert len(calls(maven)) == 1
    assert "-C" in calls(maven)[0].split()  # checksums are strict
    assert [Path(jar).name for jar in jars.broker_class_path.split(":")] == ["a.jar", "b.jar"]
    assert [Path(jar).name for jar in jars.registry_class_path.split(":")] == ["runner.jar", "l.jar"]
    pom.write_text("<project></project>")
    assert fetch(cache, pom).folder != jars.folder
    assert len(calls(maven)) == 2
    assert sorted(path.name for path in cache.iterdir() if path.name.startswith("fetching-")) == []


def test_a_warm_cache_needs_no_maven(tmp_path: Path, maven: Path, pom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(tmp_path / "cache", pom)
    monkeypatch.setenv("PATH", str(tmp_path))
    fetch(tmp_path / "cache", pom)
    assert len(calls(maven)) == 1
    with pytest.raises(ToolMissingError, match=r"Maven .* is missing"):
        fetch(tmp_path / "other", pom)


@pytest.mark.parametrize("damage", ["truncate", "delete", "manifest"])
def test_a_damaged_cache_is_fetched_again(tmp_path: Path, maven: Path, pom: Path, damage: str) -> None:
    jars = fetch(tmp_path / "cache", pom)
    jar = jars.folder / "libs" / "a.jar"
    if damage == "truncate":
        jar.write_text("")
    elif damage == "delete":
        jar.unlink()
    else:
        (jars.folder / "manifest.json").write_text("{")
    fetch(tmp_path / "cache", pom)
    assert jar.read_text() == "a\n"
    assert len(calls(maven)) == 2


def test_a_fetch_that_was_killed_leaves_nothing_that_counts(tmp_path: Path, maven: Path, pom: Path) -> None:
    half = tmp_path / "cache" / "fetching-half"
    half.mkdir(parents=True)
    (half / "a.jar").write_text("a")
    fetch(tmp_path / "cache", pom)
    assert not half.exists()
    assert len(calls(maven)) == 1


def test_two_processes_at_once_fetch_once(tmp_path: Path, maven: Path, pom: Path) -> None:
    script = "import pathlib, sys; from cluster.local.fetch import fetch; fetch(*map(pathlib.Path, sys.argv[1:]))"
    argv = (sys.executable, "-c", script, str(tmp_path / "cache"), str(pom))
    both = [subprocess.Popen(argv, cwd=REPOSITORY) for _ in range(2)]
    assert [one.wait(60) for one in both] == [0, 0]
    assert len(calls(maven)) == 1


def test_what_maven_says_is_told(tmp_path: Path, maven: Path, pom: Path) -> None:
    maven.write_text("#!/bin/sh\necho '[INFO] hm'; echo '[ERROR] no route to host'; echo '[ERROR] more'; exit 1\n")
    with pytest.raises(LocalStackError, match=r"^\[ERROR\] no route to host \(log .*maven\.log\); ways out: \(1\)"):
        fetch(tmp_path / "cache", pom)
    maven.write_text("#!/bin/sh\necho broken; exit 2\n")
    with pytest.raises(LocalStackError, match=r"maven failed \(exit code 2\); log .* ends: broken"):
        fetch(tmp_path / "cache", pom)


def test_archives_that_cannot_be_written_are_done_without(tmp_path: Path) -> None:
    folder = tmp_path / "jars"
    (folder / "libs").mkdir(parents=True)
    (folder / "registry").mkdir()
    programs = with_archives(Programs(find_java(), Jars(folder)), tmp_path)  # no jars: neither program starts
    assert programs.archives == {}


@pytest.mark.kafka
def test_archives_are_written_once_and_used(local_cache: Path, tmp_path: Path) -> None:
    fetched = fetch(local_cache)
    folder = tmp_path / "jars"
    folder.mkdir()
    for name in ("libs", "registry"):
        (folder / name).symlink_to(fetched.folder / name)
    cold = Programs(find_java(), Jars(folder))
    warm = with_archives(cold, tmp_path)
    assert set(warm.archives) == {"broker", "registry"}
    assert all(path.stat().st_size > 10_000_000 for path in warm.archives.values())
    assert with_archives(cold, tmp_path) == warm
    for name, class_path, main in (
        ("broker", warm.jars.broker_class_path, "kafka.Kafka"),
        ("registry", warm.jars.registry_class_path, "no.such.Main"),
    ):
        argv = (warm.java.path, "-Xshare:on", f"-XX:SharedArchiveFile={warm.archives[name]}", "-cp", class_path, main)
        said = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert "shared" not in (said.stdout + said.stderr).lower()  # -Xshare:on refuses an archive that does not fit
    empty = replace(cold, java=replace(cold.java, identity="none"))
    for name in ("broker", "registry"):
        (folder / f"{name}-none.jsa").touch()
    assert with_archives(empty, tmp_path).archives == {}


def test_the_flags_of_a_jvm(tmp_path: Path) -> None:
    flags = java.flags(tmp_path, 64, quick=False, archive_out=tmp_path / "out.jsa")
    assert "-Xmx64m" in flags
    assert "-XX:TieredStopAtLevel=1" not in flags
    assert f"-XX:ArchiveClassesAtExit={tmp_path / 'out.jsa'}" in flags
    assert "-XX:TieredStopAtLevel=1" in java.flags(tmp_path, 64, quick=True)
