"""Subjects of the registry, as the API and the command line tell of them: versions, differences, tests, levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from cluster.operations.plans import digest
from schemas.avro_types import NotASchema, Parsed, parse
from schemas.differences import Change, diff
from schemas.levels import Conflict, Level, conflicts
from schemas.registry import Registry, UnknownSchema, Version
from schemas.topics import TOPICS, subject_of

VERSIONS_MAX = 100  # of a subject that are told of and tested, the newest
ASKED_AT_ONCE = 8  # subjects of one question
SCHEMA_CHARS_MAX = 200_000  # of a schema to test
BREAKS_MAX = 20  # changes told of a conflict

_OURS: Mapping[str, tuple[str, str]] = {
    subject_of(topic.name, record): (topic.name, record) for topic in TOPICS.values() for record in topic.records
}


class Refused(ValueError):  # noqa: N818 - an answer
    """What was asked for cannot be done; `conflicts` says with which versions."""

    def __init__(self, why: str, found: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(why)
        self.conflicts = list(found)


def listed(registry: Registry, subjects: Sequence[str]) -> list[dict[str, Any]]:
    """Return subjects: versions, the newest one, level, and which record of which topic it is where it is ours.

    Each takes three requests: subjects are asked for at once, ASKED_AT_ONCE of them. One that was deleted meanwhile is left out.
    """
    with ThreadPoolExecutor(min(ASKED_AT_ONCE, max(1, len(subjects)))) as pool:
        return [item for item in pool.map(partial(_item, registry), subjects) if item is not None]


def _item(registry: Registry, subject: str) -> dict[str, Any] | None:
    versions = registry.versions(subject)
    if not versions:
        return None
    latest = registry.version(subject, versions[-1])
    topic, record = _OURS.get(subject, (None, None))
    return {
        "subject": subject,
        "versions": versions,
        "latest": {"version": latest.version, "id": latest.id},
        "compatibility": registry.compatibility(subject),
        "record": record,
        "topic": topic or topic_of(subject),
    }


def topic_of(subject: str) -> str | None:
    """Return the topic that a subject's name tells, by Confluent's TopicNameStrategy; None: it tells none.

    >>> topic_of("fab.lots-value"), topic_of("com.example.Lot")
    ('fab.lots', None)
    """
    topic, dash, part = subject.rpartition("-")
    return topic if dash and part in {"key", "value"} else None


def subject_told(registry: Registry, subject: str) -> dict[str, Any]:
    """Return a subject with its versions, the newest VERSIONS_MAX, oldest first. Raises UnknownSchema."""
    found = listed(registry, [subject])
    if not found:
        raise _unknown(subject)
    item = found[0]
    versions = [registry.version(subject, number) for number in item["versions"][-VERSIONS_MAX:]]
    return {**item, "versions": [version._asdict() for version in versions]}


def difference(registry: Registry, subject: str, earlier: int, later: int) -> dict[str, Any]:
    """Return what differs between two versions. Raises UnknownSchema, NotASchema."""
    old, new = (_parsed(registry.version(subject, number)) for number in (earlier, later))
    return {"from": earlier, "to": later, "changes": [change_told(change) for change in diff(old, new)]}


def change_told(change: Change) -> dict[str, Any]:
    """Return a change as JSON has it."""
    return {**change._asdict(), "breaks": list(change.breaks)}


def judged(registry: Registry, subject: str, text: str) -> dict[str, Any]:
    """Say whether a schema may follow under the subject's level: the registry's verdict, and our reasons.

    `against`: the versions that the level compares with. Raises UnknownSchema, NotASchema.
    """
    candidate = parse(text)
    versions = registry.versions(subject)[-VERSIONS_MAX:]
    if not versions:
        raise _unknown(subject)
    level = level_of(registry.compatibility(subject))
    against = [] if level == "NONE" else versions if level.endswith("_TRANSITIVE") else versions[-1:]
    compatible = all(registry.test(subject, text, version) for version in against)
    known = [(number, _parsed(registry.version(subject, number))) for number in against]
    after = versions[-1] + 1
    found = [one for one in conflicts(level, [*known, (after, candidate)]) if one.later == after]
    reasons = [_reason(one) for one in found]
    if not compatible and not reasons:
        reasons = [f"the registry says that it may not follow under {level}, and gives no reason"]
    return {"compatible": compatible, "level": level, "against": against, "reasons": reasons}


class LevelPlan(NamedTuple):
    """A change of a subject's level, and what stands against it."""

    subject: str
    before: str
    after: Level
    tested: list[int]
    conflicts: list[Conflict]

    @property
    def hash(self) -> str:
        """Return the hash of what was tested and found: a version that comes makes another plan of it."""
        return digest(self.told())

    def told(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "subject": self.subject,
            "before": self.before,
            "after": self.after,
            "tested": self.tested,
            "conflicts": [conflict_told(each) for each in self.conflicts],
        }


def plan_level(registry: Registry, subject: str, level: Level) -> LevelPlan:
    """Test the versions that there are under another level. Raises UnknownSchema, and NotASchema for one that is no Avro."""
    numbers = registry.versions(subject)[-VERSIONS_MAX:]
    if not numbers:
        raise _unknown(subject)
    before = registry.compatibility(subject)
    if level == "NONE":
        return LevelPlan(subject, before, level, [], [])
    versions = [(number, _parsed(registry.version(subject, number))) for number in numbers]
    return LevelPlan(subject, before, level, numbers, conflicts(level, versions))


def apply_level(registry: Registry, plan: LevelPlan) -> None:
    """Set the level. Raises Refused if versions that are there would not have been let in under it, or it does not hold.

    Apicurio has no NONE of a subject: it deletes the subject's level, and that of the registry holds.
    """
    if plan.conflicts:
        pairs = ", ".join(f"{each.earlier} and {each.later} ({each.direction})" for each in plan.conflicts[:5])
        raise Refused(
            f"{plan.subject} stays {plan.before}: under {plan.after} these versions do not stand together: {pairs}",
            [conflict_told(each) for each in plan.conflicts],
        )
    registry.set_compatibility(plan.subject, plan.after)
    holds = registry.compatibility(plan.subject)
    if holds != plan.after:
        registry.set_compatibility(plan.subject, plan.before)
        raise Refused(
            f"{plan.subject} stays {plan.before}: this registry knows no level {plan.after} of a subject, "
            f"and would let its own, {holds}, hold instead"
        )


def conflict_told(conflict: Conflict) -> dict[str, Any]:
    """Return a conflict as JSON has it."""
    return {
        "from": conflict.earlier,
        "to": conflict.later,
        "direction": conflict.direction,
        "changes": [change_told(change) for change in conflict.changes[:BREAKS_MAX]],
    }


def _reason(conflict: Conflict) -> str:
    what = "; ".join(said(change) for change in conflict.changes[:BREAKS_MAX])
    readers = (
        f"a reader with it cannot read what version {conflict.earlier} wrote"
        if conflict.direction == "backward"
        else f"readers with version {conflict.earlier} cannot read what it writes"
    )
    return f"{readers}: {what}"


def said(change: Change) -> str:
    """Return a change in words.

    >>> said(Change("lot", "removed", "string", None, ("forward",)))
    'lot: removed string'
    """
    path = change.path or "the type"
    if change.kind == "changed":
        return f"{path}: {change.before} became {change.after}"
    return f"{path}: {change.kind} {change.before if change.kind == 'removed' else change.after}"


def _parsed(version: Version) -> Parsed:
    if version.type != "AVRO":
        raise NotASchema(f"version {version.version} is {version.type}, not Avro: it cannot be compared")
    return parse(version.schema)


def level_of(name: str) -> Level:
    """Return a registry's level as one of ours."""
    return name  # type: ignore[return-value]  # what a registry calls otherwise demands nothing (directions)


def _unknown(subject: str) -> UnknownSchema:
    return UnknownSchema(f"no subject {subject[:200]!r}; GET /events/schemas lists what there is")
