"""Proposals: from which rows, what was left out and why, and what a person gave by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.limit_proposal import Proposal, propose
from models.limit_versions import Change, ChangeRefused, Kind, Limits, SeriesChange, State

FLOW = np.array([49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1])  # NIST/SEMATECH e-Handbook 6.3.2.2
OFFSET = np.arange(10) * 7 + 100


def applied(name: str, share: SeriesChange, kind: Kind = Kind.LIMITS) -> Change:
    return Change(
        change_id=name, kind=kind, state=State.APPLIED, pipeline="quality", topic="fab.measurements", author="ada",
        reason="resist lot changed", created_ms=1, approver="bo", changes=(share,),
    )  # fmt: skip


def proposed(value: np.ndarray = FLOW, changes: tuple[Change, ...] = (), **said: Any) -> Proposal:
    said = {"given": {}, "study": True} | said
    return propose("s", 3, OFFSET[: len(value)], value, changes, **said)


def test_limits_from_history() -> None:
    new = proposed()
    mu, sigma = new.share.limits[:2]
    assert mu == pytest.approx(50.81)
    assert sigma == pytest.approx(1.8777777777 / 1.128379167)  # the handbook's mean moving range over exact d2(2)
    assert new.share == SeriesChange("s", 3, Limits(mu, sigma), 1)
    assert (new.old, new.removed, new.rows, new.missing, new.span) == (None, (), 10, 0, (100, 163))
    assert new.basis() == "moving_range from 10 of 10 rows, offsets 100 to 163"


def test_what_is_left_out_is_told_by_offset_with_its_reason() -> None:
    value = FLOW.copy()
    value[[2, 5, 7]] = 90.0, 99.0, np.nan
    log = (applied("x", SeriesChange("s", 3, offset=114), Kind.EXCLUDE),)
    new = proposed(value, log, exclude=[135])
    assert [point[:2] for point in new.removed] == [(114, 90.0), (135, 99.0)]
    assert [point.why for point in new.removed] == ["excluded: resist lot changed", "left out by --exclude"]
    assert new.missing == 1
    assert "left out: offset 114: excluded: resist lot changed; offset 135" in new.basis()
    elsewhere = (applied("x", SeriesChange("s", 2, offset=114), Kind.EXCLUDE),)
    assert len(proposed(value, elsewhere, exclude=[135], rules=()).removed) == 1


def test_all_samples_of_a_record_that_is_left_out_are() -> None:
    value, offset = np.concatenate([FLOW, [90.0, 91.0], [95.0, 96.0]]), [*range(10), 10, 10, 11, 11]
    log = (applied("x", SeriesChange("s", 3, offset=11), Kind.EXCLUDE),)
    new = propose("s", 3, np.array(offset), value, log, given={}, study=True, exclude=[10])
    assert [point[:2] for point in new.removed] == [(10, 90.0), (10, 91.0), (11, 95.0), (11, 96.0)]
    assert new.share.limits.mu == pytest.approx(50.81)


def test_the_study_takes_out_what_its_rules_say() -> None:
    value = np.concatenate([FLOW, [99.0], FLOW])
    new = propose("s", 0, np.arange(21), value, (), given={}, study=True)
    assert [(point.offset, point.value) for point in new.removed] == [(10, 99.0)]
    assert new.removed[0].why.startswith("nelson_1 in round 1 (99, limits ")
    assert new.share.limits.mu == pytest.approx(50.81)


def test_a_version_starts_from_the_one_that_holds() -> None:
    first = applied("c1", SeriesChange("s", 3, Limits(mu=1.0, sigma=2.0, lsl=0.0), 1))
    new = proposed(changes=(first,), study=False, given={"usl": 9.0, "mu": None})
    assert new.share == SeriesChange("s", 3, Limits(sigma=2.0, lsl=0.0, usl=9.0), 2)
    assert new.old is not None
    assert new.old.change is first
    assert new.basis() == "given by hand"
    both = proposed(changes=(first,), given={"sigma": 3.0})
    assert both.share.limits == Limits(mu=pytest.approx(50.81), sigma=3.0, lsl=0.0)


def test_subgroups() -> None:
    labels = np.repeat(np.arange(5), 2)
    new = proposed(estimator="range", subgroup=labels)
    assert new.share.limits.sigma == pytest.approx(np.ptp(FLOW.reshape(5, 2), axis=1).mean() / 1.128379167)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"value": FLOW[:1]}, "limits cannot be computed from 1 rows"),
        ({"exclude": [101]}, "--exclude 101: no row of the history has this offset"),
        ({"estimator": "guess"}, "limits cannot be computed from 10 rows: .*guess"),
        (
            {"estimator": "range", "subgroup": np.full(10, -1)},
            "--estimator range: there are rows that name no subgroup",
        ),
        ({"estimator": "range"}, "--estimator range: there are rows that name no subgroup"),
        ({"given": {"sigma": -1.0}}, r"s: sigma = -1.0 is below 0"),
        ({"study": False}, "s: these are the limits of version 1 already"),
    ],
)
def test_what_cannot_be_proposed_is_refused(said: dict[str, Any], message: str) -> None:
    first = applied("c1", SeriesChange("s", 3, Limits(), 1))
    with pytest.raises(ChangeRefused, match=message):
        proposed(changes=(first,), **said)


def test_no_stable_level_is_told() -> None:
    value = np.repeat([0.0, 50.0, 100.0, 150.0], 5) + np.tile([0.1, -0.1, 0.0, 0.2, -0.2], 4)
    new = propose("s", 0, np.arange(20), value, (), given={}, study=True)
    assert new.study is not None
    assert not new.study.complete
    assert new.basis().endswith("; not complete: no stable level")


def test_without_rules_nothing_is_taken_out() -> None:
    value = np.concatenate([FLOW, [99.0], FLOW])
    assert propose("s", 0, np.arange(21), value, (), given={}, study=True, rules=()).removed == ()
