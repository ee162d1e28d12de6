"""What runs: the deterministic engine, Kafka's effects, and the Ray actors that join them."""
