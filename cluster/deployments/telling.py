"""What becomes of deployed detectors as events in `fab.ml`: where a model was deployed to, and that one was switched off."""

from __future__ import annotations

import logging

from actors.kafka.client import Cluster
from actors.kafka.delivery import PublishError
from actors.producers.category import Context
from actors.producers.ml import MlPublisher, Model
from actors.producers.publisher import Publisher
from cluster.deployments.record import Deployment, Phase, mode_text
from schemas.registry import Registry, RegistryUnavailable, SchemaRefused

_LOG = logging.getLogger("chipquality.deployments")

_ENVIRONMENTS = {Phase.live: "production"}
TELL_S = 10.0  # for an event to be taken
DETAIL_MAX = 2_000  # characters of a traceback in an event


def tell_mode(cluster: Cluster, deployment: Deployment) -> None:
    """Say in which mode a deployment is now."""
    mode = mode_text(deployment.share) if deployment.phase is not Phase.stopped else "stopped"
    _tell(cluster, deployment, _ENVIRONMENTS.get(deployment.phase, mode), {"mode": mode})


def tell_off(cluster: Cluster, deployment: Deployment) -> None:
    """Say that a deployment was switched off, and why."""
    _tell(cluster, deployment, "off", {"reason": deployment.reason, "traceback": deployment.traceback[-DETAIL_MAX:]})


def _tell(cluster: Cluster, deployment: Deployment, environment: str, metadata: dict[str, str]) -> None:
    """An event is news, and not the record: what cannot be told is logged, and the deployment goes on."""
    told = {"deployment": deployment.name, "pipeline": deployment.pipeline, "package": deployment.digest, **metadata}
    described = (deployment.description or {}).get("description", {})
    model = Model(described.get("name", deployment.target), str(described.get("version", 0)))
    try:
        registry = Registry(cluster.registry_url, cluster.registry_client)
        with Publisher(cluster.bootstrap_servers, registry, cluster.client) as publisher:
            MlPublisher(publisher).model_deployed(
                model, environment=environment, context=Context(metadata=told)
            ).result(TELL_S)
    except (PublishError, RegistryUnavailable, SchemaRefused, TimeoutError) as error:
        _LOG.warning("deployment %s: no event could be published: %s", deployment.name, error)
