"""Who writes the life of an alert: one at a time, and nothing that was answered is lost. On the model of the log."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from actors.alert_desk import ATTEMPTS_MAX, AlertDesk, RefusedError, StaleError, Wanted
from actors.errors import FencedError, ReopenError
from models.alert_life import About, Action, Kind, Life, Status
from schemas.decode import decode_event
from schemas.encode import Encoder
from schemas.topics import load
from tests.simulation.broker import Broker
from tests.simulation.model import Faults, ModelLog, Runtime, VirtualClock

TOPIC = "lives"
ABOUT = About(
    "quality", "fab.measurements", 1, "E1|A|R|10|CD", "spc.individuals@1-abc", "nelson_1", "CRITICAL", 7, 1_000
)
ENCODER = Encoder("alert_life", 7)


def read(value: bytes) -> dict[str, object]:
    return decode_event(value, lambda _: load("alert_life"))


class Between(Runtime):
    """Lets somebody else do something when a phase is reached, once."""

    def __init__(self) -> None:
        self.phase = ""
        self.other: Callable[[], object] = lambda: None

    def at(self, phase: str) -> None:
        if self.phase and phase.startswith(self.phase):
            self.phase = ""
            self.other()


class Floor:
    """A broker, and desks of it."""

    def __init__(self, seed: int = 1, **chances: float) -> None:
        self.clock = VirtualClock()
        self.broker = Broker(self.clock, Random(seed))
        self.broker.create(TOPIC, 1)
        self.faults = Faults(Random(seed), chances)

    def desk(self, runtime: Runtime | None = None, **further: int) -> AlertDesk:
        return AlertDesk(ModelLog(self.broker, self.clock, runtime, self.faults), TOPIC, ENCODER, read, **further)

    def final(self) -> dict[str, Life]:
        """Return what stands in the log when the network is whole again."""
        self.faults.over, self.faults.chances = True, {}
        return {life.alert_id: life for life in self.desk().lives()}


def wants(
    action: Kind, by: str = "ada", alert_id: str = "a1", expected: int | None = None, name: str = "", **further: object
) -> Wanted:
    return Wanted(alert_id, ABOUT, Action(action, by, 5_000, name or f"{action}-{by}", **further), expected)  # type: ignore[arg-type]


def test_lives_are_written_and_read() -> None:
    floor = Floor()
    desk, other = floor.desk(), floor.desk()
    assert desk.life("a1") is None
    before, after = desk.act(wants(Kind.ACKNOWLEDGE, expected=0))
    assert (before, after.version, after.status) == (None, 1, Status.ACKNOWLEDGED)
    assert other.life("a1") == after
    other.act(wants(Kind.ACKNOWLEDGE, "bo", expected=1))
    before, after = desk.act(wants(Kind.COMMENT, text="t", expected=2))
    assert (before and before.assigned, after.version) == ("bo", 3)
    assert [life.version for life in other.lives()] == [3]
    desk.close()
    other.close()


def test_whoever_has_seen_an_older_version_is_told() -> None:
    floor = Floor()
    desk, other = floor.desk(), floor.desk()
    other.act(wants(Kind.ACKNOWLEDGE, "bo"))
    with pytest.raises(StaleError, match="at version 1 now, not 0") as told:
        desk.act(wants(Kind.ACKNOWLEDGE, expected=0))
    assert told.value.life
    assert told.value.life.assigned == "bo"
    with pytest.raises(StaleError, match="at version 0 now, not 3"):
        desk.act(wants(Kind.COMMENT, alert_id="a2", text="t", expected=3))
    with pytest.raises(RefusedError, match="bo has this alert"):
        desk.act(wants(Kind.CLOSE))
    assert floor.final()["a1"].version == 1, "a refusal writes nothing"


@pytest.mark.parametrize("phase", ["end of", "begin", "produce", "flush", "before commit"])
def test_somebody_else_in_the_middle_of_a_write(phase: str) -> None:
    """Two have seen version 0 and acknowledge; whoever comes second learns it, whenever that is."""
    floor = Floor()
    between = Between()
    desk, other = floor.desk(between), floor.desk()
    between.phase, between.other = phase, lambda: other.act(wants(Kind.ACKNOWLEDGE, "bo", expected=0))
    with pytest.raises(StaleError, match="version 1"):
        desk.act(wants(Kind.ACKNOWLEDGE, expected=0))
    assert floor.final()["a1"].assigned == "bo"
    _, after = desk.act(wants(Kind.COMMENT, text="it is yours", expected=1))
    assert after.version == 2


def test_the_same_action_again_is_the_same_action() -> None:
    floor = Floor()
    desk = floor.desk()
    desk.act(wants(Kind.ACKNOWLEDGE, expected=0, name="key"))
    desk.act(wants(Kind.COMMENT, text="t", expected=1))
    before, after = desk.act(wants(Kind.ACKNOWLEDGE, expected=0, name="key"))
    assert before == after
    assert after.version == 2


class Lost(Faults):
    """The answer to the next ends of a transaction is lost, in the given ways."""

    def __init__(self, *how: str) -> None:
        super().__init__(Random(0))
        self.how = list(how)
        self.random.choice = lambda _: self.how.pop(0)  # type: ignore[method-assign, assignment]

    def happens(self, what: str) -> bool:
        return what == "commit_unknown" and bool(self.how)


@pytest.mark.parametrize("how", ["lost", "done", "late"])
def test_a_commit_that_was_not_answered_is_looked_for(how: str) -> None:
    floor = Floor()
    floor.faults = Lost(how)
    before, after = floor.desk().act(wants(Kind.ACKNOWLEDGE, expected=0))
    assert (before, after.version, after.assigned) == (None, 1, "ada")
    assert [entry.by for entry in floor.final()["a1"].history] == ["ada"]


def test_it_gives_up_in_the_end() -> None:
    floor = Floor()
    floor.faults = Lost(*["lost"] * ATTEMPTS_MAX)
    with pytest.raises(ReopenError, match=f"lives: not written in {ATTEMPTS_MAX} attempts: .*no answer"):
        floor.desk().act(wants(Kind.ACKNOWLEDGE))
    assert floor.final() == {}


def test_many_at_once() -> None:
    floor = Floor()
    desk = floor.desk()
    desk.act(wants(Kind.ACKNOWLEDGE, alert_id="a2"))
    wanted = [wants(Kind.ESCALATED, "chipquality", f"a{i}", name="e") for i in range(4)]
    assert [life.alert_id for life in desk.act_on_all(wanted)] == ["a0", "a1", "a3"]
    assert desk.act_on_all(wanted) == []
    with pytest.raises(ValueError, match="501 actions at once"):
        desk.act_on_all(wanted[:1] * 501)


def test_there_is_a_most_of_lives() -> None:
    desk = Floor().desk(lives_max=1)
    desk.act(wants(Kind.ACKNOWLEDGE))
    with pytest.raises(RefusedError, match="lives holds the lives of 1 alerts"):
        desk.act(wants(Kind.ACKNOWLEDGE, alert_id="a2"))
    desk.act(wants(Kind.COMMENT, text="t"))


def test_what_retention_has_deleted_makes_room() -> None:
    floor = Floor()
    desk = floor.desk(lives_max=2)
    for name in ("a1", "a2"):
        desk.act(wants(Kind.ACKNOWLEDGE, alert_id=name))
    with pytest.raises(RefusedError, match="no more fit"):
        desk.act(wants(Kind.ACKNOWLEDGE, alert_id="a3"))
    floor.broker.partition((TOPIC, 0)).delete_before(1)
    desk.act(wants(Kind.ACKNOWLEDGE, alert_id="a3"))
    assert sorted(life.alert_id for life in desk.lives()) == ["a2", "a3"]


def test_a_life_that_cannot_be_read_is_told() -> None:
    floor = Floor()
    floor.broker.append((TOPIC, 0), b"no Avro", b"a1")
    with pytest.raises(ReopenError, match="lives: a life cannot be read"):
        floor.desk().lives()
    floor.desk().act(wants(Kind.ACKNOWLEDGE, alert_id="a2"))


@pytest.mark.parametrize("seed", range(200))
def test_whatever_happens_what_was_answered_is_there_once_and_in_one_order(seed: int) -> None:
    """Three desks, each in the middle of the others' writes, on a network that loses and repeats ends of transactions."""
    random = Random(seed)
    floor = Floor(seed, commit_unknown=0.2, end_twice=0.2)
    betweens = [Between() for _ in range(3)]
    desks = [floor.desk(between) for between in betweens]
    answered: list[tuple[str, int]] = []
    tried = 0

    def comment(number: int, busy: tuple[int, ...]) -> None:
        nonlocal tried
        tried += 1
        name = f"n{tried}"
        if others := [n for n in range(3) if n not in (number, *busy)]:
            at = random.choice(
                ["end of", "poll", "init", "begin", "produce", "flush", "before commit", "commit answered"]
            )
            other = random.choice(others)
            betweens[number].phase, betweens[number].other = at, lambda: comment(other, (number, *busy))
        expected = random.choice([None, *range(tried)])
        try:
            before, after = desks[number].act(wants(Kind.COMMENT, "bo", expected=expected, name=name, text="t"))
        except (StaleError, ReopenError, FencedError, RefusedError):
            return
        assert after.has(name)
        assert expected in (None, 0 if before is None else before.version)
        answered.append((name, after.version))

    for _ in range(12):
        for between in betweens:
            between.phase = ""
        comment(random.randrange(3), ())
    final = floor.final().get("a1")
    names = [entry.action_id for entry in final.history] if final else []
    assert len(set(names)) == len(names)
    assert [name for name, _ in answered if name not in names] == [], "answered, and not there"
