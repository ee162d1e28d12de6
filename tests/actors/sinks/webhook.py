"""A webhook that listens on loopback, and answers as it is told."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Webhook:
    """Keeps what is posted, by path; `answers` of a path are used up one by one, then 200. Use `with`."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, Any]]] = []  # path, body; only of those that were answered with 200
        self.refused: list[str] = []
        self.answers: dict[str, list[int]] = {}
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                left = hook.answers.get(self.path, [])
                status = left.pop(0) if left else 200
                if status == 200:
                    hook.posts.append((self.path, body))
                else:
                    hook.refused.append(self.path)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def url(self, path: str) -> str:
        return f"json://127.0.0.1:{self._server.server_port}/{path}"

    def titles(self, path: str) -> list[str]:
        return [body["title"] for at, body in self.posts if at == f"/{path}"]

    def __enter__(self) -> Webhook:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
