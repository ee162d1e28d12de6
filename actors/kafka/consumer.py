"""Reading partitions: an assign-only consumer for owners, and reading a state partition to its end.

Owners use `assign()`, not `subscribe()`: no session to wait out, no revoke inside poll, the same path live and in a replay.
The position after a batch comes from the records *and* from end-of-partition events, because a transactional log has gaps.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import itemgetter

import numpy as np
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from actors.errors import FencedError, ReopenError
from actors.kafka.client import Cluster
from actors.kafka.errors import kafka_error, translate, translated
from actors.log import Entry, Polled, compact
from schemas.batch import RawBatch

CALL_TIMEOUT_S = 5.0  # of one request to the broker
LIST_TIMEOUTS_S = (
    1.0,
    2.0,
    3.0,
)  # of one attempt to list offsets: the leader may be silent, and another one the next time
ASK_AGAIN_S = 0.05  # between two questions to a coordinator that is not ready
QUEUE_KBYTES = 32 * 1024  # fetched and not yet taken, per consumer: the bound of what a slow step can pile up
POLL_MESSAGES_MAX = 1000  # of a state read
POLL_BYTES_MAX = 16 * 1024 * 1024  # of keys and values in one poll: it ends with the bunch that reaches them
BUNCH_ROWS_MAX = 1_024  # taken from librdkafka at once; fewer where records are large
FETCH_AGAIN_MS = 10  # until a full queue is filled up; by librdkafka's 1,000 a backlog takes several times as long
FETCH_BYTES = 1024 * 1024  # of one partition in one answer of the broker
LUMP_BYTES = FETCH_BYTES // 2  # less than what a partition gives at once, or whoever is behind would wait too
LUMP_MS = 500
STATE_FETCH_BYTES = 8 * FETCH_BYTES  # pages are large, and all of them are wanted

_EARLIEST, _LATEST = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]
_PASSING = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT})
_ASK_AGAIN = frozenset(  # the group's coordinator is moving, loading, or ending a transaction that holds offsets
    {
        KafkaError._TIMED_OUT,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
    }
)
_LEADER_MOVES = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError._DESTROY_BROKER,  # asked over a first connection, which librdkafka drops when it knows the brokers
    }
)
_OFFSET_LOST = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})


class Offsets:
    """First and end offsets of partitions."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._admin = AdminClient(cluster.settings())

    def first(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the first retained offset of each partition."""
        return self._list(topic, partitions, _EARLIEST, IsolationLevel.READ_UNCOMMITTED)

    def end(self, topic: str, partitions: Iterable[int], *, committed: bool = False) -> dict[int, int]:
        """Return the high watermark of each partition, or with `committed` its last stable offset."""
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        return self._list(topic, partitions, _LATEST, level)

    def renew(self) -> None:
        """Ask with a new client from now on.

        What a client believes of leaders may be older than what brokers say when they come back (FENCED_LEADER_EPOCH), or name
        one that is silent, and an AdminClient does not ask again for minutes.
        """
        self._admin = AdminClient(self._cluster.settings())

    def _list(self, topic: str, partitions: Iterable[int], spec: OffsetSpec, level: IsolationLevel) -> dict[int, int]:
        asked = {TopicPartition(topic, partition): spec for partition in partitions}
        deadline = time.monotonic() + sum(LIST_TIMEOUTS_S)
        patience = iter(LIST_TIMEOUTS_S)
        timeout_s = next(patience)
        while True:
            try:
                futures = self._admin.list_offsets(asked, isolation_level=level, request_timeout=timeout_s)
                return {tp.partition: future.result(timeout_s).offset for tp, future in futures.items()}
            except (KafkaException, TimeoutError) as error:
                self.renew()
                code = KafkaError._TIMED_OUT if isinstance(error, TimeoutError) else kafka_error(error).code()
                if code == KafkaError._TIMED_OUT:
                    timeout_s = next(patience, 0.0)
                elif code not in _LEADER_MOVES:
                    timeout_s = 0.0
                if not timeout_s or time.monotonic() > deadline:
                    raise _not_listed(topic, error) from error
                time.sleep(ASK_AGAIN_S)


def _not_listed(topic: str, error: KafkaException | TimeoutError) -> ReopenError | FencedError:
    if isinstance(error, TimeoutError):
        return ReopenError(f"list offsets of {topic}: no answer within {sum(LIST_TIMEOUTS_S):.0f} s")
    return translate(error, f"list offsets of {topic}")


def assign_only(cluster: Cluster, group: str, fetch_bytes: int = FETCH_BYTES, *, lumps: bool = False) -> Consumer:
    """Return a read_committed consumer that is told what to read, and commits nothing.

    With `lumps` brokers keep what is new until there are LUMP_BYTES of it, or LUMP_MS are over.
    """
    return Consumer(
        cluster.settings(
            group_id=group,
            group_protocol="classic",
            enable_auto_commit=False,
            enable_auto_offset_store=False,
            auto_offset_reset="error",
            isolation_level="read_committed",
            enable_partition_eof=True,
            queued_max_messages_kbytes=QUEUE_KBYTES,
            fetch_message_max_bytes=fetch_bytes,
            fetch_min_bytes=LUMP_BYTES if lumps else 1,
            fetch_wait_max_ms=LUMP_MS if lumps else 100,
            fetch_error_backoff_ms=50,
            fetch_queue_backoff_ms=FETCH_AGAIN_MS,
        )
    )


class PartitionReader:
    """An assign-only, read_committed consumer over partitions of one topic. Close it.

    With a `consumer` of the caller's, which reads nothing else meanwhile, nothing has to be connected.
    """

    def __init__(
        self,
        cluster: Cluster,
        group: str,
        topic: str,
        fetch_bytes: int = FETCH_BYTES,
        consumer: Consumer | None = None,
    ) -> None:
        self.topic = topic
        self._largest = FETCH_BYTES  # bytes of the largest record in the last bunch; the first one is small
        self._consumer = consumer or assign_only(cluster, group, fetch_bytes)

    def assign(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from these offsets, and nothing else."""
        with translated(f"assign partitions of {self.topic}"):
            self._consumer.assign(self._places(offsets))

    def _places(self, offsets: Mapping[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self.topic, partition, offset) for partition, offset in offsets.items()]

    def add(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions too, from these offsets, leaving the others undisturbed."""
        if offsets:
            with translated(f"add partitions of {self.topic}"):
                self._consumer.incremental_assign(self._places(offsets))

    def remove(self, partitions: Iterable[int]) -> None:
        """Stop reading these partitions, leaving the others undisturbed; those that are not read are left out."""
        with translated(f"remove partitions of {self.topic}"):
            read = {place.partition for place in self._consumer.assignment()}
            gone = [TopicPartition(self.topic, partition) for partition in partitions if partition in read]
            if gone:
                self._consumer.incremental_unassign(gone)

    def poll(self, rows_max: int, wait_s: float) -> Polled:
        """Return up to `rows_max` records, by partition, waiting at most `wait_s` for them.

        Of large records fewer: POLL_BYTES_MAX, and of its last bunch what is more than was expected after the one before,
        which is at most what was fetched (QUEUE_KBYTES).
        """
        positions: dict[int, int] = {}
        lost: dict[int, str] = {}
        taken = self._consume(rows_max, wait_s)
        if any(map(Message.error, taken)):  # a KafkaError is always true
            taken = self._without_events(taken, positions, lost)
        messages: dict[int, list[Message]] = {}
        for partition, run in groupby(taken, Message.partition):
            messages.setdefault(partition or 0, []).extend(run)
        for partition, fetched in messages.items():
            positions[partition] = max(positions.get(partition, 0), (fetched[-1].offset() or 0) + 1)
        batches = [
            _raw(self.topic, partition, messages.get(partition, []), position)
            for partition, position in positions.items()
        ]
        return Polled(batches, lost)

    def _without_events(self, taken: list[Message], positions: dict[int, int], lost: dict[int, str]) -> list[Message]:
        """Return the records among these; note what the others say of their partitions. Raises ReopenError, FencedError."""
        records = []
        for message in taken:
            error = message.error()
            partition = message.partition() or 0
            if error is None:
                records.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                positions[partition] = message.offset() or 0
            elif error.code() in _OFFSET_LOST:
                lost[partition] = error.str()
            elif error.code() not in _PASSING:  # librdkafka reconnects by itself; lag shows what it means
                raise translate(error, f"consume {self.topic}")
        return records

    def _consume(self, rows_max: int, wait_s: float) -> list[Message]:
        deadline = time.monotonic() + wait_s
        taken: list[Message] = []
        room = POLL_BYTES_MAX
        while len(taken) < rows_max and room > 0:
            asked = min(rows_max - len(taken), BUNCH_ROWS_MAX, max(1, room // self._largest))
            bunch = self._consumer.consume(asked, max(0.0, deadline - time.monotonic()))
            taken += bunch
            if len(bunch) < asked:
                break
            sizes = list(map(len, bunch))
            self._largest = max(1, *sizes)
            room -= sum(sizes) + sum(map(len, filter(None, map(Message.key, bunch))))
        return taken

    def committed(self, partitions: Iterable[int]) -> dict[int, int | None]:
        """Return the group's committed offsets; None where there is none. Waits out a transaction that is being ended."""
        deadline = time.monotonic() + CALL_TIMEOUT_S
        asked = [TopicPartition(self.topic, partition) for partition in partitions]
        while True:
            try:
                found = self._consumer.committed(asked, timeout=2.0)
                return {tp.partition: tp.offset if tp.offset >= 0 else None for tp in found}
            except KafkaException as error:
                if kafka_error(error).code() not in _ASK_AGAIN or time.monotonic() > deadline:
                    raise translate(error, f"committed offsets of {self.topic}") from error
                time.sleep(ASK_AGAIN_S)

    def group_metadata(self) -> object:
        """Return what `send_offsets_to_transaction` wants."""
        return self._consumer.consumer_group_metadata()

    def close(self) -> None:
        """Leave; nothing is committed."""
        self._consumer.close()


def _raw(topic: str, partition: int, messages: list[Message], next_offset: int) -> RawBatch:
    n = len(messages)
    return RawBatch(
        topic=topic,
        partition=partition,
        offset=np.fromiter(map(Message.offset, messages), np.int64, n),
        timestamp_ms=np.fromiter(map(itemgetter(1), map(Message.timestamp, messages)), np.int64, n),
        keys=list(map(Message.key, messages)),
        values=list(map(Message.value, messages)),
        next_offset=next_offset,
    )


def read_to_end(
    cluster: Cluster,
    group: str,
    topic: str,
    ends: Mapping[int, int],
    timeout_s: float,
    since: Mapping[int, int] | None = None,
    *,
    newest: bool = False,
) -> dict[int, list[Entry]]:
    """Read partitions from their first record (or from `since`) to the given high watermarks, committed records only.

    With `newest`, as a broker compacts: of each key the newest record, and nothing of a key whose newest is a tombstone;
    what is held meanwhile is that and one poll, however many versions the log retains.
    Raises ReopenError if no record comes for `timeout_s` before that: the last stable offset hangs below an open transaction.
    """
    first = Offsets(cluster).first(topic, ends) if since is None else since
    reader = PartitionReader(cluster, group, topic, STATE_FETCH_BYTES)
    try:
        return read_with(reader, first, ends, timeout_s, newest=newest)
    finally:
        reader.close()


def read_with(
    reader: PartitionReader,
    first: Mapping[int, int],
    ends: Mapping[int, int],
    timeout_s: float,
    *,
    newest: bool = False,
) -> dict[int, list[Entry]]:
    """Read from `first` to `ends` with a reader that reads nothing else; see `read_to_end`."""
    records: dict[int, list[Entry]] = {partition: [] for partition in ends}
    compacted: dict[int, dict[bytes, bytes | None]] = {partition: {} for partition in ends}
    open_ends = {partition: end for partition, end in ends.items() if end > first[partition]}
    deadline = time.monotonic() + timeout_s
    reader.assign({partition: first[partition] for partition in open_ends})
    while open_ends:
        polled = reader.poll(POLL_MESSAGES_MAX, 0.05)
        for batch in polled.batches:
            entries = zip((key or b"" for key in batch.keys), batch.values, strict=True)
            if newest:
                compact(compacted[batch.partition], entries)
            else:
                records[batch.partition].extend(entries)
            if batch.next_offset >= open_ends.get(batch.partition, batch.next_offset + 1):
                del open_ends[batch.partition]
        if any(batch.keys for batch in polled.batches):  # much to read is no reason to give up
            deadline = time.monotonic() + timeout_s
        if open_ends and time.monotonic() > deadline:
            raise ReopenError(
                f"{reader.topic}: offsets {open_ends} not reached in {timeout_s} s: a transaction is open"
            )
    return {partition: list(found.items()) for partition, found in compacted.items()} if newest else records
