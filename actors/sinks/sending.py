"""Sending a message with apprise: the only module that imports it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import apprise

from actors.errors import ConfigError
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
    """Sends to the addresses of routes. Raises ConfigError, naming the route, for one that apprise cannot read."""

    def __init__(self, routes: Iterable[Route], timeout_s: float = SEND_TIMEOUT_S) -> None:
        asset = apprise.AppriseAsset(
            app_id="chipquality", app_desc="chipquality", app_url="", service_timeout=timeout_s, storage_mode="memory"
        )
        self._services: dict[str, apprise.Apprise] = {}
        for route in routes:
            for number, url in enumerate(route.urls):
                service = apprise.Apprise(asset=asset)
                with _unsaid():
                    taken = service.add(url)
                if not taken:
                    raise ConfigError(f"notify.routes: {route.name}: url {number} is none that apprise can read")
                self._services[url] = service

    def __call__(self, url: str, message: Message) -> None:
        """Send. Raises NotSentError if the service did not take it, or not in time."""
        told: list[str] = []
        sent = self._services[url].notify(
            title=message.title,
            body=message.body,
            notify_type=_TYPE[message.urgency],
            body_format=apprise.NotifyFormat.TEXT,
            log_callback=lambda entry, _: told.append(entry.message),
            log_level=logging.WARNING,
        )
        if not sent:
            raise NotSentError(told[-1][:DETAIL_CHARS] if told else "the service did not take it, or not in time")
