"""What the quality routes work with: desks for alerts, limits, history, publishing. All are made when first wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

from actors.kafka.client import Cluster
from cluster.api import publisher
from cluster.api.desks import Desk
from cluster.api.problems import Unavailable
from cluster.api.publisher import EventRoom, Outcome
from schemas.topics import ALERT_ACTIONS, CONTROL, MEASUREMENTS, STATE, VECTORS

if TYPE_CHECKING:  # slow to import, and not wanted by every request
    from actors.alert_desk import AlertDesk
    from actors.engine.judge import Assignment
    from actors.limit_desk import LimitDesk
    from actors.vector_records import VectorRecords


@dataclass(frozen=True)
class QualitySettings:
    """Where things stand; `vectors`: the detectors that judge vectors, by family."""

    pipeline: str
    input: str = MEASUREMENTS
    state: str = STATE
    control: str = CONTROL
    alert_actions: str = ALERT_ACTIONS
    vectors_topic: str = VECTORS
    vectors: Mapping[str, Sequence[Assignment]] = field(default_factory=dict, repr=False)
    shared: bool = False  # other processes serve this API too: what must be known to all is kept in an actor


class Quality:
    """The desks of one API process."""

    def __init__(self, cluster: Cluster, settings: QualitySettings) -> None:
        self.cluster = cluster
        self.settings = settings

    @cached_property
    def alerts(self) -> Desk[AlertDesk]:
        """Return the desk where lives of alerts are written."""

        def make() -> AlertDesk:
            from actors.alert_desk import alert_desk  # noqa: PLC0415

            return alert_desk(self.cluster, self.settings.alert_actions)

        return Desk("alert-actions", make, lambda desk: desk.close())

    @cached_property
    def limits(self) -> Desk[LimitDesk]:
        """Return the desk where changes of limits are made."""
        return Desk("limits", self._limit_desk, lambda desk: desk.close())

    @cached_property
    def history(self) -> Desk[LimitDesk]:
        """Return another one, for reading history: that may take long, and nobody who changes something waits for it."""
        return Desk("history", self._limit_desk, lambda desk: desk.close(), waiting_max=8)

    async def publish(self, category: str, events: Sequence[Mapping[str, Any]], by: str) -> Outcome:
        """Publish events; see EventRoom. Raises Unavailable."""
        if self.settings.shared:
            return await publisher.publish(self.cluster, self.settings.pipeline, category, events, by)
        return await self._events.publish(category, events, by)

    @cached_property
    def _events(self) -> EventRoom:
        return EventRoom(self.cluster)

    @cached_property
    def vectors(self) -> Desk[VectorRecords]:
        """Return the desk that looks single vectors up."""

        def make() -> VectorRecords:
            from actors.vector_records import VectorRecords  # noqa: PLC0415

            return VectorRecords(self.cluster, self.settings.vectors_topic)

        return Desk("vectors", make, waiting_max=8)

    def close(self) -> None:
        """End the desks that were made."""
        for name in ("alerts", "limits", "history", "vectors"):
            if name in self.__dict__:
                self.__dict__[name].close()
        if "_events" in self.__dict__:
            asyncio.run(self._events.close())

    def _limit_desk(self) -> LimitDesk:
        from actors.control_desk import ControlDesk, Places  # noqa: PLC0415
        from actors.limit_desk import LimitDesk  # noqa: PLC0415

        said = self.settings
        return LimitDesk(ControlDesk(self.cluster, Places(said.pipeline, said.input, said.state, said.control)))


def quality_of(request: Request) -> Quality:
    """Return the desks that the app was built with. Raises Unavailable if it was built without."""
    quality: Quality | None = request.app.state.quality
    if quality is None:
        raise Unavailable("quality", "this API was built without what changes and reads quality data")
    return quality


QualityOf = Annotated[Quality, Depends(quality_of)]
