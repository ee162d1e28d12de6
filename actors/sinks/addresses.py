"""Where messages may go: not to this machine nor into private networks, where services trust whoever reaches them.

Theory of operation
-------------------
An address of a route is written by whoever configures routes, but where it leads is decided by name servers and by redirects, at
the moment of sending. So the check stands where every connection must pass: the resolution of names. While `public_only` is in
force, a resolution that gives a private address fails, whatever asked: a request, a redirect, a mail server. The clients of
apprise (requests, smtplib) resolve by `socket.getaddrinfo` and connect to what that gives, and to nothing else; they work on
threads of apprise, which take the caller's context along, so it is a matter of the context and not of the thread. What sends
datagrams (rsyslog) leaves the resolution to `sendto`, which is given what `getaddrinfo` says instead.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

METADATA = frozenset({ipaddress.ip_address("168.63.129.16")})  # of Azure: a public address; the others are link-local
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

_refusals: ContextVar[list[str] | None] = ContextVar("refusals", default=None)  # None: no `public_only` is in force
_resolve = socket.getaddrinfo
_send: Any = socket.socket.sendto

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class PrivateAddressError(socket.gaierror):
    """A name leads to an address where messages may not go."""


def is_public(address: str) -> bool:
    """Tell whether an address is one of the internet: not private, loopback, link-local, shared, reserved or of metadata.

    >>> [is_public(one) for one in ("93.184.216.34", "2606:2800:220:1::1")]
    [True, True]
    >>> any(is_public(one) for one in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "0.0.0.0", "100.64.0.1", "168.63.129.16"))
    False
    >>> any(is_public(one) for one in ("::1", "fe80::1%eth0", "fd00:ec2::254", "::ffff:10.0.0.1", "64:ff9b::7f00:1"))
    False
    """
    return all(
        one.is_global and not one.is_multicast and not one.is_reserved and one not in METADATA
        for one in _meant(ipaddress.ip_address(address.partition("%")[0]))
    )


def _meant(address: Address) -> list[Address]:
    """Return an address, and the IPv4 address that it stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    inner = [address.sixtofour] if address.sixtofour is not None else []
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        return [*inner]
    return [address, *inner]


@contextmanager
def public_only() -> Iterator[list[str]]:
    """Let this context connect to public addresses only; yields what was refused, as sentences.

    Resolutions raise PrivateAddressError for other addresses. Other contexts are not touched.
    """
    _install()
    refusals: list[str] = []
    token = _refusals.set(refusals)
    try:
        yield refusals
    finally:
        _refusals.reset(token)


def leads_to_private(host: str) -> str | None:
    """Return where a host leads that is not public, as far as is known now; None: nowhere such, or it does not resolve."""
    try:
        with public_only():
            socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except PrivateAddressError as error:
        return str(error.strerror)
    except (OSError, UnicodeError):  # not now; it is asked again when there is something to send
        return None
    return None


@cache
def _install() -> None:
    """Put the check before the resolution of names of this process; it does nothing in contexts that do not ask for it."""
    socket.getaddrinfo = _checked
    socket.socket.sendto = _send_checked  # type: ignore[assignment,method-assign]


def _checked(host: Any, *arguments: Any, **named: Any) -> Any:
    found = _resolve(host, *arguments, **named)
    refusals = _refusals.get()
    if refusals is not None:
        for *_, address in found:
            if not is_public(str(address[0])):
                name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
                why = f"{name[:100]} leads to {address[0]}, which is private: notify.allow_private permits it"
                refusals.append(why)
                raise PrivateAddressError(socket.EAI_FAIL, why)
    return found


def _send_checked(sock: socket.socket, data: Any, *where: Any) -> int:
    *flags, address = where
    if _refusals.get() is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        address = socket.getaddrinfo(address[0], address[1], sock.family, sock.type)[0][4]
    sent: int = _send(sock, data, *flags, address)
    return sent
