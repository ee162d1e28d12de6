"""Kafka's effects: the only modules that import confluent_kafka's clients."""
