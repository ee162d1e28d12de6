"""The audit trail: who signed in, was refused, was allowed to change something, and what he changed; in `fab.user`.

Theory of operation
-------------------
Before a route that changes something runs, AUTHORISATION_GRANTED is published and waited for: a change that cannot be recorded is
refused with 503 before it is made. Afterwards the route tells `changed` what there was before and after, and waits for that too.

Refusals cannot be waited for, or a flood of them would make us slow: they go into a tally in bounded memory
(cluster/access/tally.py), and a thread publishes what the tally gives out. What it cannot publish is counted and logged.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from actors.kafka.delivery import Delivery, PublishError
from actors.producers.category import Context
from actors.producers.publisher import Publisher
from actors.producers.user import UserPublisher
from cluster.access.audit_text import cut, state_json
from cluster.access.needs import Need
from cluster.access.tally import Refusal, Tally, Told
from cluster.api.access import Caller
from cluster.api.facts import within
from cluster.api.pools import Pool
from cluster.api.problems import Unavailable
from schemas.framing import EncodeError
from schemas.registry import RegistryUnavailable

PUBLISH_S = 5.0  # until a record is acknowledged
WAITING_MAX = 16  # records that are waited for at once
TICK_S = 0.25
PART = "audit"

_LOG = logging.getLogger("chipquality.access")


class AuditTrail:
    """The product's `Audit`. Close it."""

    def __init__(self, publisher: Publisher, clock: Callable[[], float] = time.monotonic) -> None:
        self.tally = Tally()
        self.untold = 0  # refusals that are not in the trail
        self._on_the_way: list[tuple[int, Delivery]] = []  # refusals that each stands for; of the thread
        self._users = UserPublisher(publisher)
        self._waiting = Pool(PART, WAITING_MAX)
        self._clock = clock
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell_refusals, name="audit", daemon=True)
        self._thread.start()

    async def changed(self, caller: Caller, action: str, resource: str, before: Any, after: Any) -> None:
        """Record what was changed: `before` and `after` are what JSON can say. Raises Unavailable."""
        await self._record(
            lambda: self._users.audit_recorded(
                caller.name, action=action, resource=cut(resource), before=state_json(before), after=state_json(after),
                role=caller.role, session_id=caller.session_id or None, source_address=caller.address or None,
                context=_context(caller),
            )
        )  # fmt: skip

    async def granted(self, caller: Caller, need: Need, name: str, request: str) -> None:
        """Record, before it is done, that somebody may change something; `request`: method and path. Raises Unavailable."""
        await self._record(
            lambda: self._users.authorisation_granted(
                caller.name, action=f"{need.resource}.{need.action}", resource=cut(name or need.resource), role=caller.role,
                session_id=caller.session_id or None, source_address=caller.address or None,
                context=_context(caller, request=cut(request)),
            )
        )  # fmt: skip

    async def signed_in(self, caller: Caller) -> None:
        """Record that a session begins. Raises Unavailable."""
        await self._record(
            lambda: self._users.logged_in(
                caller.name, method=caller.method, session_id=caller.session_id, source_address=caller.address or None,
                context=_context(caller),
            )
        )  # fmt: skip

    async def signed_out(self, caller: Caller) -> None:
        """Record that a session ends. Raises Unavailable."""
        await self._record(
            lambda: self._users.logged_out(caller.name, session_id=caller.session_id, context=_context(caller))
        )

    def refused(self, refusal: Refusal) -> None:
        """Count somebody who was not let in, or may not; it is told soon. Never blocks."""
        self.tally.add(refusal, self._clock())

    def close(self) -> None:
        """Tell what is counted; the publisher is whoever made it's to close."""
        self._over.set()
        self._thread.join(timeout=10)

    async def _record(self, publish: Callable[[], Any]) -> None:
        def done() -> None:
            try:
                publish().result(PUBLISH_S)
            except (PublishError, RegistryUnavailable, EncodeError, TimeoutError) as error:
                raise Unavailable(PART, f"it cannot be recorded: {error}") from error

        await within(self._waiting.ask(done), 2 * PUBLISH_S, PART)

    def _tell_refusals(self) -> None:
        while True:
            over = self._over.wait(TICK_S)
            for told in self.tally.due(self._clock(), rest=over):
                self._tell(told)
            self._look(PUBLISH_S if over else 0.0)
            if over:
                for times, _ in self._on_the_way:
                    self._missed(times, TimeoutError(f"no outcome within {PUBLISH_S:g} s"))
                return

    def _look(self, wait_s: float) -> None:
        """Count what was not delivered. Each outcome is known by the publisher's deadline, and few are told a second."""
        deadline = self._clock() + wait_s
        left = []
        for times, delivery in self._on_the_way:
            try:
                delivery.result(max(0.0, deadline - self._clock()))
            except TimeoutError:
                left.append((times, delivery))
            except PublishError as error:
                self._missed(times, error)
        self._on_the_way = left

    def _missed(self, times: int, error: Exception) -> None:
        self.untold += times
        _LOG.error("%d refusals are not in the audit trail: %s", times, error)

    def _tell(self, told: Told) -> None:
        refusal = told.refusal
        context = Context(metadata={"count": str(told.times), **({"summary": "true"} if told.summary else {})})
        address = refusal.address or None
        try:
            if refusal.action:
                delivery = self._users.authorisation_denied(
                    refusal.user, action=refusal.action, resource=cut(refusal.resource), reason=cut(refusal.reason),
                    role=refusal.role or None, source_address=address, context=context,
                )  # fmt: skip
            else:
                delivery = self._users.login_failed(
                    refusal.user,
                    method=refusal.method,
                    reason=cut(refusal.reason),
                    source_address=address,
                    context=context,
                )
        except (PublishError, RegistryUnavailable, EncodeError) as error:
            self._missed(told.times, error)
        else:
            self._on_the_way.append((told.times, delivery))


def _context(caller: Caller, **more: str) -> Context:
    return Context(metadata={**({"key_id": caller.key_id} if caller.key_id else {}), **more})
