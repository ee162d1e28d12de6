"""Plain consumers: what leaves Kafka, at-least-once, with retries and dead letters (retrying.py); notifier and escalation."""
