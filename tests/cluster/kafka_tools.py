"""Kafka's own command-line tools, run beside ours: one JVM for each question. Only tests need them, so only tests fetch them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from cluster.local.fetch import POM, fetch, locked
from cluster.local.java import find_java

TIMEOUT_S = 120.0
MAVEN_S = 300.0
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy"  # the version that cluster/local/pom.xml pins


def tools_jar(cache: Path) -> Path:
    """Return the jar of the tools, of the version of the broker; fetched by Maven into the cache that tests and demo share."""
    [version] = re.findall(r"<kafka\.version>([\d.]+)</kafka\.version>", POM.read_text())
    jar = cache / f"kafka-tools-{version}.jar"
    if not jar.is_file():
        with locked(cache), tempfile.TemporaryDirectory(dir=cache, prefix="tools-") as folder:
            maven = shutil.which("mvn")
            assert maven is not None, "Maven fetches Kafka's tools"
            artifact = f"-Dartifact=org.apache.kafka:kafka-tools:{version}"
            argv = (maven, "-B", "-q", "-C", PLUGIN, artifact, f"-DoutputDirectory={folder}")
            subprocess.run(argv, check=True, timeout=MAVEN_S, cwd=folder)
            (Path(folder) / f"kafka-tools-{version}.jar").replace(jar)
    return jar


class KafkaTools:
    """The tools for one cluster."""

    def __init__(self, cache: Path, bootstrap: str) -> None:
        self._class_path = os.pathsep.join((str(tools_jar(cache)), fetch(cache).broker_class_path))
        self._java, self._bootstrap = find_java().path, bootstrap

    def run(self, tool: str, *arguments: str) -> list[list[str]]:
        """Return what a tool prints: the words of every line that is not empty."""
        flags = ("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
        argv = (self._java, *flags, "-cp", self._class_path, tool, "--bootstrap-server", self._bootstrap, *arguments)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return [line.split() for line in done.stdout.splitlines() if line.strip()]
