"""What goes wrong with the local stack, each as one clear line: what, and the ways out."""

from __future__ import annotations

WAYS_OUT = (
    "ways out: (1) install Java 17 or newer and Maven; "
    "(2) install Docker with Compose v2 and start its engine; "
    "(3) point CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS and CHIPQUALITY_REGISTRY__URL at a broker and registry of your own"
)


class LocalStackError(RuntimeError):
    """The local broker or registry cannot be had; the message is for a person and says what to do."""


class ToolMissingError(LocalStackError):
    """Java or Maven is not there, or too old: Docker may still do."""
