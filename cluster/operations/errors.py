"""Why something is not done. Each says with which status the API answers; the message says what can be done instead.

They travel from the operations actor to whoever asked: an error of these has one argument, its message.
"""

from __future__ import annotations

ECHO_MAX = 200  # characters of what a caller sent that are said back


class Refused(ValueError):  # noqa: N818 - it is an answer
    """What was asked is not done."""

    status = 409


class Invalid(Refused):
    """It cannot be done, whatever the cluster holds: ask for something else."""

    status = 422


class Absent(Refused):
    """There is no such thing."""

    status = 404


class Conflict(Refused):
    """It cannot be done as things stand."""


class TooMany(Refused):
    """As much is under way as may be."""

    status = 429


def shown(text: str) -> str:
    """Return what a caller sent as it is said back.

    >>> shown("a" * 300)[-3:], len(shown("a" * 300))
    ('aa…', 200)
    """
    return text if len(text) <= ECHO_MAX else f"{text[: ECHO_MAX - 1]}…"
