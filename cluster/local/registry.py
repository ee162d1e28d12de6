"""Apicurio Registry on loopback. It speaks Confluent's API; its schemas are in an H2 file beside the broker's data."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

from cluster.local.errors import LocalStackError
from cluster.local.fetch import Programs
from cluster.local.java import flags
from cluster.local.preflight import LOOPBACK, free_ports
from cluster.local.processes import Child, Command

HEAP_MIB = 256
START_DEADLINE_S = 90.0
COMPATIBILITY = "BACKWARD"
_JSON = "application/vnd.schemaregistry.v1+json"


def url(port: int) -> str:
    """Return the address that the clients get."""
    return f"http://{LOOPBACK}:{port}/apis/ccompat/v7"


def start(folder: Path, port: int, programs: Programs, logs: Path, *, bound: bool = True) -> Child:
    """Start the registry with its schemas in `folder`."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    environment = {
        "QUARKUS_HTTP_HOST": LOOPBACK,
        "QUARKUS_HTTP_PORT": str(port),
        "QUARKUS_MANAGEMENT_HOST": LOOPBACK,
        "QUARKUS_MANAGEMENT_PORT": str(free_ports(1)[0]),
        "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
        "APICURIO_STORAGE_KIND": "sql",
        "APICURIO_STORAGE_SQL_KIND": "h2",
        # WRITE_DELAY=0: an id that a client was given is on the disk, for records that name it are kept too.
        "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{folder / 'schemas'};WRITE_DELAY=0",
        "APICURIO_DATASOURCE_JDBC_INITIAL_SIZE": "1",
        "APICURIO_DATASOURCE_JDBC_MIN_SIZE": "1",
        "APICURIO_DATASOURCE_JDBC_MAX_SIZE": "8",
    }
    archive, archive_out = programs.archives.get("registry"), programs.archives_out.get("registry")
    jvm = flags(folder / "tmp", HEAP_MIB, quick=True, archive=archive, archive_out=archive_out)
    argv = (programs.java.path, *jvm, "-cp", programs.jars.registry_class_path, "io.quarkus.runner.GeneratedMain")
    return Child(Command("registry", argv, logs / "registry.log", folder, environment), bound=bound)


def answers(base_url: str, timeout_s: float = 5.0) -> bool:
    """Return whether a Schema Registry answers there."""
    try:
        return isinstance(_call("GET", f"{base_url}/subjects", None, timeout_s), list)
    except (OSError, http.client.HTTPException, ValueError):
        return False


def set_compatibility(base_url: str, level: str = COMPATIBILITY) -> None:
    """Set the global compatibility, which is NONE in a new Apicurio. Raises LocalStackError if that fails."""
    try:
        _call("PUT", f"{base_url}/config", {"compatibility": level}, 10.0)
        answer = _call("GET", f"{base_url}/config", None, 10.0)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LocalStackError(f"the registry at {base_url} does not take compatibility {level}: {error}") from error
    if not isinstance(answer, dict) or answer.get("compatibilityLevel") != level:
        raise LocalStackError(f"the registry at {base_url} does not take compatibility {level}: it says {answer!r}")


def _call(method: str, address: str, body: dict[str, str] | None, timeout_s: float) -> object:
    """Return the JSON that an HTTP call answers. Not by urllib: it would take a loopback address to a proxy."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or LOOPBACK, parts.port, timeout=timeout_s)
    try:
        headers = {"Content-Type": _JSON, "Accept": _JSON}
        connection.request(method, parts.path, json.dumps(body) if body else None, headers)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()
