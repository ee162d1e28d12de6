"""Sending a message with apprise: the only module that imports it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import apprise

from actors.errors import ConfigError
from actors.sinks.addresses import leads_to_private, public_only
from actors.sinks.notifier import SEND_TIMEOUT_S, NotSentError
from actors.sinks.routes import Message, Route

_TYPE = {
    "critical": apprise.NotifyType.FAILURE,
    "warning": apprise.NotifyType.WARNING,
    "closed": apprise.NotifyType.SUCCESS,
    "summary": apprise.NotifyType.INFO,
}
DETAIL_CHARS = 300  # of why a message was not accepted


@contextmanager
def _unsaid() -> Iterator[None]:
    """Let apprise log nothing from this thread: of an address that it cannot read it logs a part, which may be a token."""
    log, here = logging.getLogger("apprise"), threading.get_ident()

    def elsewhere(entry: logging.LogRecord) -> bool:
        return entry.thread != here

    log.addFilter(elsewhere)
    try:
        yield
    finally:
        log.removeFilter(elsewhere)


class AppriseSender:
    """Sends to the addresses of routes.

    Raises ConfigError, naming the route, for one that apprise cannot read, or that leads into a private network where the route
    does not allow it.
    """

    def __init__(self, routes: Iterable[Route], timeout_s: float = SEND_TIMEOUT_S) -> None:
        asset = apprise.AppriseAsset(
            app_id="chipquality", app_desc="chipquality", app_url="", service_timeout=timeout_s, storage_mode="memory"
        )
        self._services: dict[str, apprise.Apprise] = {}
        self._private: set[str] = set()  # addresses that may lead into private networks
        for route in routes:
            for number, url in enumerate(route.urls):
                service = apprise.Apprise(asset=asset)
                with _unsaid():
                    taken = service.add(url)
                if not taken:
                    raise ConfigError(f"notify.routes: {route.name}: url {number} is none that apprise can read")
                if route.allow_private:
                    self._private.add(url)
                else:
                    _check(service, f"notify.routes: {route.name}: url {number}")
                self._services[url] = service

    def __call__(self, url: str, message: Message) -> None:
        """Send. Raises NotSentError if the service did not take it, or not in time."""
        told: list[str] = []
        private: list[str] = []  # what was refused for where it led
        with ExitStack() as stack:
            if url not in self._private:
                private = stack.enter_context(public_only())
            sent = self._services[url].notify(
                title=message.title,
                body=message.body,
                notify_type=_TYPE[message.urgency],
                body_format=apprise.NotifyFormat.TEXT,
                log_callback=lambda entry, _: told.append(entry.message),
                log_level=logging.WARNING,
            )
        if not sent:
            why = (*private, *told[::-1], "the service did not take it, or not in time")[0]
            raise NotSentError(why[:DETAIL_CHARS])


def _check(service: apprise.Apprise, what: str) -> None:
    """Raise ConfigError if an address leads into a private network already now; when something is sent it is asked again.

    Only where the address names the host: elsewhere apprise keeps a token in the same place, which no name server may see.
    """
    for one in service:
        hosts = [getattr(one, "smtp_host", None)]
        templates: tuple[str, ...] = tuple(one.templates)
        if any("{host}" in template for template in templates):
            hosts.append(one.host)
        for host in filter(None, hosts):
            if why := leads_to_private(str(host)):
                raise ConfigError(f"{what}: {why}")
