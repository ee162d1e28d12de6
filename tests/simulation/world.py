"""The world of one seed: a broker, owners, supervisors, producers, an operator, and everything that goes wrong.

Theory of operation
-------------------
The random of the seed draws a `Scenario`: sizes, times, and which faults there are at all (a seed with few kinds of them reaches
states that one with all of them never does). The world then runs in two parts. *Trouble*: processes crash at any phase, freeze
and go on as zombies, connections break, answers are lost, ends of transactions arrive late, twice or never, producers abort, send
twice and late, the operator scales, a second supervisor works beside the first, topics are compacted. *Peace*: no fault any more,
what was frozen goes on, a last stretch of records is written, and the pipeline has to come to rest at the end of its input.

Owners are the real `Slot`, supervisors the real decisions and the real `Dealer`. What Ray does here: a crashed process is started
again (or not), a node that Ray believes dead goes on with its owner while another owner of the same seat is started.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from actors import repair
from actors.deal import Seat
from actors.engine.arrivals import Arrivals
from actors.engine.torn import Cure
from actors.errors import FencedError, ReopenError, SupersededError
from actors.slot import Slot
from actors.supervision import decisions
from actors.surroundings import Surroundings
from tests.simulation import line
from tests.simulation.broker import Broker
from tests.simulation.model import Client, Faults, ModelLog
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.supervising import Supervisor
from tests.simulation.verdict import judge, torn_partitions, without_reason

TICK_S = 1.0  # of supervisors, and of Ray
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.2, 3.0  # of owners, as in actors/partition_owner.py
REST_MAX_S = 240.0  # for the pipeline to come to rest when nothing goes wrong any more
FAULTS = {  # the chance of each kind at each occasion, where a seed has it
    "crash": 0.004,
    "broken": 0.004,
    "freeze": 0.003,
    "commit_unknown": 0.05,
    "end_twice": 0.05,
    "shuffle": 0.5,
    "slow_markers": 0.5,
    "abort": 0.3,
    "twin": 0.1,
    "scale": 0.15,
    "compact": 0.5,
}


@dataclass(frozen=True)
class Scenario:
    """What a seed is about."""

    partitions: int
    slots: int
    supervisors: int
    records: int  # per partition while there is trouble
    trouble_s: float
    commit_ms: int
    snapshot_ms: int
    arrivals: Arrivals
    chances: dict[str, float]

    @classmethod
    def draw(cls, random: Random) -> Scenario:
        """Return one, small enough to be run a thousand times."""
        partitions = random.choice((1, 2, 3, 4))
        return cls(
            partitions=partitions,
            slots=random.randint(1, partitions),
            supervisors=random.choice((1, 1, 2)),
            records=random.choice((5, 15, 25)),
            trouble_s=random.choice((8.0, 15.0, 25.0)),
            commit_ms=random.choice((300, 700)),
            snapshot_ms=random.choice((600, 2_000, 6_000)),
            arrivals=random.choice((Arrivals(), Arrivals(dedupe_window=4, allowed_lateness_ms=1_000))),
            chances={name: chance for name, chance in FAULTS.items() if random.random() < 0.5},
        )


@dataclass(eq=False)
class Owner:
    """An owner of a seat, as Ray knows it."""

    seat: Seat
    process: Process
    state: str = "opening"
    slot: Slot | None = None
    lost: bool = False  # Ray believes its node dead; it goes on


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, slot: type[Slot] = Slot) -> None:
        self.random = Random(seed)
        self.scenario = scenario = Scenario.draw(self.random)
        chances = scenario.chances
        self.scheduler = Scheduler(self.random, chances)
        self.met = self.scheduler.met
        self.broker = Broker(self.scheduler, self.random, chances.get("slow_markers", 0.0), self.met)
        self.faults = Faults(self.random, chances, met=self.met)
        self.calm = Faults(self.random)
        self.peace = False
        self.failures: list[str] = []  # what may never happen
        self.owners: dict[Seat, Owner] = {}  # that Ray knows by name
        self.others: list[Owner] = []  # that it does not: lost, ended, replaced
        self.supervisors: list[Process] = []
        self.wishes: deque[decisions.ScaleWanted] = deque()
        self.pipeline = line.pipeline(
            scenario.partitions, scenario.slots, scenario.commit_ms, scenario.snapshot_ms, scenario.arrivals
        )
        self._slot = slot
        self._incarnation = 0
        for topic in (line.INPUT, line.TOPICS.charts, line.TOPICS.alerts, line.TOPICS.dead_letters, line.TOPICS.state):
            self.broker.create(topic, scenario.partitions)
        self.broker.create(line.TOPICS.late, scenario.partitions)
        self.broker.create(line.TOPICS.deals, 1)

    # ---- the whole

    def run(self) -> list[str]:
        """Run the seed; return what is wrong with what came of it."""
        scheduler, scenario = self.scheduler, self.scenario
        try:
            self._outside("ray", self._ray)
            self._outside("network", self._network)
            if "scale" in scenario.chances:
                self._outside("operator", self._operate)
            for partition in range(scenario.partitions):
                self._outside(f"producer-{partition}", lambda p=partition: self._produce(p))
            for _ in range(scenario.supervisors):
                self._start_supervisor()
            self.met["two supervisors"] += scenario.supervisors == 2
            scheduler.run(lambda: scheduler.time >= scenario.trouble_s, scenario.trouble_s)
            self._make_peace()
            if not scheduler.run(self._rests, scheduler.time + REST_MAX_S):
                self.failures.append(
                    f"it does not come to rest: {self.broker.offsets}, quarantined {self._quarantined()}"
                )
            if self._quarantined():
                self._repair()
            return self._judge()
        finally:
            scheduler.close()

    def _outside(self, name: str, work: Callable[[], None]) -> None:
        """Start something that does not fail."""
        process = self._calm(name)
        self.scheduler.spawn(process, lambda: self._guarded(name, work))

    def _calm(self, name: str) -> Process:
        """Return a process that does not fail."""
        process = Process(self.scheduler, name)
        process.at = lambda phase: None  # type: ignore[method-assign]
        return process

    def _guarded(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            self.failures.append(f"{name}: {traceback.format_exc()}")
            raise

    def _make_peace(self) -> None:
        """End all faults; let what was frozen go on; end what Ray would end when the cluster is whole again."""
        self.peace = True
        self.scheduler.note("world", "peace")
        self.scheduler.chances = {}
        self.faults.chances, self.faults.over = {}, True
        self.broker.slow_markers = 0.0
        for owner in (*self.owners.values(), *self.others):
            owner.process.frozen_until = 0.0
            if owner.lost:
                owner.process.kill()
        for process in self.supervisors:
            process.frozen_until = 0.0
        words = line.Words(self.random)
        for partition in range(self.scenario.partitions):
            for _ in range(6):
                self._append(partition, words)

    def _rests(self) -> bool:
        """Say whether all input is folded and nothing is under way."""
        broker, name = self.broker, self.pipeline.name
        if broker.late or any(state.open or state.ending for state in broker.producers.values()):
            return False
        quarantined = self._quarantined()
        for partition in range(self.scenario.partitions):
            log = broker.topics[line.INPUT][partition]
            done = broker.offsets.get((name, (line.INPUT, partition))) == log.end
            if not done and partition not in quarantined:
                return False
        return True

    def _quarantined(self) -> dict[int, str]:
        live = [owner for owner in self.owners.values() if not owner.process.dead and owner.slot is not None]
        return {p: why for owner in live for p, why in owner.slot.status.quarantined.items()}

    def _repair(self) -> None:
        """Repair what is torn, as an operator does; the owners take it up again by themselves."""
        quarantined = self._quarantined()
        self.met["quarantined"] += len(quarantined)
        torn = torn_partitions(self.broker)
        self.failures += [without_reason(p, why) for p, why in quarantined.items() if p not in torn]
        process = self._calm("repair")
        around = Surroundings(ModelLog(self.broker, self.scheduler, process, self.calm), self.scheduler, line.codec())

        def work() -> list[repair.Plan]:
            hosts = line.PlainHosts()
            return repair.apply(
                self.pipeline, around, hosts, repair.plan(self.pipeline, around, hosts, sorted(quarantined))
            )

        done = self.scheduler.spawn(process, work)
        self.scheduler.run(done.done, self.scheduler.time + REST_MAX_S)
        for plan in done.result(0):
            self.met[f"repair: {plan.diagnosis.cure.value}"] += 1
            self.scheduler.note("repair", f"{plan.partition}: {plan.diagnosis.cure.value}: {plan.diagnosis.why}")
        refused = {plan.partition for plan in done.result(0) if plan.diagnosis.cure is Cure.REFUSED}
        whole = self.scheduler.run(
            lambda: self._quarantined().keys() <= refused and self._rests(), self.scheduler.time + REST_MAX_S
        )
        if not whole:
            self.failures.append(f"repaired, and it does not come to rest: quarantined {self._quarantined()}")

    def _judge(self) -> list[str]:
        """Return what is wrong."""
        arrivals, quarantined = self.scenario.arrivals, self._quarantined()
        return [*self.failures, *judge(self.broker, self.pipeline, arrivals, quarantined, self.met)]

    # ---- owners

    def _start_owner(self, seat: Seat) -> None:
        """Start an owner; one of that name is kept."""
        known = self.owners.get(seat)
        if known is not None:
            return
        self._incarnation += 1
        process = Process(self.scheduler, f"owner-{seat.slot}.{seat.incarnation}-{self._incarnation}")
        owner = self.owners[seat] = Owner(seat, process)
        self.scheduler.note(process.name, "is started")
        self.scheduler.spawn(process, lambda: self._guarded(process.name, lambda: self._own(owner)))

    def _own(self, owner: Owner) -> None:
        """Do what actors/partition_owner.py does."""
        log = ModelLog(self.broker, self.scheduler, owner.process, self.faults)
        around = Surroundings(log, self.scheduler, line.codec())
        backoff_s = BACKOFF_FIRST_S
        while True:
            since = self.scheduler.now()
            owner.state = "opening"
            owner.slot = slot = self._slot(self.pipeline, owner.seat, line.PlainHosts(), around)
            try:
                slot.open()
                owner.state = "live"
                while not slot.retired:
                    slot.step()
                slot.close()
            except SupersededError:
                self._note_zombie(owner)
                slot.abandon()
                owner.state, owner.slot = "superseded", None
                return
            except (ReopenError, FencedError) as error:
                self.scheduler.note(owner.process.name, f"abandons its slot: {error}")
                if isinstance(error, FencedError):
                    self._note_zombie(owner)
                slot.abandon()
                if self.scheduler.now() - since > BACKOFF_MAX_S:
                    backoff_s = BACKOFF_FIRST_S
                self.scheduler.sleep(backoff_s * (0.5 + self.random.random()))
                backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)
            else:
                owner.state = "retired"
                return

    def _note_zombie(self, owner: Owner) -> None:
        """Count an owner that was told by the log that there is another one, of which nobody else could have told it."""
        self.met["zombie stopped"] += self.owners.get(owner.seat) is not owner

    def _end_owner(self, seat: Seat) -> None:
        owner = self.owners.pop(seat, None)
        if owner is not None:
            self.others.append(owner)
            if not owner.process.frozen_until > self.scheduler.now():  # a frozen one is not reached: a zombie
                owner.process.kill()

    # ---- supervisors

    def _start_supervisor(self) -> None:
        self._incarnation += 1
        process = Process(self.scheduler, f"supervisor-{self._incarnation}")
        self.supervisors.append(process)
        self.scheduler.spawn(process, lambda: self._guarded(process.name, lambda: self._supervise(process)))

    def _supervise(self, process: Process) -> None:
        """Do what actors/supervision does."""
        log = ModelLog(self.broker, self.scheduler, process, self.faults)
        while True:
            try:
                Supervisor(self, log).live()
            except (ReopenError, FencedError) as error:
                self.scheduler.note(process.name, f"starts again: {error}")
                self.scheduler.sleep(TICK_S)

    # ---- what is around them

    def _ray(self) -> None:
        """Start crashed processes again, lose nodes, compact topics."""
        random = self.random
        while True:
            self.scheduler.sleep(TICK_S * (0.5 + random.random()))
            for seat, owner in list(self.owners.items()):
                twin = not self.peace and self.faults.happens("twin")
                if owner.process.dead and (self.peace or random.random() < 0.6):
                    self._replace(seat, owner)
                elif twin and not owner.process.dead:
                    self.met["twin"] += 1
                    owner.lost = True
                    self._replace(seat, owner)
            for process in [process for process in self.supervisors if process.dead]:
                self.supervisors.remove(process)
                self._start_supervisor()
            if self.faults.happens("compact"):
                topic = random.choice((line.TOPICS.state, line.TOPICS.deals))
                for partition in self.broker.topics[topic]:
                    self.met["compact"] += partition.compact(active=random.choice((0, 5, 20))) > 0

    def _replace(self, seat: Seat, owner: Owner) -> None:
        self.others.append(owner)
        del self.owners[seat]
        self._start_owner(seat)

    def _network(self) -> None:
        """Let late ends arrive."""
        while True:
            self.scheduler.sleep(self.random.random())
            while self.broker.late and (self.peace or self.random.random() < 0.5):
                self.broker.arrive(self.broker.late[0])

    def _operate(self) -> None:
        """Scale, now and then."""
        while not self.peace:
            self.scheduler.sleep(1 + 6 * self.random.random())
            slots = self.random.randint(1, self.scenario.partitions)
            self.wishes.append(decisions.ScaleWanted(slots, self.scheduler.now()))

    def _produce(self, partition: int) -> None:
        """Write the input of a partition, in transactions or without."""
        scenario, random = self.scenario, self.random
        words = line.Words(random)
        client = Client(self.broker, f"producer-{partition}", self._calm("producer"), self.calm)
        client.init()
        left = scenario.records
        while left > 0 and not self.peace:
            self.scheduler.sleep(2 * scenario.trouble_s / scenario.records * random.random())
            some = random.randint(1, 4)
            left -= some
            if "abort" not in scenario.chances or random.random() < 0.5:
                for _ in range(some):
                    self._append(partition, words)
                continue
            client.begin()
            for _ in range(some):
                value = words.next(self._now_ms())
                client.produce(line.record(partition, value))
                self.scheduler.sleep(random.random())
            if self.faults.happens("abort"):
                self.met["abort"] += 1
                client.abort()
            else:
                client.commit()

    def _append(self, partition: int, words: line.Words) -> None:
        now = self._now_ms()
        self.broker.append((line.INPUT, partition), words.next(now), b"key", now)

    def _now_ms(self) -> int:
        return 1_000_000 + int(self.scheduler.now() * 1000)
