"""The Schema Registry as we use it: register, look up by id, evolve under BACKWARD compatibility. The only I/O of this package.

An id never changes its schema, so what was looked up once is kept. An id that the registry does not know is a property of the
record that names it (`UnknownSchema`); a registry that does not answer is not (`RegistryUnavailable`): the caller waits.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote

from schemas.topics import TOPICS, schema_text, subject_of

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema
    from confluent_kafka.schema_registry.error import SchemaRegistryError

BACKWARD = "BACKWARD"  # a new schema reads what the last one wrote
ID_MAX = 2**31 - 1  # Confluent's ids are positive 32-bit integers
TIMEOUT_S = 10.0  # of one request
RETRIES = 1  # of one request; who calls decides whether to wait longer
SCHEMAS_MAX = 10_000  # kept by id, as is the number of ids known to be unknown
UNKNOWN_KEPT_S = 10.0  # an unknown id is asked for again after this long

_READS_OLD = frozenset({"BACKWARD", "BACKWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"})
_NUMBERS = (
    "timeout",
    "max.retries",
    "retries.wait.ms",
    "retries.max.wait.ms",
    "cache.capacity",
    "cache.latest.ttl.sec",
)
_T = TypeVar("_T")


class RegistryUnavailable(RuntimeError):  # noqa: N818 - a state of the registry
    """The registry cannot be reached, or does not answer as one: wait, and ask again."""

    schema_id: int | None = None  # that was asked for


class UnknownSchema(LookupError):  # noqa: N818 - a property of the record that names it
    """The registry answers, and knows no schema of this id."""


class NotAvroSchema(UnknownSchema):
    """The id names a schema of another format (JSON Schema, Protobuf)."""


class SchemaRefused(ValueError):  # noqa: N818 - an answer
    """The registry refuses the schema: not compatible with the last one, or no schema at all."""


class Version(NamedTuple):
    """A version of a subject."""

    version: int
    id: int
    schema: str  # as text
    type: str  # "AVRO", "JSON", "PROTOBUF"


class Registry:
    """Client of a Schema Registry with the Confluent API. Thread-safe.

    `url` ends where `/subjects` would follow (Apicurio: …/apis/ccompat/v7). `client` holds confluent-kafka's further settings.
    Every method raises RegistryUnavailable if there is no answer within `timeout_s` (once more after a retry). Raises
    ValueError, in one line, for settings that are wrong.
    """

    def __init__(
        self,
        url: str,
        client: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self._clock = clock
        self._schemas: dict[int, Any] = {}
        self._unknown: dict[int, float] = {}  # id → when it was found to be unknown
        self._lock = threading.Lock()
        settings: dict[str, Any] = {"timeout": timeout_s, "max.retries": RETRIES, "retries.wait.ms": 100}
        settings |= client or {}
        settings["url"] = url
        from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415 - slow to import; detectors need none

        try:
            for name in _NUMBERS:
                if name in settings:
                    settings[name] = float(settings[name])
            self._client = SchemaRegistryClient(settings)
        except (ValueError, TypeError, OSError) as error:  # OSError: a certificate file that is not there
            raise ValueError(f"registry.url = {url!r}, registry.client: {error}") from error

    def register(self, subject: str, text: str) -> int:
        """Register a schema under `subject`, or find it there; return its id. Raises SchemaRefused if it may not follow."""
        return self._ask(lambda: self._client.register_schema(subject, _avro(text)), f"register {subject}")

    def schema(self, schema_id: int) -> Any:
        """Return the schema of an id as JSON knows it. It is kept and shared: do not change it.

        Raises UnknownSchema; NotAvroSchema if it is known and of another format.
        """
        found = self._schemas.get(schema_id)
        if found is None:
            found = self._fetch(schema_id)
            with self._lock:
                _make_room(self._schemas)
                found = self._schemas.setdefault(schema_id, found)
        return found

    def subjects(self) -> list[str]:
        """Return all subjects, sorted."""
        return sorted(self._ask(self._client.get_subjects, "list subjects"))

    def versions(self, subject: str) -> list[int]:
        """Return the versions of a subject, oldest first; none if there is no such subject."""
        try:
            return sorted(self._of_subject(lambda: self._client.get_versions(subject), f"versions of {subject}"))
        except UnknownSchema:
            return []

    def version(self, subject: str, number: int) -> Version:
        """Return a version of a subject. Raises UnknownSchema."""
        found = self._of_subject(lambda: self._client.get_version(subject, number), f"version {number} of {subject}")
        schema = found.schema
        return Version(
            int(found.version or number),
            int(found.schema_id or 0),
            (schema and schema.schema_str) or "",
            (schema and schema.schema_type) or "AVRO",
        )

    def compatibility(self, subject: str | None = None) -> str:
        """Return the compatibility level that holds for a subject: its own, or the registry's.

        Apicurio says NONE of a subject that has no level of its own, though the registry's holds: so it is asked for what holds.
        """
        if subject is None:
            return self._ask(self._client.get_compatibility, "compatibility")
        path = f"config/{quote(subject, safe='')}?defaultToGlobal=true"  # the client has no method that says so
        try:
            said = self._ask(lambda: self._client._rest_client.get(path), f"compatibility of {subject}")
            return str(said["compatibilityLevel"])
        except UnknownSchema:
            return self._ask(self._client.get_compatibility, "compatibility")

    def set_compatibility(self, subject: str | None, level: str = BACKWARD) -> None:
        """Set the level of a subject; None: of the registry."""
        self._ask(lambda: self._client.set_compatibility(subject, level), f"set compatibility of {subject}")

    def test(self, subject: str, text: str, version: int | None = None) -> bool:
        """Tell whether a schema may follow the last one of `subject`, or a version of it, under the subject's level."""
        against = "latest" if version is None else version
        return self._ask(
            lambda: self._client.test_compatibility(subject, _avro(text), against), f"test compatibility of {subject}"
        )

    def _fetch(self, schema_id: int) -> Any:
        if not 0 < schema_id <= ID_MAX:
            raise UnknownSchema(f"schema id {schema_id}: ids are from 1 to {ID_MAX}")
        asked = self._unknown.get(schema_id)
        if asked is not None and self._clock() - asked < UNKNOWN_KEPT_S:
            raise UnknownSchema(f"schema id {schema_id}: the registry does not know it")
        try:
            schema = self._ask(lambda: self._client.get_schema(schema_id), f"schema id {schema_id}")
        except RegistryUnavailable as error:
            error.schema_id = schema_id
            raise
        except UnknownSchema:
            with self._lock:
                _make_room(self._unknown)
                self._unknown[schema_id] = self._clock()
            raise
        if schema.schema_type not in {None, "AVRO"}:
            raise NotAvroSchema(f"schema id {schema_id} is {schema.schema_type}, not Avro")
        if schema.references:
            raise NotAvroSchema(f"schema id {schema_id} refers to other subjects: not supported")
        try:
            return json.loads(schema.schema_str or "")
        except (json.JSONDecodeError, RecursionError) as error:
            raise NotAvroSchema(f"schema id {schema_id} is not JSON: {error}") from error

    def _of_subject(self, call: Callable[[], _T], doing: str) -> _T:
        """Ask about a subject. One whose name the registry cannot have (400) is unknown: nothing is wrong with the registry."""
        try:
            return self._ask(call, doing)
        except RegistryUnavailable as error:
            if getattr(error.__cause__, "http_status_code", None) == HTTPStatus.BAD_REQUEST:
                raise UnknownSchema(str(error)) from error
            raise

    def _ask(self, call: Callable[[], _T], doing: str) -> _T:
        """Do one request; the single place where the client's errors become ours."""
        try:
            return call()
        except _said_by_registry() as error:
            what = f"{doing}: {error}"
            if error.http_status_code == 404:
                raise UnknownSchema(what) from error
            if error.http_status_code in {409, 422}:
                raise SchemaRefused(what) from error
            raise RegistryUnavailable(f"{self.url}: {what}") from error
        except _no_answer() as error:
            raise RegistryUnavailable(f"{self.url}: {doing}: {type(error).__name__}: {error}") from error


def _avro(text: str) -> Schema:
    from confluent_kafka.schema_registry import Schema  # noqa: PLC0415

    return Schema(text, "AVRO")


def _said_by_registry() -> type[SchemaRegistryError]:
    from confluent_kafka.schema_registry import error  # noqa: PLC0415

    return error.SchemaRegistryError


def _no_answer() -> tuple[type[Exception], ...]:
    """Return the errors of the httpx that the client found; the last four: a body that is no registry's answer."""
    from confluent_kafka.schema_registry.common._httpx_compat import httpx  # noqa: PLC0415

    return httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, TypeError, KeyError, AttributeError


def _make_room(kept: dict[int, Any]) -> None:
    while len(kept) >= SCHEMAS_MAX:
        del kept[next(iter(kept))]


def register_all(registry: Registry) -> Mapping[tuple[str, str], int]:
    """Register every record of every topic under BACKWARD compatibility or stricter; return ids by (topic, record). Idempotent.

    Raises SchemaRefused if a schema may not follow what is registered.
    """
    ids: dict[tuple[str, str], int] = {}
    for topic in TOPICS.values():
        for record in topic.records:
            ids[topic.name, record] = _register_backward(registry, subject_of(topic.name, record), schema_text(record))
    return ids


def _register_backward(registry: Registry, subject: str, text: str) -> int:
    if registry.compatibility(subject) in _READS_OLD:
        return registry.register(subject, text)
    if registry.versions(subject):  # first the level, so that it holds for this schema too
        registry.set_compatibility(subject, BACKWARD)
        return registry.register(subject, text)
    schema_id = registry.register(subject, text)
    registry.set_compatibility(subject, BACKWARD)  # Apicurio knows no level of a subject that has no schema yet
    return schema_id
