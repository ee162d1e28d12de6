"""What travels: wire contracts, topics, batches, and the way between records and bytes. No I/O but schemas/registry.py."""

from schemas.batch import (
    SERIES_KEY_PARTS,
    DeadLetter,
    MicroBatch,
    RawBatch,
    Reason,
    SeriesDictionary,
    series_key,
    split_series_key,
)
from schemas.decode import MeasurementDecoder, UnreadableRecord, decode_event
from schemas.encode import Encoder
from schemas.framing import EncodeError
from schemas.registry import Registry, RegistryUnavailable, SchemaRefused, UnknownSchema, register_all
from schemas.topics import TOPICS, Topic, dead_letter_topic, load, schema_text, subject_of

__all__ = [
    "SERIES_KEY_PARTS",
    "TOPICS",
    "DeadLetter",
    "EncodeError",
    "Encoder",
    "MeasurementDecoder",
    "MicroBatch",
    "RawBatch",
    "Reason",
    "Registry",
    "RegistryUnavailable",
    "SchemaRefused",
    "SeriesDictionary",
    "Topic",
    "UnknownSchema",
    "UnreadableRecord",
    "dead_letter_topic",
    "decode_event",
    "load",
    "register_all",
    "schema_text",
    "series_key",
    "split_series_key",
    "subject_of",
]
