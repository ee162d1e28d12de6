"""Names in Ray, and how the logs of our processes look."""

from __future__ import annotations

NAMESPACE = "chipquality"  # of all our actors
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
