"""Events from outside: what a lost acknowledgement means for the same event again, and how many are recognised."""

from __future__ import annotations

import uuid

import pytest

from actors.kafka.delivery import PublishError
from actors.kafka.producer import Limits
from actors.producers.events import ERRORS_MAX, EventDesk, WrongEventsError
from actors.producers.publisher import Publisher
from cluster.local import Endpoints
from schemas.registry import Registry
from tests.actors.publisher_support import nobody
from tests.fixtures_stack import prepared

pytestmark = pytest.mark.kafka


def health(name: str) -> dict[str, str]:
    return {"event_type": "SERVICE_HEALTH", "service": "s", "status": "UP", "event_id": name}


def test_an_event_that_failed_is_sent_anew(stack: Endpoints) -> None:
    with nobody() as address:
        limits = Limits(delivery_deadline_s=0.3, linger_ms=0)
        desk = EventDesk(Publisher(address, Registry(stack.registry_url), limits=limits))
        [first] = desk.send("system", [health("a")])
        with pytest.raises(PublishError):
            first.delivery.result(20)
        [again] = desk.send("system", [health("a")])
        assert (again.repeated, again.delivery is first.delivery) == (False, False)
        with pytest.raises(PublishError):
            again.delivery.result(20)
        desk.close()


def test_only_so_many_are_recognised_and_only_so_many_errors_are_told(stack: Endpoints) -> None:
    prepared(stack)
    desk = EventDesk(Publisher(stack.bootstrap_servers, Registry(stack.registry_url)), known_max=1)
    run = uuid.uuid4().hex
    one, two = health(f"{run}1"), health(f"{run}2")
    assert [sent.repeated for sent in desk.send("system", [one, one, two, one])] == [False, True, False, False]
    with pytest.raises(WrongEventsError) as told:
        desk.send("system", [{"event_type": "?"}] * (ERRORS_MAX + 5))
    assert len(told.value.wrong) == ERRORS_MAX
    assert str(told.value).startswith("event 0: service: missing")
    desk.close()
