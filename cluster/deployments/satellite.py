"""A deployed detector as a pipeline of its own, beside the one whose input it judges. Pure.

It has everything of its own: name, group, transactional ids, deal, state, owner and detector processes. So nothing of it can
touch the pipeline beside it, whose processes are not even told. Where it writes depends on its mode:

| | charts and alerts of the share | charts and alerts of other series |
|---|---|---|
| shadow | – | `<name>.charts`, `<name>.alerts` |
| canary | the live topics | `<name>.charts`, `<name>.alerts` |
| live | the live topics | – |

Dead letters and what is set aside always go to topics of its own: the pipeline beside it says the same of those records.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from actors.engine.fold import Topics
from actors.engine.judge import Assignment
from actors.engine.share import EVERY_SERIES, Share
from actors.kafka.log import KafkaLog
from actors.names import SATELLITE
from actors.packages.limits import Guest, Limits
from actors.packages.packaged import Packaged
from actors.pipeline import Pipeline
from actors.stretch import Stretch
from cluster.deployments.record import Deployment, Offsets, Phase, phase_of
from cluster.operations.errors import Refused
from schemas.topics import ALERTS, CHARTS, MEASUREMENTS, STATE, TOPICS, Topic, dead_letter_topic, late_topic

SHADOW_COMMIT_MS = 500  # nobody waits for verdicts in shadow: few transactions
STEP_ROWS_MAX = (
    4_000  # of one step: short ones, so that a slow detector keeps to its limit of time, and others get their turn
)


def satellite_name(deployment: str) -> str:
    """Return the name of a deployment's pipeline, and of its group.

    >>> satellite_name("tail-2")
    'detector-tail-2'
    """
    return f"{SATELLITE}{deployment}"


def satellite_topics(base: Pipeline, deployment: str, share: Share) -> Topics:
    """Return where a deployment writes in a mode."""
    own = {what: f"{deployment}.{what}" for what in ("charts", "alerts", "dlq", "state")}
    phase = phase_of(share)
    live = phase is not Phase.shadow
    return Topics(
        charts=base.topics.charts if live else own["charts"],
        alerts=base.topics.alerts if live else own["alerts"],
        dead_letters=own["dlq"],
        state=own["state"],
        control=base.topics.control,
        deals=base.topics.deals,
        late=f"{deployment}.late" if base.arrivals.on else "",
        rest_charts=own["charts"] if phase is Phase.canary else "",
        rest_alerts=own["alerts"] if phase is Phase.canary else "",
    )


def own_topics(base: Pipeline, deployment: str) -> dict[str, Topic]:
    """Return the topics that a deployment has for itself, as ours of the same kind are."""
    like = {"charts": CHARTS, "alerts": ALERTS, "dlq": dead_letter_topic(MEASUREMENTS), "state": STATE}
    if base.arrivals.on:
        like["late"] = late_topic(MEASUREMENTS)
    return {f"{deployment}.{what}": replace(TOPICS[ours], name=f"{deployment}.{what}") for what, ours in like.items()}


def satellite(base: Pipeline, deployment: Deployment, share: Share, ends: Offsets | None = None) -> Pipeline:
    """Return the pipeline of a deployment in a mode; with `ends`, up to there. Raises Refused if it is not examined yet."""
    if deployment.description is None:
        raise Refused(f"deployment {deployment.name} is not examined yet")
    limits = Limits.of_json(deployment.limits)
    shadow = phase_of(share) is Phase.shadow  # nobody waits for it: it has what the others leave
    part = EVERY_SERIES if shadow else share  # in shadow all go to its own topics
    assignment = Assignment(Packaged.of_json(deployment.description), deployment.series, deployment.label, part)
    return replace(
        base,
        name=satellite_name(deployment.name),
        topics=satellite_topics(base, deployment.name, share),
        families={deployment.name: (assignment,)},
        hosting="actor",
        standby=False,
        slots=1,
        guest=Guest(limits, idle=shadow),
        idle=shadow,
        step_rows_max=min(base.step_rows_max, STEP_ROWS_MAX),
        step_samples_max=min(base.step_samples_max, STEP_ROWS_MAX),
        step_timeout_s=limits.step_s,
        commit_interval_ms=SHADOW_COMMIT_MS if shadow else base.commit_interval_ms,
        changes_of=base.name,
        log=Stretch(base.input_topic, deployment.starts, ends, partial(KafkaLog, lumps=shadow)),
    )
