"""Class archives: a JVM that finds its classes parsed in a file starts in half the time (JEP 350).

They are written once for each Java, by a broker and a registry that start, answer and stop. Without them everything
works, later: where a Java takes the option and writes nothing, an empty file says so and nobody tries again.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from cluster.local import broker, registry
from cluster.local.errors import LocalStackError
from cluster.local.fetch import Programs, locked
from cluster.local.preflight import free_ports
from cluster.local.processes import Child, stop_all

STOP_GRACE_S = 60.0  # the archive is written at the exit


def with_archives(programs: Programs, cache: Path) -> Programs:
    """Return the programs with the class archives of their Java, written now if they are not there yet."""
    folder, java = programs.jars.folder, programs.java
    paths = {name: folder / f"{name}-{java.identity}.jsa" for name in ("broker", "registry")}
    if not all(path.exists() for path in paths.values()):
        with locked(cache):
            if not all(path.exists() for path in paths.values()):
                _write(paths, programs)
    return replace(programs, archives={n: path for n, path in paths.items() if path.exists() and path.stat().st_size})


def _write(paths: dict[str, Path], programs: Programs) -> None:
    """Run each program once and let it write its archive as it stops."""
    with tempfile.TemporaryDirectory(
        dir=programs.jars.folder, prefix="archive-", ignore_cleanup_errors=True
    ) as temporary:
        folder = Path(temporary)
        written = {name: folder / f"{name}.jsa" for name in paths}
        programs = replace(programs, archives_out=written)
        client_port, controller_port, registry_port = free_ports(3)
        address = registry.url(registry_port)
        node = broker.Node(1, folder / "node-1", client_port, controller_port)
        children: list[Child] = []
        try:
            children.append(one := registry.start(folder / "registry", registry_port, programs, folder))
            broker.write_settings(node, [node])
            broker.format_data([node], programs, folder)
            children.append(other := broker.start(node, programs, folder))
            other.wait_until(lambda: broker.is_up(other, node), broker.START_DEADLINE_S)
            one.wait_until(lambda: registry.answers(address), registry.START_DEADLINE_S)
            registry.set_compatibility(address)
        except LocalStackError:
            return  # a Java without the option; a start that fails for another reason fails again, and is told then
        finally:
            stop_all(children, STOP_GRACE_S)
        for name, path in paths.items():
            if written[name].exists():
                written[name].replace(path)
            else:
                path.touch()
