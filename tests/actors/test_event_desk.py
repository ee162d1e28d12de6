"""Events from outside: what a lost acknowledgement means for the same event again, and how many are recognised."""

from __future__ import annotations

import uuid

import pytest

from actors.kafka.client import Cluster
from actors.kafka.delivery import PublishError
from actors.kafka.producer import Limits
from actors.producers.events import ERRORS_MAX, PUBLISHED_BY, EventDesk, WrongEventsError
from actors.producers.publisher import Publisher
from cluster.access.audit_reader import newest
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


def test_a_user_event_from_outside_says_who_published_it(stack: Endpoints) -> None:
    prepared(stack)
    desk = EventDesk(Publisher(stack.bootstrap_servers, Registry(stack.registry_url)))
    forged = {"event_type": "USER_LOGGED_IN", "user_id": f"root-{uuid.uuid4().hex}", "method": "API_KEY"}
    [sent] = desk.send("user", [forged | {"metadata": {PUBLISHED_BY: "", "key_id": "0123"}}], "eve")
    sent.delivery.result(20)
    with pytest.raises(WrongEventsError, match="metadata"):
        desk.send("user", [forged | {"metadata": 1}], "eve")
    desk.close()
    cluster = Cluster(stack.bootstrap_servers, stack.registry_url)
    found = newest(cluster, Registry(stack.registry_url).schema, 9, lambda event: event["user_id"] == forged["user_id"])
    assert [(one["published_by"], one["metadata"]["key_id"]) for one in found.items] == [("eve", "0123")]


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
