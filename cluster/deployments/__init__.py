"""Detectors deployed at run time beside a pipeline: in shadow, as a canary, live; promoted, rolled back, removed."""
