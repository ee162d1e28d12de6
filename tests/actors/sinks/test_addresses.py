"""Messages go to public addresses only, unless they are allowed elsewhere: as configured, as resolved, and as redirected."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
import requests

from actors.errors import ConfigError
from actors.sinks import addresses
from actors.sinks.addresses import PrivateAddressError, is_public, leads_to_private, public_only
from actors.sinks.notifier import NotSentError
from actors.sinks.routes import Message, Route
from actors.sinks.sending import AppriseSender

MESSAGE = Message("title", "body", "summary")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost", "::1", "10.0.0.1", "169.254.169.254", "0"],
)
def test_however_a_private_host_is_written_it_is_seen(host: str) -> None:
    assert "private" in (leads_to_private(host) or "")


@pytest.mark.parametrize("host", ["93.184.216.34", "no.such.host.invalid", "x" * 300, "a..b"])
def test_what_is_public_or_not_known_yet_is_no_reason_to_refuse(host: str) -> None:
    assert leads_to_private(host) is None


@pytest.mark.parametrize(
    "url",
    [
        "json://127.0.0.1/x",
        "jsons://localhost:8443",
        "json://169.254.169.254/latest/meta-data",
        "json://user:hunter2@10.1.2.3/x",
        "mailto://user:hunter2@localhost?to=a@example.com",
        "mailtos://user:hunter2@example.com?smtp=192.168.1.1&to=a@example.com",
        "ntfy://10.0.0.1/topic",
        "gotify://127.0.0.1/token",
    ],
)
def test_a_route_into_a_private_network_is_refused_when_it_is_configured(url: str) -> None:
    with pytest.raises(ConfigError, match=r"notify\.routes: line: url 0: .* private: notify\.allow_private") as caught:
        AppriseSender([Route("line", (url,))])
    assert "hunter2" not in str(caught.value)
    AppriseSender([Route("line", (url,), allow_private=True)])


def test_no_name_server_is_asked_for_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(addresses, "_resolve", lambda host, *_, **__: asked.append(host) or [])
    AppriseSender([Route("chat", ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#line",))])
    assert asked == []


@pytest.mark.parametrize(
    "url",
    [
        "json://hooks.example.com/x",
        "mailtos://user:hunter2@mail.example.com?to=a@example.com",
        "rsyslog://logs.example.com",
    ],
)
def test_where_a_name_leads_is_asked_when_something_is_sent(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    send = AppriseSender([Route("line", (url,))])  # the name does not resolve yet
    asked: list[Any] = []

    def rebound(host: Any, port: Any, *_: Any, **__: Any) -> Any:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", port))]

    monkeypatch.setattr(addresses, "_resolve", rebound)
    with pytest.raises(NotSentError, match=r"leads to 169\.254\.169\.254, which is private") as caught:
        send(url, MESSAGE)
    assert "hunter2" not in str(caught.value)
    assert asked


def test_a_connection_is_refused_in_this_context_only() -> None:
    with public_only() as refused:
        with pytest.raises(requests.ConnectionError):
            requests.get("http://127.0.0.1:9/", timeout=1)
        assert "127.0.0.1 leads to 127.0.0.1" in refused[0]
        with pytest.raises(PrivateAddressError):
            socket.create_connection(("localhost", 9), 1)
        with pytest.raises(PrivateAddressError):
            socket.getaddrinfo(b"localhost", 9)
        elsewhere: list[Any] = []
        thread = threading.Thread(target=lambda: elsewhere.append(socket.getaddrinfo("127.0.0.1", 9)))
        thread.start()
        thread.join()
        assert elsewhere
    assert socket.getaddrinfo("127.0.0.1", 9)


def test_a_datagram_goes_where_the_name_was_found_to_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        port = server.getsockname()[1]
        with public_only() as refused, pytest.raises(PrivateAddressError):
            client.sendto(b"no", ("127.0.0.1", port))
        assert "127.0.0.1 leads to 127.0.0.1" in refused[0]
        client.sendto(b"elsewhere", 0, ("127.0.0.1", port))
        found = [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port))]
        monkeypatch.setattr(addresses, "_resolve", lambda *_, **__: found)
        monkeypatch.setattr(addresses, "is_public", lambda _: True)
        with public_only():
            client.sendto(b"found", ("no.such.host.invalid", port))
        assert [server.recv(20), server.recv(20)] == [b"elsewhere", b"found"]


def test_every_address_that_a_name_has_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET, 1, 6, "", ("93.184.216.34", 1)), (socket.AF_INET, 1, 6, "", ("10.0.0.1", 1))]
    monkeypatch.setattr(addresses, "_resolve", lambda *_, **__: both)
    assert "10.0.0.1" in (leads_to_private("both.example.com") or "")


@pytest.mark.parametrize("address", ["192.0.2.1", "240.0.0.1", "255.255.255.255", "ff02::1", "2002:0a00:0001::", "::"])
def test_further_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)
