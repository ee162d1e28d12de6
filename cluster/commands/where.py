"""Where Kafka and the registry are, for commands that work on what runs."""

from __future__ import annotations

from actors.errors import ConfigError
from actors.kafka.client import Cluster
from cluster.config import Config, reveal
from cluster.local import broker, registry, running


def cluster_of(config: Config) -> Cluster:
    """Return Kafka and registry as configured, as `local up` left them, or those of a demo that runs on this machine."""
    kafka, schemas = config.kafka.bootstrap_servers, config.registry.url
    if kafka is None or schemas is None:
        left = running.load(config.local.directory)
        port = config.local.kafka_port
        if left is not None:
            kafka, schemas = kafka or left.bootstrap_servers, schemas or left.registry_url
        elif broker.answers("127.0.0.1", port):
            kafka, schemas = kafka or f"127.0.0.1:{port}", schemas or registry.url(config.local.registry_port)
    if kafka is None or schemas is None:
        missing = "kafka.bootstrap_servers" if kafka is None else "registry.url"
        raise ConfigError(f"{missing} is not set, and no local broker runs: set it, or `chipquality local up`")
    return Cluster(kafka, schemas, reveal(config.kafka.client), reveal(config.registry.client))
