"""The single place where Kafka's errors become ours (actors/errors.py says what each is for)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from actors.errors import ConfigError, FencedError, ReopenError, StateError

__all__ = ["ConfigError", "FencedError", "ReopenError", "StateError", "kafka_error", "translate", "translated"]

_FENCED = frozenset(
    {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError._FATAL}
)


def kafka_error(error: KafkaError | KafkaException) -> KafkaError:
    """Return the KafkaError inside a KafkaException."""
    if isinstance(error, KafkaException):
        inner: KafkaError = error.args[0]
        return inner
    return error


def translate(error: KafkaError | KafkaException, doing: str) -> ReopenError | FencedError:
    """Return our error for one of librdkafka's: raise it `from` the original.

    After fencing `produce()` reports `_FATAL`, not `_FENCED`, and a transaction timeout shows as fenced too (docs/joint.md):
    so a fenced producer proves nothing but that this producer is over.
    """
    cause = kafka_error(error)
    what = f"{doing}: {cause.name()}: {cause.str()}"
    if cause.fatal() or cause.code() in _FENCED:
        return FencedError(what)
    return ReopenError(what)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise our error for one of librdkafka's that comes of what is done here."""
    try:
        yield
    except KafkaException as error:
        raise translate(error, doing) from error
