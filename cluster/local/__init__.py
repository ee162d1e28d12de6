"""Apache Kafka and a Schema Registry on this machine: for `make demo`, for tests, for `chipquality local`."""

from cluster.local.errors import LocalStackError
from cluster.local.stack import Endpoints, LocalStack

__all__ = ["Endpoints", "LocalStack", "LocalStackError"]
