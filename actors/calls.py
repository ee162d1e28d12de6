"""Waiting for Ray: every wait has a timeout."""

from __future__ import annotations

from typing import Any

import ray


def answer(calls: Any, timeout_s: float) -> Any:
    """Return the result of a call, or of a list of calls. Raises ray.exceptions.GetTimeoutError after `timeout_s`."""
    result: Any = ray.get(calls, timeout=timeout_s)
    return result
