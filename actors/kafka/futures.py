"""Waiting for what librdkafka's AdminClient answers: every wait has a timeout."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException

from actors.kafka.errors import kafka_error

CALL_TIMEOUT_S = 10.0  # of one request
UNREACHABLE = frozenset(
    {KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE}
)
_K = TypeVar("_K")
_T = TypeVar("_T")


def result(future: Future[_T]) -> _T:
    """Wait for one of librdkafka's answers; that none came in time is told as librdkafka tells it."""
    try:
        return future.result(2 * CALL_TIMEOUT_S)  # librdkafka itself gives up before
    except TimeoutError as error:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer")) from error


def answers(futures: Mapping[_K, Future[_T]]) -> dict[_K, _T]:
    """Wait for answers; those that are errors are left out (a group or a topic just gone). Raises if no broker answers."""
    found: dict[_K, _T] = {}
    for asked, future in futures.items():
        try:
            found[asked] = result(future)
        except KafkaException as error:
            if kafka_error(error).code() in UNREACHABLE:
                raise
    return found
