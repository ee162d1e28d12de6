"""Every topic once: what it carries, what its key is, how it is kept, who writes it and who reads it.

Theory of operation
-------------------
`TOPICS` is the only place that knows a topic's settings; `chipquality topics apply | diff` makes a cluster match it
(actors/kafka/admin.py), `register_all` registers its records (schemas/registry.py), the API and the page list it.
Rules of this file:

- A topic whose records have a key never grows partitions in place: keys would move, and a series would be in two folds.
- Topics with partitions `INPUT` have as many as `kafka.partitions` says, so that partition p of the input is folded to
  partition p of the charts, of the state and of the dead letters.
- Kafka timestamps are the producer's clock (CreateTime): latency is measured from them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

AVRO = Path(__file__).parent / "avro"

MEASUREMENTS = "fab.measurements"
VECTORS = "fab.vectors"
MANUFACTURING = "fab.manufacturing"
INSPECTION = "fab.inspection"
QUALITY = "fab.quality"
USER = "fab.user"
SYSTEM = "fab.system"
ML = "fab.ml"
ALERTS = "quality.alerts"
CHARTS = "quality.charts"
STATE = "quality.state"
VECTOR_STATE = "quality.vectors.state"
CONTROL = "quality.control"
REDRIVES = "quality.redrives"
NOTIFY = "notify"  # consumer group of the alert notifier
ALERT_ACTIONS = "quality.alert-actions"
ESCALATION = "escalation"  # consumer group that tells escalated alerts
DEALS = "quality.deals"
OPERATIONS = "quality.operations"
JOBS = "quality.jobs"
DEPLOYMENTS = "quality.deployments"
ACCESS = "quality.access"

INPUT: Literal["input"] = "input"  # as many partitions as kafka.partitions says

DAY_MS = 24 * 60 * 60 * 1000
COMPACTION_MS = (
    10 * 60 * 1000
)  # a state record that is not the newest of its key lives this long at least and twice at most
RETRY_DELAYS_S = (30.0, 300.0, 3600.0)  # of a plain consumer: so long a record waits before it is handled again
RETRY_BYTES_MAX = 2 * 1024 * 1024  # a record of Kafka's default size, and the headers that it gets on its way
LIFE_DAYS = 100  # longer than alerts are kept: whoever can see an alert can see its life
CHART_BYTES_MAX = (
    8 * 1024 * 1024
)  # a packed record of a step of some thousand rows is larger than Kafka's default of 1 MiB


@dataclass(frozen=True, slots=True)
class Topic:
    """All about one topic. `records` are names of files in `schemas/avro`; none: packed Arrow (schemas/charts.py).

    A topic that has had one record keeps its subject when another comes to stand `beside` it.
    """

    name: str
    doc: str
    key: str | None  # what the key of a record is; None: records have none
    records: tuple[str, ...]
    writers: str
    readers: str
    partitions: int | Literal["input"] = INPUT
    config: Mapping[str, str] = field(
        default_factory=dict
    )  # Kafka's topic settings that we state; others stay the broker's
    dead_letters: str | None = None  # topic for records of this one that cannot be processed
    beside: tuple[str, ...] = ()  # those of the records that came later

    def partition_count(self, input_partitions: int) -> int:
        """Return how many partitions it has when inputs have `input_partitions`."""
        return input_partitions if self.partitions == INPUT else self.partitions


def dead_letter_topic(name: str) -> str:
    """Return the name of the topic for records of topic `name` that cannot be processed.

    >>> dead_letter_topic(MEASUREMENTS)
    'fab.measurements.dlq'
    """
    return f"{name}.dlq"


def retry_topic(name: str, group: str, delay_s: float) -> str:
    """Return the topic where records of topic `name` wait before a consumer group handles them again.

    >>> [retry_topic(ALERTS, NOTIFY, delay_s) for delay_s in RETRY_DELAYS_S]
    ['quality.alerts.retry.notify.30s', 'quality.alerts.retry.notify.5m', 'quality.alerts.retry.notify.1h']
    >>> retry_topic("t", "g", 0.25)
    't.retry.g.250ms'
    """
    ms = round(delay_s * 1000)
    unit, size = next((u, n) for u, n in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)) if ms % n == 0)
    return f"{name}.retry.{group}.{ms // size}{unit}"


def group_dead_letter_topic(name: str, group: str) -> str:
    """Return the topic for records of topic `name` on which a consumer group has given up.

    >>> group_dead_letter_topic(ALERTS, NOTIFY)
    'quality.alerts.notify.dlq'
    """
    return f"{name}.{group}.dlq"


def late_topic(name: str) -> str:
    """Return the name of the topic for records of topic `name` that came too late, twice, or from a wrong clock.

    >>> late_topic(MEASUREMENTS)
    'fab.measurements.late'
    """
    return f"{name}.late"


def subject_of(topic: str, record: str) -> str:
    """Return the registry subject of a record in a topic.

    Topics of one record use Confluent's TopicNameStrategy, topics of several, and what stands beside the one, its
    TopicRecordNameStrategy.

    >>> subject_of(ALERTS, "alert"), subject_of(STATE, "page")
    ('quality.alerts-value', 'quality.state-com.chipquality.state.Page')
    >>> subject_of(MEASUREMENTS, "measurement"), subject_of(MEASUREMENTS, "measurement_array")
    ('fab.measurements-value', 'fab.measurements-com.chipquality.events.measurement.MeasurementArray')
    """
    known = TOPICS.get(topic)
    if known is not None and (record in known.beside or len(known.records) - len(known.beside) > 1):
        return f"{topic}-{full_name(record)}"
    return f"{topic}-value"


@cache
def load(name: str) -> dict[str, Any]:
    """Return the schema in `schemas/avro/<name>.avsc`. Cached: do not change it. Raises KeyError if there is none.

    >>> [field["name"] for field in load("position")["fields"]][:3]
    ['topic', 'partition', 'next_offset']
    """
    path = AVRO / f"{name}.avsc"
    if not path.is_file():
        raise KeyError(f"no schema {name!r}; there are {', '.join(record_names())}")
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


@cache
def schema_text(name: str) -> str:
    """Return the schema as it is registered: its own layout in the file makes no new version."""
    return json.dumps(load(name), separators=(",", ":"), ensure_ascii=False)


def full_name(name: str) -> str:
    """Return the full name of a record, e.g. `com.chipquality.state.Page` for `page`."""
    schema = load(name)
    return f"{schema['namespace']}.{schema['name']}"


@cache
def record_names() -> tuple[str, ...]:
    """Return the names of all schemas, sorted."""
    return tuple(sorted(path.stem for path in AVRO.glob("*.avsc")))


def _kept(days: int, **more: str) -> Mapping[str, str]:
    config = {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS), "message.timestamp.type": "CreateTime"}
    return MappingProxyType(config | {name.replace("_", "."): value for name, value in more.items()})


_COMPACTED = MappingProxyType(
    {
        "cleanup.policy": "compact",
        "segment.ms": str(COMPACTION_MS),  # only closed segments are compacted: this bounds what a recovery reads
        "max.compaction.lag.ms": str(COMPACTION_MS),
        "message.timestamp.type": "CreateTime",
    }
)


def _fab(
    name: str, record: str, key: str, doc: str, readers: str, days: int = 7, beside: tuple[str, ...] = ()
) -> Topic:
    return Topic(
        name=name,
        doc=doc,
        key=key,
        records=(record, *beside),
        writers="services and equipment, through actors/producers",
        readers=readers,
        config=_kept(days),
        dead_letters=dead_letter_topic(name),
        beside=beside,
    )


_SERIES_KEY = "series key: equipment|chamber|recipe|operation|characteristic"
_SINKS = "plain consumer groups"
_FAB = (
    _fab(MEASUREMENTS, "measurement", _SERIES_KEY, "Measured values: one in a record, or many samples of one series",
         "partition owners of the main pipeline", beside=("measurement_array",)),
    _fab(VECTORS, "vector_measurement", "series key, its last part the name of the vector",
         "Many characteristics measured together, with gaps", "partition owners of multivariate pipelines"),
    _fab(MANUFACTURING, "manufacturing", "lot_id", "Lot, batch and step milestones of production", _SINKS, 30),
    _fab(INSPECTION, "inspection", "inspection_id", "Inspection life cycle, defects, assessments", _SINKS, 30),
    _fab(QUALITY, "quality", "subject", "Thresholds, compliance, capability, lot dispositions", _SINKS, 90),
    _fab(USER, "user", "user_id", "Log-ins, authorisations, audit trail", _SINKS, 365),
    _fab(SYSTEM, "system", "service", "Health, performance and errors of services", _SINKS),
    _fab(ML, "ml", "model", "Inference, training, drift and deployment of models", _SINKS, 30),
)  # fmt: skip


def _state(name: str, folded: str) -> Topic:
    return Topic(
        name=name,
        doc=f"Of the fold of {folded}: positions, pages of detector state, series, applied changes; partition as the input's",
        key="position, page|detector|layout|number, series|number or applied|change_id",
        records=("position", "page", "series_page", "applied_change"),
        writers="partition owners, in the transaction of the step",
        readers="partition owners when they open a slot; `chipquality limits`, read_committed",
        config=_COMPACTED,
    )


_OURS = (
    Topic(
        name=ALERTS,
        doc="One record when an incident opens, one when it closes",
        key="alert_id",
        records=("alert",),
        writers="partition owners, in the transaction of the step",
        readers="the page and the API, notification and forwarding; read_committed",
        config=_kept(90),
    ),
    Topic(
        name=CHARTS,
        doc="What every detector said of every row: one packed record per step and family; partition as the input's",
        key="<topic>:<partition>/<family>",
        records=(),
        writers="partition owners, in the transaction of the step",
        readers="the page and the API, archive; read_committed",
        config=_kept(1, max_message_bytes=str(CHART_BYTES_MAX)),
    ),
    _state(STATE, MEASUREMENTS),
    _state(VECTOR_STATE, VECTORS),
    Topic(
        name=CONTROL,
        doc="Changes that people make: limits, resets, exclusions; one partition, so that all see them in one order",
        key="change_id",
        records=("control",),
        writers="`chipquality limits`",
        readers="partition owners, from the beginning when they open a slot and then step by step",
        partitions=1,
        config=_COMPACTED,
    ),
    Topic(
        name=ALERT_ACTIONS,
        doc="What people have done about alerts: the whole life of each in one record, in one line of history",
        key="alert_id",
        records=("alert_life",),
        writers="the API, `chipquality alerts` and the escalation, in transactions of one id, so that one at a time writes",
        readers="whoever writes, from the beginning; the view; the escalation and what tells it; read_committed",
        partitions=1,
        config=MappingProxyType(
            {**_COMPACTED, "cleanup.policy": "compact,delete", "retention.ms": str(LIFE_DAYS * DAY_MS)}
        ),
    ),
    Topic(
        name=DEALS,
        doc="Which slot of a pipeline has which partitions, and which incarnation of a slot counts; one line of history",
        key="name of the pipeline",
        records=("deal",),
        writers="the supervisor of a pipeline, in a transaction of the id <pipeline>-supervisor",
        readers="partition owners, before they open a slot and then step by step; supervisors; read_committed",
        partitions=1,
        config=_COMPACTED,
    ),
    Topic(
        name=OPERATIONS,
        doc="What people asked for that takes a while (replays, redrives, resets, deletions), and what has come of it",
        key="id of the operation",
        records=("operation",),
        writers="the operations actor of a pipeline, in a transaction of the id <pipeline>-operations",
        readers="the operations actor, when it starts; read_committed",
        partitions=1,
        config=_COMPACTED,
    ),
    Topic(
        name=JOBS,
        doc="Scheduled jobs, their runs, and which version of what they make is the current one (docs/jobs.md)",
        key="job|pipeline|name, run|pipeline|id or alias|pipeline|job",
        records=("job", "job_run", "job_alias"),
        writers="the scheduler of a pipeline, in a transaction of the id <pipeline>-jobs",
        readers="the scheduler, when it starts; read_committed",
        partitions=1,
        config=_COMPACTED,
    ),
    Topic(
        name=DEPLOYMENTS,
        doc="Detectors that were deployed at run time: package, mode, the offsets at which modes began and ended, why one is off",
        key="name of the deployment",
        records=("deployment",),
        writers="the operations actor of a pipeline, in a transaction of the id <pipeline>-deployments",
        readers="the operations actor, when it starts; read_committed",
        partitions=1,
        config=_COMPACTED,
    ),
    Topic(
        name=ACCESS,
        doc="Keys of the API, as keyed hashes, and sessions that ended early; one partition, so that all see them in one order",
        key="key|key_id or session|session_id",
        records=("access_key", "access_session"),
        writers="the API and `chipquality keys`",
        readers="every replica of the API, from the beginning and then as it comes; `chipquality keys`",
        partitions=1,
        config=_COMPACTED,
    ),
)


def _retries(name: str, group: str, record: str, key: str) -> tuple[Topic, ...]:
    """Return the topics of a plain consumer: one for every delay, one partition each, for there are few such records."""
    waiting = tuple(
        Topic(
            name=retry_topic(name, group, delay_s),
            doc=f"Records of {name} that {group} could not handle yet; each waits {delay_s:g} s here",
            key=key,
            records=(record,),
            writers=f"consumer group {group}; `chipquality dead-letters redrive`",
            readers=f"consumer group {group}",
            partitions=1,
            config=_kept(7, max_message_bytes=str(RETRY_BYTES_MAX)),
        )
        for delay_s in RETRY_DELAYS_S
    )
    given_up = Topic(
        name=group_dead_letter_topic(name, group),
        doc=f"Records of {name} on which {group} has given up, with the reason and the trace",
        key="topic:partition:offset",
        records=("dead_letter",),
        writers=f"consumer group {group}",
        readers="operators; read_committed",
        partitions=1,
        config=_kept(30),
    )
    return (*waiting, given_up)


_REDRIVES = Topic(
    name=REDRIVES,
    doc="Which dead letters were published again, where to and how often; in the transaction that did it",
    key="<dead-letter topic>/<topic>:<partition>:<offset>#<how often before>",
    records=("redrive",),
    writers="`chipquality dead-letters redrive`",
    readers="`chipquality dead-letters`, from the beginning; read_committed",
    partitions=1,
    config=_kept(60),  # longer than the dead letters themselves
)

_DEAD_LETTERS = tuple(
    Topic(
        name=dead_letter_topic(topic.name),
        doc=f"Records of {topic.name} that could not be processed or published, with the reason",
        key="topic:partition:offset, or the record's own key if it never got an offset",
        records=("dead_letter",),
        writers="partition owners, in the transaction of the step; publishers",
        readers="operators; read_committed",
        config=_kept(30),
    )
    for topic in _FAB
)

_LATE = tuple(
    Topic(
        name=late_topic(name),
        doc=f"Records of {name} that came too late, twice, or from a wrong clock: set aside, not judged (docs/arrivals.md)",
        key="topic:partition:offset",
        records=("dead_letter",),
        writers="partition owners, in the transaction of the step",
        readers="operators; read_committed",
        config=_kept(30),
    )
    for name in (MEASUREMENTS, VECTORS)  # the inputs that pipelines fold
)

TOPICS: Mapping[str, Topic] = MappingProxyType(
    {
        topic.name: topic
        for topic in (
            *_FAB,
            *_OURS,
            *_DEAD_LETTERS,
            *_LATE,
            *_retries(ALERTS, NOTIFY, "alert", "alert_id"),
            *_retries(ALERT_ACTIONS, ESCALATION, "alert_life", "alert_id"),
            _REDRIVES,
        )
    }
)
