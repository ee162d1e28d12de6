"""Changes of limits, resets, exclusions: what may stand in the log, and what follows from it."""

from __future__ import annotations

import dataclasses

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.detector import COUNTERS, GIVEN
from models.limit_versions import (
    SERIES_PER_CHANGE_MAX,
    Change,
    ChangeRefused,
    Kind,
    Limits,
    SeriesChange,
    State,
    approved,
    checked,
    effect,
    excluded,
    from_record,
    newest,
    to_record,
    versions,
)
from schemas.topics import load


def change(
    name: str, *shares: SeriesChange, kind: Kind = Kind.LIMITS, state: State = State.APPLIED, **more: object
) -> Change:
    said = {"author": "ada", "reason": "new resist", "approver": "bo" if state is State.APPLIED else None} | more
    return Change(
        change_id=name, kind=kind, state=state, pipeline="quality", topic="fab.measurements", created_ms=1, changes=shares,
        **said,
    )  # fmt: skip  # type: ignore[arg-type]


def limits(series: str = "a", version: int = 1, **given: float) -> SeriesChange:
    return SeriesChange(series, 0, Limits(**given), version)


def point(offset: int, series: str = "a") -> SeriesChange:
    return SeriesChange(series, 0, offset=offset)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (change("c", limits(sigma=-0.1)), "a: sigma = -0.1 is below 0"),
        (change("c", limits(mu=float("nan"))), "a: mu = nan is not a finite number"),
        (change("c", limits(usl=float("inf"))), "a: usl = inf is not a finite number"),
        (change("c", limits(lsl=2.0, usl=1.0)), "a: lsl = 2.0 is not below usl = 1.0"),
        (change("c", limits(lsl=1.0, usl=1.0)), "a: lsl = 1.0 is not below usl = 1.0"),
        (change("c", limits(version=0)), "a: limits_version = 0: versions count from 1"),
        (change("c"), "0 series in one change"),
        (change("c", *(limits(str(i)) for i in range(SERIES_PER_CHANGE_MAX + 1))), "1001 series in one change"),
        (change("c", limits(), limits()), "a series stands twice in one change"),
        (change("c", limits(""), kind=Kind.LIMITS), "series '' in partition 0: there is no such place"),
        (change("c", SeriesChange("a", -1, Limits(), 1)), "series 'a' in partition -1: there is no such place"),
        (change("c", limits(), reason=" "), "reason is empty"),
        (change("c", limits(), author=""), "author is empty"),
        (change("c", limits(), approver=None), "approver is empty"),
        (change(" ", limits()), "change_id is empty"),
        (change("c", limits(), reason="x" * 2001), "reason has 2001 characters; at most 2000"),
        (change("c", SeriesChange("a", 0), kind=Kind.EXCLUDE), "a: offset = None: which measurement is meant?"),
        (change("c", point(-1), kind=Kind.INCLUDE), "a: offset = -1: which measurement is meant?"),
        (change("c", point(1), kind=Kind.RESET), "a: a reset change has no offset"),
        (change("c", limits(mu=1.0), kind=Kind.RESET), "a: a change of kind reset brings no limits"),
    ],
)
def test_what_may_not_stand_in_the_log_is_refused_in_one_line(wrong: Change, message: str) -> None:
    with pytest.raises(ChangeRefused) as refusal:
        checked(wrong)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


def test_sigma_zero_and_limits_taken_back_are_changes_too() -> None:
    for share in (limits(sigma=0.0), limits()):
        assert checked(change("c", share)).changes == (share,)


def test_what_a_change_does() -> None:
    counter, given_values = effect(Kind.LIMITS, limits(mu=1.0, sigma=2.0, lsl=3.0, usl=4.0))
    assert counter == "limits_version"
    np.testing.assert_array_equal(given_values, [1.0, 2.0, 3.0, 4.0, np.nan])
    assert {effect(kind, point(1))[0] for kind in Kind} == set(COUNTERS)
    assert Limits._fields == GIVEN


def test_versions_are_numbered_in_the_order_of_their_application() -> None:
    log = newest(
        [
            change("slow", limits(mu=1.0), state=State.PROPOSED),
            change("b", limits("b", mu=9.0)),
            change("fast", limits(mu=2.0, version=1)),
            change("slow", limits(mu=1.0, version=2)),
            change("open", limits(mu=3.0, version=3), state=State.PROPOSED),
            change("reset", SeriesChange("a", 0), kind=Kind.RESET),
        ]
    )
    assert list(log) == ["b", "fast", "slow", "reset", "open"]
    assert [(v.number, v.change.change_id, v.share.limits.mu) for v in versions(log.values(), "a")] == [
        (1, "fast", 2.0), (2, "slow", 1.0),
    ]  # fmt: skip


def test_what_is_applied_stays_as_it_was_applied() -> None:
    first = change("c", limits(mu=1.0))
    log = newest([first, change("c", limits(mu=2.0)), change("c", limits(mu=3.0), state=State.PROPOSED)])
    assert log == {"c": first}


def test_exclusions_and_their_taking_back() -> None:
    out = change("x1", point(3), point(4), kind=Kind.EXCLUDE)
    log = [
        out,
        change("x2", point(5, "b"), kind=Kind.EXCLUDE),
        change("x3", point(3), kind=Kind.INCLUDE),
        change("x4", point(7), kind=Kind.EXCLUDE, state=State.PROPOSED),
    ]
    assert excluded(log, "a") == {(0, 4): out}
    again = change("x5", point(3), kind=Kind.EXCLUDE)
    assert excluded([*log, again], "a") == {(0, 4): out, (0, 3): again}


def test_applying() -> None:
    proposed = change("c", limits(mu=1.0), state=State.PROPOSED)
    applied = approved({"c": proposed}, "c", "bo", 77, 5)
    assert applied == dataclasses.replace(
        proposed, state=State.APPLIED, approver="bo", approved_ms=77, effective_from_ms=5
    )
    with pytest.raises(ChangeRefused, match="no change d: `chipquality limits list` shows"):
        approved({"c": proposed}, "d", "bo", 77, None)
    with pytest.raises(ChangeRefused, match="change c is already applied, by bo"):
        approved({"c": applied}, "c", "eve", 78, None)
    with pytest.raises(ChangeRefused, match="approver is empty"):
        approved({"c": proposed}, "c", "", 77, None)


def test_a_proposal_that_was_overtaken_is_refused() -> None:
    proposed = change("late", limits(mu=1.0, version=1), state=State.PROPOSED)
    log = newest([proposed, change("quick", limits(mu=2.0, version=1))])
    with pytest.raises(ChangeRefused, match="change late was proposed as version 1 of a; change quick has become that"):
        approved(log, "late", "bo", 77, None)


FINITE = st.none() | st.floats(-1e300, 1e300)
LIMITS = st.builds(
    Limits,
    mu=FINITE,
    sigma=st.none() | st.floats(0, 1e300),
    lsl=st.none() | st.floats(-9, -1),
    usl=FINITE.filter(lambda x: x is None or x > 0),
    target=FINITE,
)


@given(LIMITS, st.none() | st.integers(0, 2**60), st.text(min_size=1).filter(str.strip))
def test_a_change_comes_back_from_the_wire_as_it_was(said: Limits, from_ms: int | None, text: str) -> None:
    sent = checked(change("c", SeriesChange("a", 3, said, 2), reason=text[:100] + "!", effective_from_ms=from_ms))
    record = to_record(sent)
    assert fastavro.validation.validate(record, load("control"), strict=True)
    assert from_record(record) == sent


def test_a_kind_newer_than_the_code_is_refused() -> None:
    record = to_record(change("c", limits())) | {"kind": "UNKNOWN"}
    with pytest.raises(ChangeRefused, match="change c is of a kind or state that this version does not know"):
        from_record(record)
