"""Recording in the audit trail what a command has changed: the same actions, by the same names, as the API records.

A command works on Kafka itself, so it has done what it records. If that cannot be recorded it says so, and ends with exit code 1.
"""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

import typer

from actors.errors import ConfigError, ReopenError
from cluster.access.audit_text import cut, state_json
from schemas.framing import EncodeError
from schemas.registry import Registry, RegistryUnavailable, SchemaRefused

if TYPE_CHECKING:
    from actors.kafka.client import Cluster
    from actors.producers.publisher import Publisher

RECORD_S = 10.0
NOT_RECORDED = 1  # exit code


def who() -> str:
    """Return who runs the command, as far as the machine knows."""
    return f"command line, {getpass.getuser()}"


def record(cluster: Cluster, action: str, resource: str, before: Any, after: Any) -> None:
    """Record what was changed; `before` and `after` are what JSON can say. Raises typer.Exit if it cannot be recorded."""
    from actors.kafka.delivery import PublishError
    from actors.producers.publisher import Publisher

    try:
        registry = Registry(cluster.registry_url, cluster.registry_client)
        with Publisher(cluster.bootstrap_servers, registry, cluster.client, name="chipquality-audit") as publisher:
            publish(publisher, who(), action, resource, before, after)
    except (
        PublishError,
        ReopenError,
        RegistryUnavailable,
        SchemaRefused,
        EncodeError,
        ConfigError,
        TimeoutError,
    ) as error:
        said = " ".join(str(error).split())
        typer.echo(f"chipquality: it is done, but it is not in the audit trail: {said}", err=True)
        raise typer.Exit(NOT_RECORDED) from error


def publish(publisher: Publisher, user: str, action: str, resource: str, before: Any, after: Any) -> None:
    """Record over a publisher that is there. Raises PublishError, RegistryUnavailable, TimeoutError."""
    from actors.producers.user import UserPublisher

    UserPublisher(publisher).audit_recorded(
        user, action=action, resource=cut(resource), before=state_json(before), after=state_json(after)
    ).result(RECORD_S)
