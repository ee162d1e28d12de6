"""Incidents of many rules in one pass: in any cuts, against one row after the other."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.detector import Verdicts
from models.incidents import Incidents, Rows

WIDTHS = np.array([0.5, 1.0, 2.0])


def rows_of(random: np.random.Generator, n: int) -> Rows:
    wide = [random.normal(scale=2.0, size=(n, 2)).round(1) for _ in range(4)]
    wide[1][random.random((n, 2)) < 0.2] = np.nan
    wide[3][random.random((n, 2)) < 0.2] = np.nan
    valid = random.random(n) < 0.8
    signal = np.where(valid, random.integers(0, 4, n), 0).astype(np.uint32)
    said = Verdicts(wide[0], wide[1], wide[2], wide[3], signal, valid)
    return Rows(random.integers(0, 4, n).astype(np.int32), said, random.random(n) < 0.2)


def part(rows: Rows, cut: slice) -> Rows:
    return Rows(rows.series[cut], Verdicts(*(x[cut] for x in rows.verdicts)), rows.inside[cut])


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 60), max_size=4))
def test_cuts_do_not_matter(seed: int, cuts: list[int]) -> None:
    rows = rows_of(np.random.default_rng(seed), 60)
    whole, pieces = Incidents(2, WIDTHS, 3), Incidents(2, WIDTHS, 3)
    out = whole.take(rows)
    edges = [0, *sorted(cuts), 60]
    outs = [pieces.take(part(rows, slice(a, b))) for a, b in itertools.pairwise(edges)]
    assert np.array_equal(np.concatenate(outs), out)
    assert np.array_equal(whole.opened, pieces.opened)
    assert np.array_equal(whole.false(), pieces.false())
    assert (whole.false() <= whole.opened).all()


def test_an_incident_is_held_ended_and_hit() -> None:
    fires = [1, 0, 0, 1, 0, 0, 0, 1, 1]
    inside = [0, 0, 0, 1, 0, 0, 0, 0, 0]
    n = len(fires)
    nothing = np.full((n, 1), np.nan)
    said = Verdicts(nothing, nothing, nothing, nothing, np.array(fires, np.uint32), np.ones(n, bool))
    counted = Incidents(1, WIDTHS, 3)
    out = counted.take(Rows(np.zeros(n, np.int32), said, np.array(inside, bool)))
    assert (out == -np.inf).all()
    assert (counted.opened.tolist(), counted.false().tolist()) == ([2, 0, 0, 0], [1, 0, 0, 0])
