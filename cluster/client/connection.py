"""Requests to the API: a key, a time limit, problems as exceptions, pages as one iterator.

urllib3, because it is here already (Ray needs it) and is all that this needs: kept connections, TLS, time limits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3

TIMEOUT_S = 30.0  # of one request
CONNECT_S = 5.0
CONNECTIONS_MAX = 4
PAGE_SIZE = 500  # the most that the API gives at once
BODY_CHARS = 200  # of an answer that is none of the API's, in an error
RETRIES = 2  # of a GET whose connection was lost, or that was asked to wait
WAIT_S_MAX = 5  # between two tries, whatever the API asks for
_WAIT = frozenset({429, 503})


class NotReachedError(ConnectionError):
    """Nothing answered, or not in time."""


class ApiError(Exception):
    """The API's answer is a problem (RFC 9457): `status`, and `detail`, a sentence that says what to do.

    `members` has what else it says, e.g. `errors` with the fields of a body that are wrong.
    """

    def __init__(self, status: int, detail: str, members: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {detail}")
        self.status, self.detail, self.members = status, detail, members


class Connection:
    """An API at an address. Thread-safe. Close it."""

    def __init__(self, url: str, key: str, *, timeout_s: float = TIMEOUT_S, ca_certs: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r}: the address of the API is wanted, e.g. http://127.0.0.1:8000")
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        self._pool = urllib3.PoolManager(
            maxsize=CONNECTIONS_MAX,
            timeout=urllib3.Timeout(connect=min(CONNECT_S, timeout_s), read=timeout_s),
            ca_certs=ca_certs,
        )

    def get(self, path: str, **parameters: Any) -> Any:
        """Return what is at a path as JSON. Parameters that are None are left out; `from_` is `from`.

        Raises ApiError, NotReachedError.
        """
        return self.ask("GET", path, parameters=parameters)

    def ask(
        self, method: str, path: str, body: Any = None, *, parameters: Mapping[str, Any] | None = None, **headers: str
    ) -> Any:
        """Return what the API answers to a request, None for no content. `if_match="…"` is the header If-Match.

        Raises ApiError, NotReachedError. Only a GET is repeated by itself.
        """
        given = {name.rstrip("_"): _parameter(value) for name, value in (parameters or {}).items() if value is not None}
        said = self._headers | {name.replace("_", "-"): value for name, value in headers.items()}
        packed = None
        if body is not None:
            packed = json.dumps(body).encode()
            said["Content-Type"] = "application/json"
        address = f"{self.url}{path}" + (
            "?" + "&".join(f"{k}={quote(v, safe='')}" for k, v in given.items()) if given else ""
        )
        try:
            answer = self._pool.request(
                method,
                address,
                body=packed,
                headers=said,
                redirect=False,
                retries=_retries(method),
                preload_content=True,
            )
        except urllib3.exceptions.MaxRetryError as error:
            raise NotReachedError(f"{self.url} does not answer: {error.reason or error}") from error
        except urllib3.exceptions.HTTPError as error:
            raise NotReachedError(f"{self.url} does not answer: {error}") from error
        return _read(answer.status, answer.headers.get("Content-Type", ""), answer.data)

    def items(self, path: str, limit: int | None = None, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Yield the items of a list, at most `limit`; pages are asked for as they are needed.

        Raises ApiError, NotReachedError as they come.
        """
        left, cursor = limit, None
        while left is None or left > 0:
            size = PAGE_SIZE if left is None else min(PAGE_SIZE, left)
            page = self.get(path, limit=size, cursor=cursor, **parameters)
            items = page["items"][:left]
            yield from items
            left = None if left is None else left - len(items)
            cursor = page["next"]
            if cursor is None:
                return

    def close(self) -> None:
        """Close the kept connections."""
        self._pool.clear()


def in_path(name: str) -> str:
    """Return a name as a part of a path.

    >>> in_path("E1|A|R|10|CD/x")
    'E1%7CA%7CR%7C10%7CCD%2Fx'
    """
    return quote(name, safe="")


def _parameter(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _retries(method: str) -> urllib3.Retry:
    """Return how often a request is repeated: a GET when its connection was lost, or when the API asks to wait."""
    again = RETRIES if method == "GET" else 0
    return urllib3.Retry(
        total=again,
        status_forcelist=_WAIT if again else (),
        retry_after_max=WAIT_S_MAX,
        backoff_factor=0.2,
        raise_on_status=False,
        respect_retry_after_header=True,
    )


def _read(status: int, kind: str, data: bytes) -> Any:
    """Return an answer's JSON. Raises ApiError for a problem, and for what is no JSON, as a proxy's page is."""
    if 200 <= status < 300 and not data:
        return None
    found, is_json = None, "json" in kind
    if is_json:
        try:
            found = json.loads(data)
        except ValueError:
            is_json = False
    if 200 <= status < 300 and is_json:
        return found
    if isinstance(found, dict) and "detail" in found:
        members = {name: value for name, value in found.items() if name not in ("type", "title", "status", "detail")}
        raise ApiError(status, str(found["detail"]), members)
    text = " ".join(data[: 4 * BODY_CHARS].decode(errors="replace").split())[:BODY_CHARS]
    raise ApiError(status, f"an answer that is none of the API's ({kind or 'of no type'}): {text}", {})
