"""Judging a recorded stretch by a detector, measured against labels, as a report."""
