"""Correlation ids and W3C trace context."""

from __future__ import annotations

import pytest

from actors.producers.trace import TraceError, check_traceparent, new_traceparent, trace_headers

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "given", [f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00", f"cc-{TRACE}-{PARENT}-01-what"]
)
def test_valid_traceparents_pass_unchanged(given: str) -> None:
    assert check_traceparent(given) == given


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "not version-traceid-parentid-flags"),
        (f"00-{TRACE.upper()}-{PARENT}-01", "not version-traceid-parentid-flags"),
        (f"00-{TRACE[:-1]}-{PARENT}-01", "not version-traceid-parentid-flags"),
        (f"00-{TRACE}-{PARENT}-01\n", "not version-traceid-parentid-flags"),
        (f"00-{TRACE}-{PARENT}-01-more", "version 00 has no such form"),
        (f"ff-{TRACE}-{PARENT}-01", "version ff has no such form"),
        (f"00-{'0' * 32}-{PARENT}-01", "the trace id is zero"),
        (f"00-{TRACE}-{'0' * 16}-01", "the parent id is zero"),
    ],
)
def test_invalid_traceparents_are_refused_by_name(given: str, said: str) -> None:
    with pytest.raises(TraceError, match=f"^traceparent: .*{said}"):
        check_traceparent(given)


def test_a_new_trace_is_valid_not_sampled_and_of_its_own() -> None:
    traces = {check_traceparent(new_traceparent()) for _ in range(100)}
    assert len(traces) == 100
    assert all(trace.endswith("-00") for trace in traces)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("",), "correlation-id"),
        (("x" * 257,), "correlation-id"),
        (("c", None, "vendor=1"), "tracestate: it is given without a traceparent"),
        (("c", new_traceparent(), "x" * 513), "tracestate: at most 512"),
        (("c", new_traceparent(), "a\nb"), "tracestate: at most 512"),
    ],
)
def test_headers_that_are_wrong_are_named(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(TraceError, match=said):
        trace_headers(*arguments)
