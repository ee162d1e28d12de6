"""Names in Ray, and how the logs of our processes look."""

from __future__ import annotations

NAMESPACE = "chipquality"  # of all our actors
SATELLITE = "detector-"  # begins the names of pipelines that judge beside another one (cluster/deployments)
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
