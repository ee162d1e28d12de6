"""The conformance suite finds what it is there to find: one broken detector per rule of the contract."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import pytest

from models import SeriesBatch, Verdicts, check_detector
from models.checks import ConformanceError, check_one
from models.detector import Column, Rule, identity

State = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Last:
    """Sound: x minus the last value of its series, in plain Python; what breaks it is done to its verdicts afterwards."""

    limit: float = 3.0
    wide: bool = False

    name = "test.last"
    version = 1
    statistics = ("step",)
    state = {"last": Column("f8", (), np.nan)}  # noqa: RUF012
    rules = (Rule("far", "a step beyond the limit"),)

    def update(self, state: State, batch: SeriesBatch) -> Verdicts:
        step = np.full((len(batch), 1), np.nan)
        for i, (s, x) in enumerate(zip(batch.row, batch.value, strict=True)):
            if np.isfinite(x):
                step[i] = x - state["last"][s]
                state["last"][s] = x
        far = np.abs(step[:, 0]) > self.limit
        zero = np.zeros_like(step)
        return Verdicts(step, zero, zero - self.limit, zero + self.limit, far.astype(np.uint32), ~np.isnan(step[:, 0]))


class Plain:
    """The same, its parameter an attribute of a plain object."""

    name, version, statistics, state, rules = "test.plain", 1, Last.statistics, Last.state, Last.rules
    update = Last.update

    def __init__(self, limit: float) -> None:
        self.limit = limit


def test_a_sound_detector_passes() -> None:
    check_detector(Last())


def test_parameters_need_not_be_a_dataclass() -> None:
    check_detector(Plain(2.0))
    assert identity(Plain(2.0)) != identity(Plain(3.0))


Update = Callable[[Last, State, SeriesBatch], Any]
ticks = count()


def _judged(**parts: Callable[[Verdicts, SeriesBatch], np.ndarray]) -> Update:
    """Return an update that replaces parts of sound verdicts."""

    def update(self: Last, state: State, batch: SeriesBatch) -> Verdicts:
        sound = Last.update(self, state, batch)
        return sound._replace(**{name: part(sound, batch) for name, part in parts.items()})

    return update


def _changes_batch(self: Last, state: State, batch: SeriesBatch) -> Verdicts:
    if batch.value.flags.writeable:
        batch.value[:1] = 0.0
    return Last.update(self, state, batch)


def _writes_batch(self: Last, state: State, batch: SeriesBatch) -> Verdicts:
    batch.value[:1] = 0.0
    return Last.update(self, state, batch)


def _leaks(self: Last, state: State, batch: SeriesBatch) -> Verdicts:
    verdicts = Last.update(self, state, batch)
    state["last"][:] = np.nanmax(state["last"], initial=0.0)
    return verdicts


def _one_series(self: Last, state: State, batch: SeriesBatch) -> Verdicts:
    return Last.update(self, state, dataclasses.replace(batch, row=np.zeros_like(batch.row)))


def _replaces_state(self: Last, state: State, batch: SeriesBatch) -> Verdicts:
    verdicts = Last.update(self, state, batch)
    state["last"] = state["last"].copy()  # type: ignore[index]  # that is what is wrong with it
    return verdicts


def _touches_spare_rows(self: Last, state: State, batch: SeriesBatch) -> Verdicts:
    verdicts = Last.update(self, state, batch)
    state["last"][6:] = 0.0
    return verdicts


def _remembers_missing(self: Last, state: State, batch: SeriesBatch) -> Verdicts:
    verdicts = Last.update(self, state, batch)
    for s, x in zip(batch.row, batch.value, strict=True):
        state["last"][s] = x if np.isnan(x) else state["last"][s]
    return verdicts


def _forgets_on_missing(self: Last, state: State, batch: SeriesBatch) -> Verdicts:
    parts = []
    for i in range(len(batch)):
        one = SeriesBatch(
            *(getattr(batch, name)[i : i + 1] for name in ("row", "offset", "event_time_ms", "value", "subgroup")),
            params=batch.params,
        )
        parts.append(Last.update(self, state, one))
        if np.isnan(batch.value[i]):
            state["last"][batch.row[i]] = np.nan
    return Verdicts(*map(np.concatenate, zip(*parts, strict=True))) if parts else Last.update(self, state, batch)


def _infinity_everywhere(self: Last, state: State, batch: SeriesBatch) -> Verdicts:
    verdicts = Last.update(self, state, batch)
    return verdicts._replace(centre=verdicts.centre + (1.0 if np.isinf(batch.value).any() else 0.0))


def _fails_when_empty(self: Last, state: State, batch: SeriesBatch) -> Verdicts:
    if not len(batch):
        raise IndexError("no first row")
    return Last.update(self, state, batch)


def _advances_when_empty(self: Last, state: State, batch: SeriesBatch) -> Verdicts:
    if not len(batch):
        state["last"][:] = 0.0
    return Last.update(self, state, batch)


def _divides(self: Last, state: State, batch: SeriesBatch) -> Verdicts:
    if (batch.params["sigma"] == 0.0).all() and len(batch.params):
        raise ZeroDivisionError("sigma")
    return Last.update(self, state, batch)


BROKEN: list[tuple[str, str, Update]] = [
    ("determinism", "raised", lambda *_: next(iter(()))),
    ("determinism", "not Verdicts", lambda self, state, batch: tuple(Last.update(self, state, batch))),
    ("determinism", "returned statistic", _judged(statistic=lambda v, _: v.statistic[:, 0])),
    ("determinism", "returned centre", _judged(centre=lambda v, _: v.centre.astype(np.float32))),
    ("determinism", "returned signal", _judged(signal=lambda v, _: v.signal.astype(np.int64))),
    ("determinism", "returned valid", _judged(valid=lambda v, _: v.valid.astype(np.uint8))),
    ("determinism", "bit of signal", _judged(signal=lambda v, _: v.valid.astype(np.uint32) * np.uint32(2))),
    ("determinism", "not valid", _judged(signal=lambda v, _: np.ones_like(v.signal))),
    ("determinism", "another centre", _judged(centre=lambda v, _: v.centre + next(ticks))),
    ("batch cuts", "another centre", _judged(centre=lambda v, b: v.centre + len(b))),
    ("batch cuts", "another statistic", _leaks),
    ("series do not leak", "another statistic", _one_series),
    ("state round trip", "not asked about", _touches_spare_rows),
    ("determinism", "read-only", _writes_batch),
    ("determinism", "in place of state column 'last'", _replaces_state),
    ("arguments not modified", "changed its batch", _changes_batch),
    ("missing values", "which is missing", _judged(valid=lambda v, _: np.ones_like(v.valid))),
    ("batch cuts", "another", _remembers_missing),
    ("missing values", "after missing rows", _forgets_on_missing),
    ("infinity", "beside an infinite value", _infinity_everywhere),
    ("empty batch", "no first row", _fails_when_empty),
    ("empty batch", "after an empty batch", _advances_when_empty),
    ("zero sigma", "ZeroDivisionError", _divides),
    (
        "zero sigma",
        "signals a constant value",
        _judged(signal=lambda v, b: (v.valid & (b.params["lsl"][b.row] == 9.0)).astype(np.uint32)),
    ),
]


@pytest.mark.parametrize(("check", "what", "update"), BROKEN, ids=[f"{check}: {what}" for check, what, _ in BROKEN])
def test_broken_behaviour_is_found(check: str, what: str, update: Update) -> None:
    broken = type("Last", (Last,), {"update": update, "__reduce__": lambda self: (Last, (self.limit,))})()
    with pytest.raises(ConformanceError, match=what) as found:
        check_one(broken, check)
    assert found.value.check == check
    assert str(found.value).startswith(f"{check}: ")
    with pytest.raises(ConformanceError):
        check_detector(broken)


def _declared(**declaration: Any) -> Last:
    return type("Last", (Last,), {**declaration, "__reduce__": lambda self: (Last, (self.limit,))})()


@pytest.mark.parametrize(
    ("what", "broken"),
    [
        ("33 rules", _declared(rules=tuple(Rule(f"rule {i}", "") for i in range(33)))),
        ("two rules of one name", _declared(rules=(Rule("one", ""), Rule("one", "")))),
        ("on statistic 1", _declared(rules=(Rule("one", "", statistic=1),))),
        ("declares state", _declared(state={"last": Column("O")})),
        ("declares state", _declared(state={"last": "f8"})),
        ("has no state, statistics, rules, update", type("Bare", (), {"name": "bare", "version": 1})()),
    ],
)
def test_broken_declaration_is_found(what: str, broken: Any) -> None:
    with pytest.raises(ConformanceError, match=what) as found:
        check_detector(broken)
    assert found.value.check == "declaration"


@dataclass(frozen=True)
class Holds(Last):
    limit: Any = object  # type: ignore[assignment]


class Drifts(Last):
    """Another parameter after a round trip."""

    def __reduce__(self) -> Any:
        return Drifts, (self.limit + 1,)


def test_unstable_identity_is_found() -> None:
    with pytest.raises(ConformanceError, match="no stable text"):
        check_detector(Holds(object()))
    with pytest.raises(ConformanceError, match="after pickling"):
        check_detector(Drifts())


def test_identity_that_keeps_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.checks.identity", lambda detector: detector.name)
    with pytest.raises(ConformanceError, match="keeps its identity when limit changes"):
        check_detector(Last())
