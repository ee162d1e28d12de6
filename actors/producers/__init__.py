"""Publishers: one per event category, over one `Publisher`.

>>> from schemas.registry import Registry
>>> def report(bootstrap: str, registry_url: str) -> tuple[int, int]:
...     with Publisher(bootstrap, Registry(registry_url)) as publisher:
...         inspection = Inspection("I-1", "B-7", "C-0042", "AOI")
...         delivery = InspectionPublisher(publisher).defect_detected(
...             inspection, [Defect("SCRATCH", "MAJOR", 0.93, "x=12.5 y=3.1")], context=Context(correlation_id="B-7")
...         )
...         return delivery.result(timeout_s=10)  # (partition, offset)
"""

from actors.kafka.delivery import (
    BackpressureError,
    BatchDelivery,
    BrokerUnavailableError,
    ClosedError,
    Delivery,
    PublishError,
    UndeliveredError,
)
from actors.kafka.producer import Limits, ProducerMetrics
from actors.producers.category import Context
from actors.producers.inspection import Defect, Inspection, InspectionPublisher
from actors.producers.manufacturing import ManufacturingPublisher
from actors.producers.measurement import MeasurementPublisher
from actors.producers.ml import MlPublisher, Model
from actors.producers.publisher import Publisher, PublisherMetrics
from actors.producers.quality import QualityPublisher
from actors.producers.system import Service, SystemPublisher
from actors.producers.trace import TraceError
from actors.producers.user import UserPublisher
from schemas.framing import EncodeError

__all__ = [
    "BackpressureError",
    "BatchDelivery",
    "BrokerUnavailableError",
    "ClosedError",
    "Context",
    "Defect",
    "Delivery",
    "EncodeError",
    "Inspection",
    "InspectionPublisher",
    "Limits",
    "ManufacturingPublisher",
    "MeasurementPublisher",
    "MlPublisher",
    "Model",
    "ProducerMetrics",
    "PublishError",
    "Publisher",
    "PublisherMetrics",
    "QualityPublisher",
    "Service",
    "SystemPublisher",
    "TraceError",
    "UndeliveredError",
    "UserPublisher",
]
