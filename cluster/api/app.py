"""The API and the page on Ray Serve: two applications, so that open streams never starve a plain GET.

| application | route | replicas | what it does |
|---|---|---|---|
| api | / | `serve.replicas` | the page, its files, every other route |
| stream | /stream | `serve.replicas` | server-sent events: up to STREAMS_MAX readers of each replica at once |

A new deployment replaces replicas one by one: the next one serves, having read the keys, before one of the old is told to end;
that one answers what it has taken. So a request never finds nobody, with one replica too. A stream is not waited for: it is cut,
and resumes elsewhere. What replicas hold in memory, and what they share, stands in docs/api.md.

Serve's own Python proxy listens on `serve.host` only; its HAProxy mode binds other ports on all interfaces, so it stays off.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.errors import ConfigError
from actors.kafka.client import Cluster
from actors.switching import switch_soon
from cluster.access.door import Door
from cluster.access.secret import Secret, secret_of
from cluster.access.wiring import Access, AccessSettings
from cluster.api import problems
from cluster.api.access import Everybody, Unrecorded, judge_first
from cluster.api.document import DESCRIPTION, Documented
from cluster.api.facts import ClusterFacts, Facts, ViewFacts, Views
from cluster.api.parameters import only_known
from cluster.api.quality import Quality, QualitySettings
from cluster.api.stream import stream_router
from cluster.config import Config, reveal
from cluster.detectors import vector_families
from cluster.packages import store_of

STREAMS_MAX = 500  # readers of the stream at once
STREAMS_WAITING_MAX = (
    500  # that wait to be passed on: all of a replica come again at once when it is killed; the next gets 503
)
REQUESTS_MAX = 100
REQUESTS_WAITING_MAX = 400
KEYS_WAIT_S = 8.0  # a replica that has not read the keys by then serves without: it says so to whoever asks
API_DRAIN_S = 65.0  # for a replica to answer what it has taken: more than the slowest answer, a plan, may take
STREAM_DRAIN_S = 2.0  # streams do not end by themselves
LOOK_S = 1.0  # between two looks whether all is answered; within it, the proxies hear that the replica ends
HEALTH_S = 2.0  # between two looks whether a replica lives; who dies is replaced
SURGE_PERCENT = 50  # one replica more while they are replaced, of one or two
SERVE_SETTINGS = {  # of Serve's controller, also in a Ray that is not ours
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",  # after 5 s it kills a proxy that a busy machine has not started yet
    # from proxy to replica by gRPC, sent by the loop that has the request: half the processor time of a call to an actor
    "RAY_SERVE_PROXY_USE_GRPC": "1",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    # what waits goes to threads by itself: a request is answered by the loop that took it
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
}
API_APP, STREAM_APP = "api", "stream"

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_CSP_DOCS = _CSP.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")  # Swagger UI styles elements inline
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
HSTS = "max-age=31536000"  # a year; only said by https


class SecurityHeaders:
    """ASGI middleware: the browser loads and connects to nothing but us, and asks anew for each file of the page."""

    def __init__(self, app: ASGIApp, *, https: bool = False) -> None:
        self.app, self.https = app, https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        path = str(scope.get("path", ""))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers["Content-Security-Policy"] = _CSP_DOCS if path == "/docs" else _CSP
                if path == "/" or path.startswith("/web/"):
                    headers["Cache-Control"] = "no-cache"  # a new release must not meet an old page
                else:
                    headers.setdefault("Cache-Control", "private, no-cache")  # for nobody but whoever may
                if self.https:
                    headers["Strict-Transport-Security"] = HSTS
            await send(message)

        await self.app(scope, receive, send_with_headers)


class AtPrefix:
    """ASGI middleware: the prefix that Serve mounts an app at is the app's "/", without a redirect to "<prefix>/"."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http" and scope["path"] == scope.get("root_path"):
            scope = {**scope, "path": f"{scope['path']}/"}
        await self.app(scope, receive, send)


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    """What a replica does before its first request and after its last; apps that are tested in process do neither."""
    access: Access | None = app.state.access
    if access is not None:
        await asyncio.to_thread(access.following.wait, KEYS_WAIT_S)
    yield
    await asyncio.to_thread(_leave, app)


def _leave(app: FastAPI) -> None:
    desks: Quality | None = getattr(app.state, "quality", None)
    if desks is not None:
        desks.close()
    if app.state.access is not None:
        app.state.access.close()  # what the audit trail has counted is told


def _app(
    title: str, facts: Views | None, access: Access | None, *, everything_closed: bool = False, **settings: Any
) -> FastAPI:
    app = Documented(
        title=title,
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[judge_first, only_known],
        lifespan=_life,
        **settings,
    )
    app.state.facts = facts
    app.state.access = access
    app.state.guard = access.guard if access else Everybody()
    app.state.audit = access.audit if access else Unrecorded()
    problems.install(app)
    if access is not None:
        limits = access.settings.limits
        app.add_middleware(Door, guard=access.guard, limits=limits, everything_closed=everything_closed)
    app.add_middleware(SecurityHeaders, https=access is not None and access.settings.https)
    if access is not None and access.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=access.settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "If-Match",
                "If-None-Match",
                "Last-Event-ID",
            ],
            expose_headers=["ETag", "Location", "Retry-After"],
            allow_credentials=False,  # another site shows a key; our cookie is for our own page
        )
    return app


def build_api(
    facts: Facts | None, access: Access | None = None, desks: Quality | None = None, store: str = ""
) -> FastAPI:
    """Return the app of the "api" deployment. It documents the stream too, which the other deployment answers.

    Without `access` everybody may do everything: for tests within one process. `deploy` always gives it. Without `facts` it
    answers nothing, and has its document all the same: nothing is connected to, and Ray is not imported.
    """
    from cluster.api.routes import (  # noqa: PLC0415  (not needed by the stream)
        alerts,
        analytics,
        audit,
        capability,
        dead_letters,
        deployments,
        detectors,
        jobs,
        keys,
        limits,
        management,
        monitoring,
        operations,
        page,
        publishing,
        quality,
        schemas,
        session,
        wafer_maps,
    )

    app = _app("chipquality", facts, access, description=DESCRIPTION)
    app.state.quality = desks
    app.state.store = store  # of detector packages
    about_kafka = (monitoring, schemas, analytics, dead_letters)
    about_quality = (quality, alerts, limits, capability, wafer_maps, detectors)
    changing = (
        management,
        operations,
        jobs,
        deployments,
        publishing,
    )  # in this order: POST /events/{category} would take /events/replay
    about_access = (session, keys, audit)
    routers = [part.router for part in (*about_kafka, *about_quality, *changing, *about_access, page)]
    for router in (*routers, stream_router("/stream")):
        app.include_router(router)
    app.mount("/web", page.static_files())
    return app


def build_stream(facts: Views, access: Access | None = None) -> FastAPI:
    """Return the app of the "stream" deployment; Serve mounts it at /stream. `access`: see build_api."""
    app = _app("chipquality stream", facts, access, everything_closed=True)
    app.include_router(stream_router("/"))
    app.add_middleware(AtPrefix)
    return app


def _port_is_free(config: Config) -> None:
    """Raise ConfigError if the API's port cannot be bound on this machine."""
    host, port = config.serve.host, config.serve.port
    setting = "serve.port (CHIPQUALITY_SERVE__PORT)"
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(f"serve.host = {host!r} is no address of this machine: {error.strerror}") from error
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(f"port {port} on {host} is taken: set {setting} to a free one") from error
            raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}; the setting is {setting}") from error


def deploy(config: Config, pipeline: str, cluster: Cluster | None = None, secret: Secret | None = None) -> str:
    """Start the API and the page of a pipeline on the Ray that this process is connected to; return the page's URL.

    `cluster` says where Kafka and the registry are, if the configuration does not; `secret` what keys stand on, likewise. Raises
    ConfigError, in one line, if the port is taken or Serve listens elsewhere already, or there is no secret. Calling it again
    updates both applications in place.
    """
    from ray import serve  # noqa: PLC0415  (a second of imports that other commands do not need)

    where = cluster or Cluster(
        config.kafka.bootstrap_servers or "",
        config.registry.url or "",
        reveal(config.kafka.client),
        reveal(config.registry.client),
    )
    settings = AccessSettings.of(config, where, secret or secret_of(config, ours=False))
    listens = _where_serve_listens()
    if listens is not None and listens != (config.serve.host, config.serve.port):
        raise ConfigError(
            f"Ray Serve runs already, on {listens[0]}:{listens[1]}, and cannot move: set serve.host and serve.port "
            "(CHIPQUALITY_SERVE__HOST, CHIPQUALITY_SERVE__PORT) to that, or shut Serve down"
        )
    if listens is None:
        _port_is_free(config)
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": config.serve.host, "port": config.serve.port, **_tls(config)},
            logging_config={"enable_access_log": False},
            controller_options={"runtime_env": {"env_vars": SERVE_SETTINGS}},
        )

    serve.run_many(_applications(config, pipeline, where, settings))
    host = f"[{config.serve.host}]" if ":" in config.serve.host else config.serve.host
    return f"{'https' if config.serve.tls_cert_file else 'http'}://{host}:{config.serve.port}/"


def _applications(config: Config, pipeline: str, where: Cluster, settings: AccessSettings) -> list[Any]:
    """Return what Serve is to run: the API, and the stream beside it, whose readers stay for hours."""
    from ray import serve  # noqa: PLC0415  (a second of imports that other commands do not need)

    store = store_of(config).url
    quality = QualitySettings(pipeline, vectors=vector_families(config), shared=True)

    def api() -> FastAPI:
        switch_soon()
        facts = ClusterFacts(where, pipeline)
        facts.sample()
        return build_api(facts, Access(settings), Quality(where, quality), store)

    def stream() -> FastAPI:
        switch_soon()
        return build_stream(ViewFacts(pipeline), Access(settings))

    common: dict[str, Any] = {
        "num_replicas": config.replicas,
        "ray_actor_options": {"num_cpus": 0},
        "max_surge_percent": SURGE_PERCENT,
        "graceful_shutdown_wait_loop_s": LOOK_S,
        "health_check_period_s": HEALTH_S,
    }
    api_deployment = serve.deployment(
        name=f"api:{pipeline}",
        max_ongoing_requests=REQUESTS_MAX,
        max_queued_requests=REQUESTS_WAITING_MAX,
        graceful_shutdown_timeout_s=API_DRAIN_S,
        **common,
    )(serve.ingress(api)())
    stream_deployment = serve.deployment(
        name=f"stream:{pipeline}",
        max_ongoing_requests=STREAMS_MAX,
        max_queued_requests=STREAMS_WAITING_MAX,
        graceful_shutdown_timeout_s=STREAM_DRAIN_S,
        **common,
    )(serve.ingress(stream)())
    return [
        serve.RunTarget(api_deployment.bind(), name=API_APP, route_prefix="/"),
        serve.RunTarget(stream_deployment.bind(), name=STREAM_APP, route_prefix="/stream"),
    ]


def _tls(config: Config) -> dict[str, str]:
    """Return Serve's settings for https, whose proxy is uvicorn. Raises ConfigError for files that are not there."""
    cert, key = config.serve.tls_cert_file, config.serve.tls_key_file
    if (cert is None) != (key is None):
        raise ConfigError("serve.tls_cert_file and serve.tls_key_file go together: one of them is not set")
    if cert is None or key is None:
        return {}
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=lambda: "")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(f"serve.tls_cert_file = {str(cert)!r}, serve.tls_key_file = {str(key)!r}: {error}") from error
    return {"ssl_certfile": str(cert.resolve()), "ssl_keyfile": str(key.resolve())}


def _where_serve_listens() -> tuple[str, int] | None:
    """Return host and port of the Serve of this Ray cluster; None if there is none."""
    from ray.serve.context import _get_global_client  # noqa: PLC0415
    from ray.serve.exceptions import RayServeException  # noqa: PLC0415

    try:
        client = _get_global_client()
    except RayServeException:
        return None
    return None if client is None else (str(client.http_config.host), int(client.http_config.port))


def undeploy() -> None:
    """Stop the API, the page and Serve itself; its port is free afterwards."""
    from ray import serve  # noqa: PLC0415

    serve.shutdown()  # type: ignore[no-untyped-call]
