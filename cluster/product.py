"""Everything up, everything down: broker, registry, Ray, topics, pipeline, view, API and page.

`Product` starts what is not there and leaves alone what the configuration points at. It is what `chipquality demo` and
`chipquality run` stand on.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import ray

from actors import supervisor
from actors.kafka.client import Cluster
from actors.names import NAMESPACE
from actors.pipeline import Pipeline
from actors.prepare import prepare
from actors.producers.publisher import Publisher
from actors.view import actor as view
from actors.view.reader import Sources
from cluster.access.desk import Desk
from cluster.access.following import read_book
from cluster.access.secret import secret_of
from cluster.commands.notify import escalation_task, notify_task, routes_of
from cluster.commands.recording import publish
from cluster.config import Config, reveal
from cluster.detectors import judging_of
from cluster.local.preflight import require_free
from cluster.local.stack import LocalStack
from cluster.operations import actor as operations
from cluster.pipelines import pipelines_of
from cluster.ray_address import RAY_SETTINGS, connect, own_signal_handlers, told_in
from schemas.registry import Registry
from schemas.topics import ALERT_ACTIONS, INSPECTION, MEASUREMENTS, VECTORS, dead_letter_topic

Progress = Callable[[str, float], None]


class Product:
    """The running product. Use as a context manager: leaving it stops all that it started."""

    def __init__(
        self, config: Config, progress: Progress, *, notes: Sequence[str] = (), keep_data: bool = False
    ) -> None:
        self.config = config
        self._judging = judging_of(config)  # a detector that cannot be made is refused before anything starts
        _check_routes(config)  # so is a route of the notifier
        self.progress = progress
        self.notes = tuple(notes)
        self.keep_data = keep_data
        self.cluster = Cluster("")
        self.page_url = ""
        self.first_key = ""  # of an admin, made by us because there was none; shown once
        self.dashboard_url = ""
        self.how = ""
        self._running: list[str] = []  # pipelines
        self._exit = ExitStack()

    def __enter__(self) -> Product:
        """Start everything; on an error stop what has been started."""
        try:
            self.start()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what was started, last first."""
        self._exit.close()

    def start(self) -> None:
        """Start the parts in order, telling each with its time."""
        self._check_ports()
        self._secret = secret_of(self.config, ours=self.config.kafka.bootstrap_servers is None)
        self._start_stack()
        self._timed("Ray", self._start_ray)
        self._timed("topics and schemas", self._prepare)
        self._timed("pipeline", self._start_pipelines)
        if self.config.notify.routes:
            self._timed("notifier", self._start_notifier)
        self._timed("API and page", self._start_serve)
        self._timed("keys", self._make_first_key)
        self._timed("slot live", self._wait_live)
        self._start_escalator()  # last, and not waited for: nothing is due in the first minutes

    def _timed(self, what: str, do: Callable[[], Any]) -> None:
        started = time.monotonic()
        do()
        self.progress(what, time.monotonic() - started)

    def _check_ports(self) -> None:
        require_free(self.config.serve.port, "page and the API", "serve.port")
        if self.config.ray.address is None:
            require_free(self.config.ray.dashboard_port, "Ray dashboard", "ray.dashboard_port")

    def _start_stack(self) -> None:
        stack = LocalStack.from_config(self.config, keep_data=self.keep_data)
        self._exit.callback(stack.stop)
        endpoints = stack.start(self.progress)
        self.how = endpoints.how
        self.cluster = Cluster(
            endpoints.bootstrap_servers,
            endpoints.registry_url,
            reveal(self.config.kafka.client),
            reveal(self.config.registry.client),
        )

    def _start_ray(self) -> None:
        config = self.config.ray
        self._exit.callback(ray.shutdown)
        with own_signal_handlers():
            if config.address is not None:
                connect(self.config)
            else:
                os.environ.update(RAY_SETTINGS)
                context = ray.init(
                    address="local",  # a new one, also where another Ray runs on this machine
                    num_cpus=max(4, os.cpu_count() or 1),  # our actors wait more than they compute
                    namespace=NAMESPACE,
                    include_dashboard=True,
                    dashboard_host="127.0.0.1",
                    dashboard_port=config.dashboard_port,
                    object_store_memory=config.object_store_bytes,
                    log_to_driver=False,
                    configure_logging=False,
                    _node_ip_address="127.0.0.1",
                )
                self.dashboard_url = f"http://{context.dashboard_url}"
                self._exit.enter_context(told_in(self.config.local.directory, ray.get_runtime_context().gcs_address))
        _route_ray_logs()

    def _prepare(self) -> None:
        kafka = self.config.kafka
        self._schema_ids = prepare(self.cluster, kafka.input_partitions, kafka.replication_factor)

    def pipelines(self) -> list[Pipeline]:
        """Return the pipelines as configured: the main one, and that of vectors if there is one."""
        return pipelines_of(self.config, self._judging, self.cluster, self._schema_ids)

    def _start_pipelines(self) -> None:
        for pipeline in self.pipelines():
            self._exit.callback(supervisor.stop_pipeline, pipeline.name)
            slots = self.config.pipeline.slots if pipeline.name == self.config.pipeline.name else None
            supervisor.start_pipeline(pipeline, slots)
            self._running.append(pipeline.name)

    def _start_notifier(self) -> None:
        from actors.sinks.notify import start_notifier, stop_notifier  # noqa: PLC0415 - apprise is not always wanted

        self._exit.callback(stop_notifier)
        start_notifier(notify_task(self.config, self.cluster))

    def _start_escalator(self) -> None:
        from actors.sinks.escalator import start_escalator, stop_escalator  # noqa: PLC0415 - apprise is slow to import

        task = escalation_task(self.config, self.cluster)
        if task is not None:
            self._exit.callback(stop_escalator)
            start_escalator(task)

    def _wait_live(self) -> None:
        for name in self._running:
            supervisor.wait_live(name)

    def _start_serve(self) -> None:
        os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")  # read when Serve is imported
        from cluster.api import publisher  # noqa: PLC0415 - Serve is slow to import and not always wanted
        from cluster.api.app import deploy, undeploy  # noqa: PLC0415

        name = self.config.pipeline.name
        self._exit.callback(view.stop, name)
        also = tuple(running for running in self._running if running != name)
        sources = Sources(
            dead_letters=tuple(dead_letter_topic(t) for t in (MEASUREMENTS, *([VECTORS] if also else []))),
            lives=ALERT_ACTIONS,
            inspections=INSPECTION,
        )
        view.start(self.cluster, name, sources=sources, notes=self.notes, also=also)
        self._exit.callback(operations.stop, name)
        self._exit.callback(publisher.stop, name)
        self._exit.callback(undeploy)
        self.page_url = deploy(self.config, name, self.cluster, self._secret)

    def _make_first_key(self) -> None:
        registry = Registry(self.cluster.registry_url, self.cluster.registry_client)
        book = read_book(self.cluster, self._secret)
        with Publisher(self.cluster.bootstrap_servers, registry, self.cluster.client) as publisher:
            desk = Desk(publisher, lambda: time.time_ns() // 1_000_000)
            minted = desk.first(book)
            if minted:
                shown = minted.key.shown(desk.now_ms())
                publish(publisher, minted.key.created_by, "keys.create", f"key {minted.key.key_id}", None, shown)
        self.first_key = minted.text if minted else ""

    @property
    def entrance(self) -> str:
        """Return the page's address, with the key that we have made, if we have: a browser that opens it is signed in."""
        return f"{self.page_url}#key={self.first_key}" if self.first_key else self.page_url

    def status(self) -> dict[str, Any]:
        """Return the deal of the main pipeline and the status of each owner."""
        return supervisor.wait_status(self.config.pipeline.name, lambda _: True, 10.0)


def _check_routes(config: Config) -> None:
    """Raise ConfigError for a route of the notifier that cannot be."""
    if config.notify.routes:
        from actors.sinks.sending import AppriseSender  # noqa: PLC0415 - apprise is not always wanted

        AppriseSender(routes_of(config))


def log_to_file(config: Config) -> Path:
    """Send what this process logs to a file beside the local processes' logs; the terminal is for progress."""
    folder = config.local.directory / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "product.log"
    handler = logging.FileHandler(file, mode="w")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    _route_ray_logs()
    return file


def _route_ray_logs() -> None:
    """Send Ray's own messages where ours go; Ray sets its handlers anew when it starts."""
    for name in ("ray", "ray.serve"):
        logging.getLogger(name).handlers = logging.getLogger().handlers[:]
        logging.getLogger(name).propagate = False
