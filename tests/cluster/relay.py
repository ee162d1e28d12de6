"""A TCP relay that a test can cut: what a network between browser and server does at its worst."""

from __future__ import annotations

import contextlib
import socket
import threading


class Relay:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`target`. `cut` breaks every connection and refuses new ones until `mend`."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: set[socket.socket] = set()
        self._cut = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break everything."""
        self._cut.set()
        for one in list(self._sockets):
            self._drop(one)

    def mend(self) -> None:
        """Let new connections through."""
        self._cut.clear()

    def close(self) -> None:
        """Break everything, for good."""
        self.cut()
        self._drop(self._listener)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self._cut.is_set():
                    self._drop(near)
                    continue
                far = socket.create_connection(("127.0.0.1", self.target))
                self._sockets |= {near, far}
                for a, b in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        self._drop(source)
        self._drop(sink)

    def _drop(self, one: socket.socket) -> None:
        self._sockets.discard(one)
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
