"""Scheduled jobs: definitions and runs in Kafka, planned by a pure function, run as Ray jobs."""
