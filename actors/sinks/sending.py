"""Sending a message with apprise: the only module that imports it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

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
                if not service.add(url):
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
