"""What the audit trail says, read from the real broker."""

from __future__ import annotations

from typing import Any

from actors.kafka.client import Cluster
from cluster.access.audit_reader import newest
from cluster.local import Endpoints
from schemas.registry import Registry

NEWEST = 150


def recorded(stack: Endpoints, resource: str) -> list[dict[str, Any]]:
    """Return what was changed about a resource, the oldest first."""
    cluster = Cluster(stack.bootstrap_servers, stack.registry_url)

    def wanted(event: Any) -> bool:
        return event["event_type"] == "AUDIT_RECORDED" and event["resource"] == resource

    return newest(cluster, Registry(cluster.registry_url).schema, NEWEST, wanted).items[::-1]


def actions(stack: Endpoints, resource: str) -> list[str]:
    """Return what was done about a resource, the oldest first."""
    return [event["action"] for event in recorded(stack, resource)]
