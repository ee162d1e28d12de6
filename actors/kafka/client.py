"""Where Kafka is and how every client of ours talks to it: the settings that all of them share."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_LOG = logging.getLogger("chipquality.kafka")


@dataclass(frozen=True)
class Cluster:
    """A Kafka cluster and its registry as clients see them."""

    bootstrap_servers: str
    registry_url: str = ""
    client: Mapping[str, str] = field(default_factory=dict, repr=False)  # librdkafka's own settings; may hold secrets
    registry_client: Mapping[str, str] = field(default_factory=dict, repr=False)

    def settings(self, **ours: object) -> dict[str, Any]:
        """Return librdkafka settings: ours (underscores for dots) over the user's over the shared ones."""
        return {
            "socket.timeout.ms": 5_000,  # a broker that has gone silent is given up; busy ones answer within a second
            "socket.connection.setup.timeout.ms": 3_000,
            "reconnect.backoff.max.ms": 500,  # as it is, a broker that is back is tried after up to 10 s
            "logger": _LOG,
            **self.client,
            **{name.replace("_", "."): value for name, value in ours.items()},
            "bootstrap.servers": self.bootstrap_servers,
        }
