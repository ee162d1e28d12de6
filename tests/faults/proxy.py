"""A TCP proxy in front of every broker: it can cut one off without a word, and hold or repeat the end of transactions.

Theory of operation
-------------------
Brokers advertise the proxy's ports, for clients and for the controller quorum, so that all that goes to a broker comes through
here, from the other brokers too. A broker is cut off in both directions: what goes to it stands still, and so does what it sends
to the others, which is recognised by the process that owns the other end of the connection. Nothing is closed and nothing is
refused: bytes wait, as packets do that a network drops and TCP sends again. Let through again, what has waited arrives late.

`EndTxn` (api key 26) is found by walking over the frames that a client sends. Held, it and what follows on its connection arrive
late, after the client has given up and closed: as it may be in a real network. Repeated, it arrives once more on a connection of
its own, as a retry does whose first attempt was slow: librdkafka has no KIP-890, so the repeated one may end the next
transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import psutil

from cluster.local.stack import LocalStack

END_TXN = 26
CHUNK_BYTES = 65_536
CALL_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 5.0


class _Link:
    """One connection through the proxy."""

    def __init__(self, target: int, source_port: int) -> None:
        self.target = target  # node that it goes to
        self.source_port = source_port
        self.flows = asyncio.Event()
        self.flows.set()


class BrokerProxy:
    """Two listening ports for each of three brokers; `ports` is what LocalStack takes as `advertised_ports`."""

    def __init__(self, brokers: int = 3) -> None:
        self._sockets = [[socket.create_server(("127.0.0.1", 0)) for _ in range(2)] for _ in range(brokers)]
        self.ports = tuple((pair[0].getsockname()[1], pair[1].getsockname()[1]) for pair in self._sockets)
        self.held = 0  # ends of transactions that were held
        self.repeated = 0
        self.answers: list[str] = []  # of the brokers, to what was repeated
        self._stack: LocalStack | None = None
        self._links: set[_Link] = set()
        self._cut_off: int | None = None
        self._hold: list[float] = []  # for how long to hold the next ends of transactions, s
        self._last: dict[int, bytes] = {}  # by broker, the last end of a transaction that was forwarded …
        self._noted = b""  # … of those in which this stands
        self._repeat_until = 0.0
        self._repeat_after_s = 0.0
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="broker-proxy", daemon=True).start()

    def aim(self, stack: LocalStack) -> None:
        """Lead to the brokers of this stack; call it before the stack is started."""
        self._stack = stack
        for number, pair in enumerate(self._sockets, 1):
            for kind, listener in enumerate(pair):
                self._call(self._listen(listener, number, kind))

    def cut_off(self, number: int) -> None:
        """Let nothing through to broker `number`, nor from it to the others."""
        self._call(self._cut(number))

    def let_all_through(self) -> None:
        """Let everything through again, what has waited first."""
        self._call(self._mend())

    def hold_ends(self, *seconds: float) -> None:
        """Hold the next ends of transactions, each for so long."""
        self._hold = list(seconds)

    def repeat_ends(self, for_s: float, after_s: float) -> None:
        """For a while, send every end of a transaction once more, so much later."""
        self._repeat_after_s, self._repeat_until = after_s, time.monotonic() + for_s

    def note_ends(self, transactional_id: str) -> None:
        """Remember the last end of a transaction of this id."""
        self._last = {}
        self._noted = transactional_id.encode()

    @property
    def has_noted(self) -> bool:
        """Say whether there is one to repeat."""
        return bool(self._last)

    def repeat_last(self) -> None:
        """Send the end that was remembered once more, now; return when the broker has answered."""
        ((number, frame),) = self._last.items()
        self.repeated += 1
        self._call(self._again(frame, number, 0.0))

    def close(self) -> None:
        """Stop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        for pair in self._sockets:
            for listener in pair:
                listener.close()

    # ---- on the loop

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)

    async def _listen(self, listener: socket.socket, number: int, kind: int) -> None:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(reader, writer, number, kind)

        await asyncio.start_server(accept, sock=listener)

    async def _cut(self, number: int) -> None:
        self._cut_off = number
        theirs = self._ports_of(number)
        for link in self._links:
            if link.target == number or link.source_port in theirs:
                link.flows.clear()

    async def _mend(self) -> None:
        self._cut_off = None
        for link in self._links:
            link.flows.set()

    def _ports_of(self, number: int) -> set[int]:
        pid = self._stack.pids.get(f"broker-{number}") if self._stack else None
        with contextlib.suppress(psutil.Error):
            return (
                {connection.laddr.port for connection in psutil.Process(pid).net_connections("tcp")} if pid else set()
            )
        return set()

    def _port(self, number: int, kind: int) -> int:
        node = self._stack._nodes[number - 1]  # type: ignore[union-attr]
        return node.port if kind == 0 else node.controller_port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, kind: int) -> None:
        link = _Link(number, writer.get_extra_info("peername")[1])
        self._links.add(link)
        cut = self._cut_off
        if cut is not None and (cut == number or link.source_port in self._ports_of(cut)):
            link.flows.clear()
        try:
            await link.flows.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port(number, kind))
        except OSError:  # the broker is dead: refuse, as its own port would
            self._links.discard(link)
            writer.transport.abort()
            return
        walk = _Frames(self, number).hold if kind == 0 else None
        to_broker = asyncio.create_task(_pump(reader, far_writer, link, walk))
        to_client = asyncio.create_task(_pump(far_reader, writer, link, None))
        await asyncio.wait((to_broker, to_client))
        self._links.discard(link)

    async def end_of_transaction(self, frame: bytes, number: int) -> None:
        """Hold the frame, remember it, or have it sent once more, as asked for."""
        if self._noted and self._noted in frame:
            self._last = {number: frame}
        if time.monotonic() < self._repeat_until:
            self.repeated += 1
            task = asyncio.create_task(self._again(frame, number, self._repeat_after_s))
            task.add_done_callback(lambda done: done.exception())
        if self._hold:
            self.held += 1
            await asyncio.sleep(self._hold.pop(0))

    async def _again(self, frame: bytes, number: int, after_s: float) -> None:
        await asyncio.sleep(after_s)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port(number, 0))
        try:
            writer.write(frame)
            await writer.drain()
            answer = await asyncio.wait_for(reader.read(CHUNK_BYTES), ANSWER_TIMEOUT_S)
            self.answers.append(answer.hex())
        finally:
            writer.close()


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    link: _Link,
    walk: Callable[[bytes], Coroutine[Any, Any, bytes]] | None,
) -> None:
    """Forward until one side ends; the other is ended only after all that was read has been written."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while data := await reader.read(CHUNK_BYTES):
            if walk is not None:
                data = await walk(data)
            await link.flows.wait()
            writer.write(data)
            await writer.drain()
        await link.flows.wait()
    with contextlib.suppress(OSError):
        writer.close()


class _Frames:
    """Walks over the requests of one connection: 4 bytes of size, 2 of api key, and so on."""

    def __init__(self, proxy: BrokerProxy, number: int) -> None:
        self._proxy = proxy
        self._number = number
        self._left = 0  # bytes of the current frame still to come
        self._kept = b""  # the begin of a frame whose api key is not there yet, or of an EndTxn that is not whole

    async def hold(self, data: bytes) -> bytes:
        """Return what may be forwarded now."""
        data, self._kept = self._kept + data, b""
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            if len(data) - at < 6:
                break
            size, key = struct.unpack_from(">ih", data, at)
            if key == END_TXN:
                if len(data) - at < 4 + size:
                    break
                await self._proxy.end_of_transaction(data[at : at + 4 + size], self._number)
            self._left = 4 + size
        self._kept = data[at:]
        return data[:at]
