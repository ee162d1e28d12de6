"""Names in Ray."""

from __future__ import annotations

NAMESPACE = "chipquality"  # of all our actors
