"""Headers that let one follow a record through services: a correlation id and W3C Trace Context.

Source: W3C Trace Context, Level 2 (https://www.w3.org/TR/trace-context-2/), §3.2 traceparent and §3.3 tracestate.
"""

from __future__ import annotations

import re
import secrets

CORRELATION_ID = "correlation-id"
TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
TRACESTATE_CHARS_MAX = 512  # what §3.3.1.5 asks everybody to carry; more is refused
CORRELATION_ID_CHARS_MAX = 256

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)


class TraceError(ValueError):
    """A trace header is not what W3C Trace Context says, or the correlation id is not usable; it names the header."""


def check_traceparent(traceparent: str) -> str:
    """Return `traceparent` if it is valid. Raises TraceError.

    A version above 00 may append fields (§3.2.4); version ff, and ids of only zeros, are invalid.

    >>> check_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    >>> check_traceparent("00-00000000000000000000000000000000-00f067aa0ba902b7-01")
    Traceback (most recent call last):
    actors.producers.trace.TraceError: traceparent: '00-0000...': the trace id is zero
    """
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        raise TraceError(f"{TRACEPARENT}: {traceparent!r}: not version-traceid-parentid-flags in lower-case hex")
    version, trace_id, parent_id, _, more = match.groups()
    if version == "ff" or (version == "00" and more):
        raise TraceError(f"{TRACEPARENT}: {traceparent!r}: version {version} has no such form")
    if not trace_id.strip("0") or not parent_id.strip("0"):
        raise TraceError(
            f"{TRACEPARENT}: {traceparent!r}: the {'parent' if trace_id.strip('0') else 'trace'} id is zero"
        )
    return traceparent


def new_traceparent() -> str:
    """Return a new trace's first traceparent, not sampled (flag 00): nobody has recorded a span for it here.

    >>> check_traceparent(new_traceparent())[:3], new_traceparent() == new_traceparent()
    ('00-', False)
    """
    digits = secrets.token_hex(24)
    return f"00-{digits[:32]}-{digits[32:]}-00"


def trace_headers(
    correlation_id: str, traceparent: str | None = None, tracestate: str | None = None
) -> list[tuple[str, str | bytes | None]]:
    """Return a record's headers: `correlation-id`, `traceparent` (a new one if none is given), `tracestate` if given.

    Raises TraceError for one that is not valid.

    >>> trace_headers("lot-4711", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "vendor=1")
    [('correlation-id', b'lot-4711'),
     ('traceparent', b'00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'),
     ('tracestate', b'vendor=1')]
    """
    if not correlation_id or len(correlation_id) > CORRELATION_ID_CHARS_MAX:
        raise TraceError(f"{CORRELATION_ID}: {correlation_id[:40]!r}: 1 to {CORRELATION_ID_CHARS_MAX} characters")
    parent = new_traceparent() if traceparent is None else check_traceparent(traceparent)
    headers: list[tuple[str, str | bytes | None]] = [
        (CORRELATION_ID, correlation_id.encode()),
        (TRACEPARENT, parent.encode()),
    ]
    if tracestate:
        if traceparent is None:
            raise TraceError(f"{TRACESTATE}: it is given without a {TRACEPARENT}")
        if len(tracestate) > TRACESTATE_CHARS_MAX or not tracestate.isascii() or not tracestate.isprintable():
            raise TraceError(f"{TRACESTATE}: at most {TRACESTATE_CHARS_MAX} printable ASCII characters")
        headers.append((TRACESTATE, tracestate.encode()))
    return headers
