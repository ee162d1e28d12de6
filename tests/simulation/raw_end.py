"""The end of a transaction as a frame of its own: what reaches a broker when the network delays or repeats a producer's request.

Theory of operation
-------------------
`EndTxn` names a transactional id, a producer id and its epoch, and nothing that would tell one transaction of that epoch from the
next. librdkafka does not give its producer id away, so the coordinator is asked for it (`DescribeTransactions`), while the id is
the producer's that is meant. The frame is version 1, as librdkafka sends it; brokers take KIP-890's, which has an epoch for each
transaction, from version 5 on.

Source: https://kafka.apache.org/protocol, EndTxn and DescribeTransactions.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

END_TXN, DESCRIBE_TRANSACTIONS = 26, 65
END_TXN_VERSION = 1
NONE, NOT_COORDINATOR, INVALID_PRODUCER_EPOCH, PRODUCER_FENCED = 0, 16, 47, 90
TIMEOUT_S = 10.0

Address = tuple[str, int]


class ProducerOf(NamedTuple):
    """Who writes under a transactional id now, and the broker that coordinates it."""

    coordinator: Address
    transactional_id: str
    producer_id: int
    epoch: int


def producer_of(brokers: Iterable[Address], transactional_id: str) -> ProducerOf:
    """Ask one broker after the other for the producer of an id."""
    name = transactional_id.encode()
    head = struct.pack(">hhihB", DESCRIBE_TRANSACTIONS, 0, 1, -1, 0)  # no client id, no tagged fields
    asked = head + bytes((2, len(name) + 1)) + name + b"\0"  # lengths in flexible versions are one more
    for broker in brokers:
        answer = _ask(broker, asked)
        at = 4 + 1 + 4 + 1  # correlation id, tags, throttle time, number of answers
        (error,) = struct.unpack_from(">h", answer, at)
        if error == NOT_COORDINATOR:
            continue
        assert error == NONE, f"DescribeTransactions of {transactional_id}: error {error}"
        at += 2
        for _ in ("the id", "its state"):
            at += answer[at]  # one byte of length, which counts itself
        _, _, producer_id, epoch = struct.unpack_from(">iqqh", answer, at)  # before them: timeout, start
        return ProducerOf(broker, transactional_id, producer_id, epoch)
    raise AssertionError(f"no broker coordinates {transactional_id}")


def send_end(of: ProducerOf, *, committed: bool) -> int:
    """Send the end of a transaction on a connection of its own; return the broker's error code."""
    name = of.transactional_id.encode()
    head = struct.pack(">hhihh", END_TXN, END_TXN_VERSION, 1, -1, len(name))
    answer = _ask(of.coordinator, head + name + struct.pack(">qh?", of.producer_id, of.epoch, committed))
    code: int = struct.unpack_from(">h", answer, 4 + 4)[0]  # behind correlation id and throttle time
    return code


def _ask(broker: Address, request: bytes) -> bytes:
    with socket.create_connection(broker, TIMEOUT_S) as connection, connection.makefile("rb") as answers:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", answers.read(4))
        return answers.read(size)
