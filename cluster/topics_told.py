"""Topics, as the API and the command line tell of them: what the broker says, and what the code says of ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.topics import TOPICS

Settings = Mapping[str, Mapping[str, str | None]]  # setting → {"value", "default"}
_ORDER = {name: at for at, name in enumerate(TOPICS)}


def is_internal(name: str) -> bool:
    """Say whether a topic is Kafka's own."""
    return name.startswith("__")


def listed(
    found: Sequence[Mapping[str, Any]], settings: Mapping[str, Settings], *, internal: bool = False
) -> list[dict[str, Any]]:
    """Return all topics, ours first in the order of schemas/topics.py, those too that are missing; others by name."""
    broker = {topic["name"]: topic for topic in found if internal or not is_internal(topic["name"])}
    names = sorted({*broker, *TOPICS}, key=lambda name: (_ORDER.get(name, len(_ORDER)), name))
    return [told(name, broker.get(name), settings.get(name, {})) for name in names]


def told(name: str, found: Mapping[str, Any] | None, settings: Settings) -> dict[str, Any]:
    """Return a topic. `found`: as `Admin.topics` has it; None: the broker has none of this name."""
    ours = TOPICS.get(name)
    partitions = [{**partition, "size_bytes": None} for partition in found["partitions"]] if found else []
    known = [(p["low"], p["high"]) for p in partitions if p["low"] is not None and p["high"] is not None]
    return {
        "name": name,
        "doc": ours.doc if ours else None,
        "key": ours.key if ours else None,
        "writers": ours.writers if ours else None,
        "readers": ours.readers if ours else None,
        "exists": found is not None,
        "internal": is_internal(name),
        "ours": ours is not None,
        "partitions": partitions,
        "records": sum(high - low for low, high in known) if len(known) == len(partitions) else None,
        "size_bytes": None,  # actors/kafka/survey.py says why
        "retention_ms": _number(settings, "retention.ms"),
        "cleanup": settings.get("cleanup.policy", {}).get("value"),
        "under_replicated": sum(len(p["isr"]) < len(p["replicas"]) for p in partitions),
        "without_leader": sum(p["leader"] < 0 for p in partitions),
    }


def _number(settings: Settings, name: str) -> int | None:
    value = settings.get(name, {}).get("value")
    return None if value is None else int(value)
