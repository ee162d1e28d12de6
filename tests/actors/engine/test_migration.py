"""State that was written in another layout or version: taken over by a declared function, or refused, never misread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.engine import alerts, migration
from actors.engine.params import ParamsChange, ParamsTable
from actors.engine.state import Page, PageColumn, StateTable, rows_of
from actors.errors import StateError
from models.detector import Column, Detector, Rule, SeriesBatch, Verdicts, identity
from tests.actors.engine.world import Above, World, decode_json

Columns = Mapping[str, np.ndarray]
WORDS = ["a 11", "b 1", "a 12", "a 1", "b 11"]


@dataclass(frozen=True)
class Unmoved(Above):
    """Version 2 of Above, without a migration."""

    version: int = 2


@dataclass(frozen=True)
class Doubled(Unmoved):
    """Version 2 of Above: its state has other columns."""

    @property
    def state(self) -> Mapping[str, Column]:
        return {"run": Column("i8"), "half": Column("f8", fill=0.5), "n": Column("i8")}

    def migrate(self, from_version: int, columns: Columns) -> Columns | None:
        assert from_version == 1
        return {"run": columns["run"], "n": columns["n"] * 10}


@dataclass(frozen=True)
class Refusing(Unmoved):
    def migrate(self, from_version: int, columns: Columns) -> Columns | None:
        return None


def answering(answer: Callable[[Columns], Columns | None]) -> Unmoved:
    """Return version 2 of Above with this migration."""

    class Answering(Unmoved):
        def migrate(self, from_version: int, columns: Columns) -> Columns | None:
            return answer(columns)

    return Answering()


def snapshot_of(detector: Above) -> World:
    """Return a partition that a detector has judged, with a snapshot."""
    world = World((detector,))
    world.step(WORDS, snapshot=True)
    return world


def numbers(world: World, column: str) -> list[float]:
    table = world.family._partitions[0].judges[0].table
    return table.arrays[column][: table.rows].tolist()


def reopened(world: World, detector: Detector) -> tuple[str, ...]:
    world.detectors = (detector,)
    return world.open()


def test_a_declared_migration_takes_the_state_over() -> None:
    world = snapshot_of(Above())
    assert reopened(world, Doubled()) == ()
    assert (numbers(world, "n"), numbers(world, "run"), numbers(world, "half")) == ([30, 20], [0, 1], [0.5, 0.5])


def test_migrated_state_goes_out_whole_and_is_not_migrated_again() -> None:
    world = snapshot_of(Above())
    reopened(world, Doubled())
    world.step(["c 1"], snapshot=True)
    assert reopened(world, Doubled()) == ()
    assert numbers(world, "n") == [30, 20, 1]


def test_a_migration_that_was_not_snapshot_is_made_again_alike() -> None:
    world = snapshot_of(Above())
    reopened(world, Doubled())
    migrated = world.state()
    reopened(world, Doubled())
    assert world.state() == migrated


def test_rows_that_are_as_new_get_the_new_fill() -> None:
    seen: list[int] = []

    def migrate(columns: Columns) -> Columns:
        seen.append(len(columns["n"]))
        return columns

    world = World()
    world.step(["a 1", "b nan"], snapshot=True)
    assert reopened(world, answering(migrate)) == ()
    assert seen == [1]


def test_without_a_migration_a_new_version_begins_in_phase_one_and_says_so() -> None:
    world = snapshot_of(Above())
    (said,) = reopened(world, Unmoved())
    assert said == f"{identity(Unmoved())} (the state of {identity(Above())} was not taken over: it has no `migrate`)"
    assert numbers(world, "n") == [0, 0]


def test_a_migration_may_refuse() -> None:
    world = snapshot_of(Above())
    (said,) = reopened(world, Refusing())
    assert said.endswith("its `migrate` refused)")


def test_other_parameters_are_another_detector() -> None:
    world = snapshot_of(Above())
    assert reopened(world, Doubled(limit=9.0)) == (identity(Doubled(limit=9.0)),)


def test_identities_listed_in_formerly_are_taken_over() -> None:
    @dataclass(frozen=True)
    class Tuned(Doubled):
        floor: float = 0.0

        @property
        def formerly(self) -> tuple[str, ...]:
            return (identity(Above(self.limit)),)

    world = snapshot_of(Above())
    assert reopened(world, Tuned()) == ()
    assert numbers(world, "n") == [30, 20]


def test_the_highest_version_is_asked_first() -> None:
    table = StateTable("test", "x@1-a", {"n": Column("i8")})
    pages = []
    for version in (1, 3, 2):
        table.detector = identity(Above()).replace("@1", f"@{version}")
        table.reserve(1)
        table.touch(np.array([0]))
        pages += table.take_dirty(seq=1)
    found = migration.sources(Doubled(version=4), pages)
    assert [source.version for source in found] == [3, 2, 1]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda columns: {"other": columns["n"]}, "no column 'other'; there are n, run"),
        (lambda columns: {"n": columns["n"][:1]}, r"n is \(1,\) int64; it must be \(2,\) i8"),
        (lambda columns: {"n": columns["n"].astype("f8")}, r"n is \(2,\) float64"),
        (lambda columns: columns["gone"], "migrate raised KeyError"),
    ],
)
def test_a_wrong_migration_is_an_error_and_loses_nothing(answer: Callable[[Columns], Columns], why: str) -> None:
    world = snapshot_of(Above())
    with pytest.raises(StateError, match=why) as raised:
        reopened(world, answering(answer))
    assert f"{identity(Unmoved())}: migrating the state of {identity(Above())}" in str(raised.value)
    assert reopened(world, Doubled()) == ()


def test_a_migration_takes_all_pages_or_none() -> None:
    table = StateTable("test", identity(Above()), {"run": Column("i8"), "n": Column("i8")})
    rows = np.arange(table.rows_per_page + 1)
    table.put(rows, {"n": rows + 1})
    pages = table.take_dirty(seq=1)
    fresh = StateTable("test", identity(Unmoved()), Unmoved().state)
    with pytest.raises(StateError, match="took some pages and refused page 1"):
        migration.take_over(fresh, answering(lambda columns: columns if len(columns["n"]) > 1 else None), pages)


def test_another_layout_in_the_same_version_is_refused() -> None:
    class Changed(Above):
        @property
        def state(self) -> Mapping[str, Column]:
            return {"run": Column("i4"), "n": Column("i8")}

    world = snapshot_of(Above())
    with pytest.raises(StateError, match="raise its version, or declare how to `migrate` it"):
        reopened(world, Changed())


def test_a_page_without_a_description_is_refused_by_a_migration() -> None:
    page = Page("test", identity(Above()), "0" * 12, 0, 0, 1, 1, (PageColumn("n", b"\0" * 8),))
    table = StateTable("test", identity(Doubled()), Doubled().state)
    with pytest.raises(StateError, match="before pages said their layout"):
        migration.take_over(table, Doubled(), [page])


def test_pages_survive_the_wire_with_their_description() -> None:
    world = snapshot_of(Above())
    page = next(page for page in world.image().pages if page.detector == identity(Above()))
    assert [(column.name, column.dtype, column.shape) for column in page.columns] == [
        ("n", "i8", ()),
        ("run", "i8", ()),
    ]
    assert all("dtype" in c for r in world.log if r.key.startswith(b"page") for c in decode_json(r.value)["columns"])


@dataclass(frozen=True)
class Ruled:
    """As Above; its rules are no parameter, so that they are no part of its identity."""

    name = "test.ruled"
    version = 1
    statistics = ("x",)
    rules = Above().rules

    @property
    def state(self) -> Mapping[str, Column]:
        return Above().state

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        return Above().update(state, batch)


class MoreRules(Ruled):
    """Another rule in front, and the version was not raised."""

    rules = (Rule("first", "another rule"), *Ruled.rules)


def said_of(world: World) -> list[tuple[str, str, int, str]]:
    return [(alert["series"], alert["rule"], alert["opened_offset"], alert["state"]) for alert in world.alerts()]


def books_in(world: World) -> list[tuple[str, int]]:
    """Return layout and rows of the books in the log's snapshot."""
    pages = [page for page in world.image().pages if page.detector.startswith("alerts/")]
    return [(page.layout, len(rows_of(page))) for page in pages]


def test_open_alerts_of_other_rules_are_refused_and_not_lost() -> None:
    world = World((Ruled(),))
    world.step(WORDS, snapshot=True)
    says = (
        f"alerts/{identity(Ruled())}: alerts of 2 series are open, and were written for 2 rules; the detector has 3 in the "
        "same version: put its rules back as they were, or raise its version"
    )
    with pytest.raises(StateError, match=says):
        reopened(world, MoreRules())
    assert reopened(world, Ruled()) == ()
    world.step(["b 1", "b 1"])
    assert said_of(world)[-1] == ("b", "above", 4, "CLOSED")


def test_a_book_in_which_no_alert_is_open_is_of_any_rules() -> None:
    world = World((Ruled(),))
    world.step(["a 11", "b 1"], snapshot=True)
    world.step(["a 1", "a 1"], snapshot=True)
    assert [rows for _, rows in books_in(world)] == [0]
    assert reopened(world, MoreRules()) == ()
    world.step(["a 11"], snapshot=True)
    assert said_of(world)[-1] == ("a", "first", 4, "OPEN")
    assert [rows for _, rows in books_in(world)] == [1]


def test_a_book_of_other_columns_is_taken_over_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World((Ruled(),))
    world.step(WORDS, snapshot=True)
    (before,) = books_in(world)
    honest = alerts.alert_columns

    def wider(rules: int) -> dict[str, Column]:
        return honest(rules) | {"shelved": Column("i8", (rules,), -1)}

    monkeypatch.setattr(alerts, "alert_columns", wider)
    assert reopened(world, Ruled()) == ()
    book = world.family._partitions[0].judges[0].book
    assert book.arrays["shelved"][:2].tolist() == [[-1, -1], [-1, -1]]
    assert book.arrays["open"][:2].tolist() == [3, 1]
    world.step(["b 1", "b 1"], snapshot=True)
    assert said_of(world)[-1] == ("b", "above", 4, "CLOSED")
    ((layout, rows),) = books_in(world)
    assert (layout != before[0], rows) == (True, 1)
    assert reopened(world, Ruled()) == ()
    world.step(["a 1"], snapshot=True)
    assert said_of(world)[-2:] == [("a", "above", 0, "CLOSED"), ("a", "twice", 2, "CLOSED")]


def test_a_book_with_a_column_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World((Ruled(),))
    honest = alerts.alert_columns
    with monkeypatch.context() as newer:
        newer.setattr(alerts, "alert_columns", lambda rules: honest(rules) | {"shelved": Column("i8", (rules,))})
        world.open()
        world.step(WORDS, snapshot=True)
    with pytest.raises(StateError, match="it has shelved: written by a newer version"):
        world.open()


def older_params(names: dict[str, Column]) -> tuple[Page, ...]:
    table = StateTable("spc", "params/spc", names)
    table.put(np.array([1]), {name: np.ones(1) * 7 for name in names})
    return tuple(table.take_dirty(seq=1))


def test_params_of_an_older_layout_are_taken_over_by_field() -> None:
    params = ParamsTable("spc")
    params.restore(older_params({"mu": Column("f8", (), np.nan), "resets": Column("i4")}))
    row = params.rows[1]
    assert (row["mu"], row["resets"], row["limits_version"]) == (7.0, 7, 0)
    assert np.isnan(row["sigma"])
    assert [page.layout for page in params.table.take_dirty(seq=2)] == [ParamsTable("spc").table.layout]


def test_params_of_a_newer_layout_are_refused() -> None:
    with pytest.raises(StateError, match="it has tilt: written by a newer version"):
        ParamsTable("spc").restore(older_params({"mu": Column("f8"), "tilt": Column("f8")}))


def test_params_of_this_layout_are_put_back() -> None:
    params = ParamsTable("spc")
    params.reserve(3)
    params.change([ParamsChange(2, "resets", None)])
    again = ParamsTable("spc")
    again.restore(params.table.take_dirty(seq=1))
    assert again.rows["resets"].tolist()[:3] == [0, 0, 1]


def test_the_example_of_the_documentation_holds() -> None:
    text = (Path(__file__).parents[3] / "docs" / "state.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"np": np, "Column": Column, "dataclass": dataclass}
    exec(text.partition("```python\n")[2].partition("```")[0], names)  # noqa: S102 - our own page
    detector, old = names["Range"](), {"low": Column("f8", fill=np.nan), "high": Column("f8", fill=np.nan)}
    before = StateTable("acme", identity(detector).replace("@2", "@1"), old)
    before.reserve(3)
    before.put(np.array([1]), {"low": np.array([2.0]), "high": np.array([5.0])})
    after = StateTable("acme", identity(detector), detector.state)
    after.reserve(3)
    assert migration.take_over(after, detector, before.take_dirty(seq=1)) == ""
    assert (after.arrays["n"][:3].tolist(), after.arrays["high"][1]) == ([0, 1, 0], 5.0)
