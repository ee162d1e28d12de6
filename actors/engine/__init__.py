"""The deterministic engine: no clock, no network, no randomness, no Ray, no Kafka. Time is event time."""
