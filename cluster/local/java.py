"""The Java that is here, and the flags that make a JVM start fast and leave nothing behind."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cluster.local.errors import ToolMissingError

MAJOR_MIN = 17  # Kafka 4's brokers are compiled for it


@dataclass(frozen=True)
class Java:
    """A Java that will do."""

    path: str
    major: int
    identity: str  # a hash of path and full version: a class archive fits one JVM only


def find_java() -> Java:
    """Return the Java of JAVA_HOME, else of PATH. Raises ToolMissingError if there is none, or it is older than 17."""
    home = os.environ.get("JAVA_HOME")
    path = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    path = path or shutil.which("java")
    if path is None:
        raise ToolMissingError(f"Java is missing (Java {MAJOR_MIN} or newer is needed)")
    try:
        answer = subprocess.run((path, "-version"), capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolMissingError(f"{path} does not run: {error}") from error
    text = answer.stderr + answer.stdout
    if (major := major_version(text)) is None:
        raise ToolMissingError(f"{path} -version says no version: {text.strip()[:200]!r}")
    if major < MAJOR_MIN:
        raise ToolMissingError(f"{path} is Java {major}, Java {MAJOR_MIN} or newer is needed")
    # Only the lines that tell the version: JAVA_TOOL_OPTIONS and the like are echoed too.
    version = "\n".join(line for line in text.splitlines() if not line.startswith("Picked up"))
    return Java(path, major, hashlib.sha256(f"{Path(path).resolve()}\n{version}".encode()).hexdigest()[:12])


def major_version(text: str) -> int | None:
    """Return the major version that `java -version` printed.

    >>> major_version('openjdk version "17.0.15" 2025-04-15'), major_version('java version "1.8.0_292"')
    (17, 8)
    """
    found = re.search(r'version "(\d+)(?:\.(\d+))?', text)
    if found is None:
        return None
    major, minor = found.groups()
    return int(minor) if major == "1" and minor else int(major)


def flags(
    temporary: Path, heap_mib: int, *, quick: bool, archive: Path | None = None, archive_out: Path | None = None
) -> list[str]:
    """Return a JVM's flags. `quick`: the first compiler only, for runs of minutes.

    Measured on 2 cores (transactions of 50 records, back to back): the first 1,000 commits take 8.8 s with the first
    compiler alone and 12.4 s with both, and half the CPU; from about the 4,000th commit on both together are faster
    (3.2 against 4.8 ms). A class archive takes the broker's start from 3.0 s to 1.8 s, with `quick` to 1.1 s; the
    registry's from 2.8 s to 1.6 s.
    """
    chosen = [f"-Xmx{heap_mib}m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"]
    chosen += ["-XX:-UsePerfData", f"-Djava.io.tmpdir={temporary}"]  # nothing in /tmp, even after SIGKILL
    if quick:
        chosen.append("-XX:TieredStopAtLevel=1")
    if archive is not None:
        chosen.append(f"-XX:SharedArchiveFile={archive}")  # does it not fit, the JVM goes on without
    if archive_out is not None:
        chosen.append(f"-XX:ArchiveClassesAtExit={archive_out}")
    return chosen
