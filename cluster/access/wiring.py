"""The parts of access control put together, once in every replica of the API."""

from __future__ import annotations

import time
from dataclasses import dataclass

from actors.errors import ConfigError
from actors.kafka.client import Cluster
from actors.kafka.producer import Limits
from actors.producers.publisher import Publisher
from cluster.access.audit import AuditTrail
from cluster.access.desk import Desk
from cluster.access.door import DoorLimits
from cluster.access.following import Following
from cluster.access.grants import parse_all
from cluster.access.guard import KeyGuard
from cluster.access.secret import Secret
from cluster.access.tokens import Issuer, Tokens
from cluster.config import Config
from schemas.registry import Registry
from schemas.topics import ACCESS

# what waits for Kafka longer has been refused to its caller already
PUBLISHER_LIMITS = Limits(buffer_records_max=10_000, backpressure_wait_s=1.0, delivery_deadline_s=8.0)


@dataclass(frozen=True)
class AccessSettings:
    """All that access control needs; it travels to the replicas as it is."""

    cluster: Cluster
    secret: Secret
    limits: DoorLimits
    session_ms: int
    issuer: Issuer | None = None
    https: bool = False
    public_origin: str | None = None
    cors_origins: tuple[str, ...] = ()
    topic: str = ACCESS

    @classmethod
    def of(cls, config: Config, cluster: Cluster, secret: Secret) -> AccessSettings:
        """Return what the configuration says. Raises ConfigError for grants that are none."""
        said = config.access
        limits = DoorLimits(
            said.requests_per_s, said.requests_burst, said.address_requests_per_s, said.address_requests_burst,
            said.body_bytes_max, said.streams_max,
        )  # fmt: skip
        if "*" in said.cors_origins:
            raise ConfigError("access.cors_origins: * is every site there is; name those that you mean")
        return cls(
            cluster, secret, limits, said.session_s * 1000, issuer_of(config), config.serve.https, config.serve.public_origin,
            tuple(said.cors_origins),
        )  # fmt: skip


def issuer_of(config: Config) -> Issuer | None:
    """Return whose tokens count; None: nobody's. Raises ConfigError for grants that are none."""
    oidc = config.access.oidc
    if oidc is None:
        return None
    for value, grants in oidc.roles.items():
        try:
            parse_all(grants)
        except ValueError as error:
            raise ConfigError(f"access.oidc.roles.{value}: {error}") from error
    return Issuer(
        oidc.issuer, oidc.audience, oidc.jwks_url, tuple(oidc.algorithms), oidc.leeway_s, oidc.roles_claim,
        {value: tuple(grants) for value, grants in oidc.roles.items()}, tuple(oidc.required_claims),
    )  # fmt: skip


class Access:
    """Access control of one replica, running: it follows the keys and tells the audit trail. Close it."""

    def __init__(self, settings: AccessSettings, *, tokens: Tokens | None = None) -> None:
        self.settings = settings
        cluster = settings.cluster
        self.registry = Registry(cluster.registry_url, cluster.registry_client)
        self.publisher = Publisher(
            cluster.bootstrap_servers, self.registry, cluster.client, limits=PUBLISHER_LIMITS, name="chipquality-access"
        )
        self.following = Following(cluster, settings.secret, topic=settings.topic)
        self.audit = AuditTrail(self.publisher)
        self.desk = Desk(self.publisher, lambda: int(time.time() * 1000), settings.topic)
        if tokens is None and settings.issuer is not None:
            tokens = Tokens(settings.issuer)
        self.guard = KeyGuard(self.following, self.audit, settings.secret, tokens, public_origin=settings.public_origin)
        self.following.start()

    def how(self) -> str:
        """Return how access control does, in words. Raises Unavailable if keys are not known, or nobody follows them."""
        said = self.following.how()
        return f"{said}; {self.audit.untold} refusals are not in the audit trail" if self.audit.untold else said

    def close(self) -> None:
        """End the threads; what the audit trail has counted is told first."""
        self.following.stop()
        self.audit.close()
        self.publisher.close()
