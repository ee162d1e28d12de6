"""What a cluster needs before the first record: topics and schemas."""

from __future__ import annotations

from collections.abc import Mapping

from actors.kafka.admin import Admin
from actors.kafka.client import Cluster
from schemas.registry import Registry, register_all
from schemas.topics import TOPICS


def prepare(cluster: Cluster, partitions: int, replication: int) -> Mapping[tuple[str, str], int]:
    """Create the topics that are missing and register every schema; return schema ids by (topic, record). Idempotent."""
    admin = Admin(cluster.bootstrap_servers, cluster.client)
    admin.apply(admin.plan(TOPICS, partitions, replication))
    registry = Registry(cluster.registry_url, cluster.registry_client)
    return register_all(registry)
