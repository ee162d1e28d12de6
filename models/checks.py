"""The conformance suite: what the engine relies on, checked for any detector, built-in or yours.

`check_detector(detector)` runs every check of `CHECKS` on made-up data from a fixed seed: several series with shifts,
ties, gaps, a constant one, subgroups, given and missing parameters. It raises `ConformanceError`, which names the check
and what is wrong. What a detector's statistic means it cannot know: that is for tests of your own, against a slow and
obvious oracle.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from models.detector import (
    Column,
    Detector,
    SeriesBatch,
    Verdicts,
    dimension,
    identity,
    new_params,
    new_state,
    parameters,
    read_only,
    series_batch,
)

RULES_MAX = 32  # bits of Verdicts.signal
SERIES = 6
ROWS = 960  # of all series together: 160 each, past the Phase I of any built-in default
CUT_TOLERANCE = 1e-9  # of a detector that declares `cut_dependent`
_WIDE = ("statistic", "centre", "lcl", "ucl")

State = dict[str, np.ndarray]


class ConformanceError(AssertionError):
    """A detector breaks the contract. `check` is the name of the check that says so."""

    def __init__(self, check: str, what: str) -> None:
        super().__init__(f"{check}: {what}")
        self.check = check


class _Bench:
    """A detector, and the data it is tried on."""

    def __init__(self, detector: Detector, check: str) -> None:
        self.detector = detector
        self.check = check
        self.random = np.random.default_rng(20)

    def fail(self, what: str) -> ConformanceError:
        return ConformanceError(self.check, f"{self.detector.name} {what}")

    def log(self, rows: int = ROWS, missing: float = 0.05) -> SeriesBatch:
        """Return a log of series: plain, shifted, coarse (ties), constant, and two with given mu, sigma (one 0)."""
        series = self.random.integers(0, SERIES, rows).astype(np.int32)
        value = self.random.normal(10.0, 1.0, rows)
        value[(series == 1) & (np.arange(rows) > rows // 2)] += 4.0
        value[series == 2] = np.round(value[series == 2])
        value[series == 3] = 10.0
        value[series == 5] = np.where(self.random.random(rows) < 0.9, 10.0, value)[series == 5]
        gaps = self.random.random(rows) < missing
        params = new_params(SERIES, target=10.0)
        params["mu"][4:], params["sigma"][4:] = 10.0, (1.0, 0.0)
        columns = {name: np.full(rows, np.nan) for name in ("lsl", "usl", "target", "sample_size")}
        carried = self.random.random(rows) < 0.5
        columns["lsl"][carried & (series != 2)], columns["usl"][carried] = 6.0, 14.0
        columns["sample_size"][carried] = self.random.integers(20, 60, rows)[carried]
        columns["excluded"] = self.random.random(rows) < missing / 2
        if dimension(self.detector) is not None:
            value = self.vectors(value)
        value[gaps] = np.nan
        read_only(params, *columns.values())
        subgroup = np.arange(rows, dtype=np.int64) // (4 * SERIES)
        return series_batch(value, series=series, subgroup=subgroup, params=params, columns=columns)

    def vectors(self, value: np.ndarray) -> np.ndarray:
        """Return (n, p) correlated vectors about `value`, a few of whose entries are missing."""
        wide = value[:, None] + self.random.normal(0.0, 0.5, (len(value), dimension(self.detector) or 0))
        wide[self.random.random(wide.shape) < 0.02] = np.nan
        return wide

    def value(self, single: list[float]) -> np.ndarray:
        """Return these values as the detector takes them: vectors of p equal entries if it judges vectors."""
        p = dimension(self.detector)
        return np.array(single) if p is None else np.repeat(np.array(single)[:, None], p, axis=1)

    def new_state(self, series: int = SERIES) -> State:
        return new_state(self.detector, series)

    def update(self, state: State, batch: SeriesBatch) -> Verdicts:
        columns = dict(state)
        try:
            verdicts = self.detector.update(state, batch)
        except Exception as error:
            raise self.fail(f"raised {error!r} on {len(batch)} rows") from error
        for name in {*columns, *state}:
            if state.get(name) is not columns.get(name):
                raise self.fail(f"put another array in place of state column {name!r}: advance it in place")
        self.check_form(verdicts, len(batch))
        return verdicts

    def check_form(self, verdicts: Verdicts, n: int) -> None:
        """Shapes and dtypes, known bits only, and no signal where nothing was judged."""
        if not isinstance(verdicts, Verdicts):
            raise self.fail(f"returned {type(verdicts).__name__}, not Verdicts")
        q = len(self.detector.statistics)
        for name, array in zip(_WIDE, verdicts[:4], strict=True):
            if array.shape != (n, q) or array.dtype != np.float64:
                raise self.fail(f"returned {name} {array.shape} {array.dtype}: it must be ({n}, {q}) float64")
        if verdicts.signal.shape != (n,) or verdicts.signal.dtype != np.uint32:
            raise self.fail(
                f"returned signal {verdicts.signal.shape} {verdicts.signal.dtype}: it must be ({n},) uint32"
            )
        if verdicts.valid.shape != (n,) or verdicts.valid.dtype != np.bool_:
            raise self.fail(f"returned valid {verdicts.valid.shape} {verdicts.valid.dtype}: it must be ({n},) bool")
        if (verdicts.signal.astype(np.uint64) >> np.uint64(len(self.detector.rules))).any():
            raise self.fail(f"set a bit of signal that is none of its {len(self.detector.rules)} rules")
        if verdicts.signal[~verdicts.valid].any():
            raise self.fail(
                f"signals at row {np.flatnonzero(verdicts.signal * ~verdicts.valid)[0]}, which is not valid"
            )

    def update_in(self, state: State, batch: SeriesBatch, cuts: Sequence[int]) -> Verdicts:
        """Update by pieces that end at `cuts`, and put the verdicts together."""
        bounds = [0, *cuts, len(batch)]
        pieces = [self.update(state, _rows(batch, slice(a, b))) for a, b in pairwise(bounds)]
        return Verdicts(*(np.concatenate(parts) for parts in zip(*pieces, strict=True)))

    def same(self, what: str, verdicts: Verdicts, expected: Verdicts) -> None:
        for name, array, other in zip(Verdicts._fields, verdicts, expected, strict=True):
            if not self.equal(array, other):
                rows = [not self.equal(a, b) for a, b in zip(array, other, strict=True)]
                raise self.fail(f"gives another {name} {what}, first at row {rows.index(True)}")

    def equal(self, array: np.ndarray, other: np.ndarray) -> bool:
        """Say whether two arrays are the same bit for bit; to 1e-9 for a detector that says it depends on the cut."""
        if array.tobytes() == other.tobytes():
            return True
        exempt = getattr(self.detector, "cut_dependent", False) and array.dtype.kind == "f"
        return bool(exempt) and np.allclose(array, other, rtol=CUT_TOLERANCE, atol=CUT_TOLERANCE, equal_nan=True)

    def same_state(self, what: str, state: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
        for name, array in state.items():
            if not self.equal(array, expected[name]):
                raise self.fail(f"leaves another state column {name!r} {what}")


def _rows(batch: SeriesBatch, which: slice | np.ndarray) -> SeriesBatch:
    """Return some rows of a batch, in order."""
    part = {name: getattr(batch, name)[which] for name in ("row", "offset", "event_time_ms", "value", "subgroup")}
    columns = {name: column[which] for name, column in batch.columns.items()}
    read_only(*part.values(), *columns.values())
    return SeriesBatch(**part, params=batch.params, columns=columns)


def _copied(state: Mapping[str, np.ndarray]) -> State:
    """Copy state columns as a snapshot does: to bytes and back."""
    return {
        name: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape).copy() for name, array in state.items()
    }


def _declaration(bench: _Bench) -> None:
    """Name, version, state columns, statistics and rules are what the engine can keep."""
    detector = bench.detector
    if not isinstance(detector, Detector):
        missing = [
            name
            for name in ("name", "version", "state", "statistics", "rules", "update")
            if not hasattr(detector, name)
        ]
        raise ConformanceError(bench.check, f"{detector!r} has no {', '.join(missing)}")
    if len(detector.rules) > RULES_MAX:
        raise bench.fail(f"has {len(detector.rules)} rules; a signal has {RULES_MAX} bits")
    if len({rule.name for rule in detector.rules}) != len(detector.rules):
        raise bench.fail("has two rules of one name")
    for rule in detector.rules:
        if not 0 <= rule.statistic < len(detector.statistics):
            raise bench.fail(f"has rule {rule.name} on statistic {rule.statistic}: there is none")
    for name, column in detector.state.items():
        if not isinstance(column, Column) or np.dtype(column.dtype).hasobject:
            raise bench.fail(f"declares state {name!r} as {column!r}: it must be a Column of plain numbers")


def _identity(bench: _Bench) -> None:
    """The identity is the same in another process, and another parameter is another identity."""
    detector = bench.detector
    for value in parameters(detector).values():
        try:
            json.dumps(value)
        except TypeError as error:
            raise bench.fail(f"has parameter {value!r}, which has no stable text for its identity") from error
    if identity(pickle.loads(pickle.dumps(detector))) != identity(detector):  # noqa: S301 - made on this line
        raise bench.fail("has another identity after pickling")
    if dataclasses.is_dataclass(detector):
        for other, name in _other_parameters(detector):
            if identity(other) == identity(detector):
                raise bench.fail(f"keeps its identity when {name} changes")


def _other_parameters(detector: Detector) -> Iterator[tuple[Detector, str]]:
    """Yield detectors that differ in one number each, and its name; those that the detector refuses are left out."""
    for part in dataclasses.fields(detector):  # type: ignore[arg-type]  # asked before
        value = getattr(detector, part.name)
        if part.init and isinstance(value, int | float):
            for other in (not value,) if isinstance(value, bool) else (value + 1, value / 2):
                if other == value:  # half of 0
                    continue
                try:
                    yield dataclasses.replace(detector, **{part.name: other}), part.name  # type: ignore[type-var]
                except (ValueError, TypeError):
                    continue


def _determinism(bench: _Bench) -> None:
    """The same rows give the same bits, however often and in whatever order the detector is asked."""
    batch = bench.log()
    first, second = bench.new_state(), bench.new_state()
    verdicts = bench.update(first, batch)
    bench.update(bench.new_state(), bench.log())
    bench.same("for the same rows", bench.update(second, batch), verdicts)
    bench.same_state("after the same rows", second, first)


def _batch_cuts(bench: _Bench) -> None:
    """One batch, single rows, and random pieces give the same bits."""
    batch = bench.log()
    whole = bench.new_state()
    verdicts = bench.update(whole, batch)
    cuts: list[list[int]] = [list(range(1, len(batch)))]
    cuts += [np.unique(bench.random.integers(1, len(batch), pieces)).tolist() for pieces in (1, 7, 60)]
    for cut in cuts:
        state = bench.new_state()
        bench.same(f"when the log is cut into {len(cut) + 1} batches", bench.update_in(state, batch, cut), verdicts)
        bench.same_state(f"when the log is cut into {len(cut) + 1} batches", state, whole)


def _series_do_not_leak(bench: _Bench) -> None:
    """A series alone gives the same bits as among others."""
    batch = bench.log()
    among = bench.new_state()
    verdicts = bench.update(among, batch)
    for series in range(SERIES):
        own = batch.row == series
        alone = _rows(batch, own)
        alone = dataclasses.replace(
            alone, row=np.zeros(len(alone), np.int32), params=batch.params[series : series + 1].copy()
        )
        state = bench.new_state(1)
        bench.same(
            f"for series {series} alone", bench.update(state, alone), Verdicts(*(part[own] for part in verdicts))
        )
        one = {name: array[series : series + 1] for name, array in among.items()}
        bench.same_state(f"for series {series} alone", state, one)


def _state_round_trip(bench: _Bench) -> None:
    """A state that went through bytes, or into larger arrays, goes on as if nothing had happened."""
    batch = bench.log()
    whole = bench.new_state()
    verdicts = bench.update(whole, batch)
    half = len(batch) // 2
    rest = Verdicts(*(part[half:] for part in verdicts))
    state = bench.new_state()
    bench.update(state, _rows(batch, slice(0, half)))
    restored = _copied(state)
    bench.same("from a restored state", bench.update(restored, _rows(batch, slice(half, None))), rest)
    bench.same_state("from a restored state", restored, whole)

    grown = bench.new_state(SERIES + 9)
    for name, array in grown.items():
        array[:SERIES] = state[name]
    bench.same("with room for more series", bench.update(grown, _rows(batch, slice(half, None))), rest)
    bench.same_state("with room for more series", {name: a[:SERIES] for name, a in grown.items()}, whole)
    fresh = bench.new_state(9)
    bench.same_state("of series it was not asked about", {name: a[SERIES:] for name, a in grown.items()}, fresh)


def _arguments_not_modified(bench: _Bench) -> None:
    """The batch is as it was, also where it could be written; read-only and writable give the same."""
    batch = bench.log()
    verdicts = bench.update(bench.new_state(), batch)
    writable = pickle.loads(pickle.dumps(batch))  # noqa: S301 - made on this line
    before = pickle.dumps(writable)
    again = bench.update(bench.new_state(), writable)
    if pickle.dumps(writable) != before:
        raise bench.fail("changed its batch")
    bench.same("for writable arrays", again, verdicts)


def _missing_values(bench: _Bench) -> None:
    """A missing row is not judged and changes nothing: the log without it gives the same."""
    batch = bench.log(missing=0.3)
    state = bench.new_state()
    verdicts = bench.update(state, batch)
    missing = np.isnan(batch.value) if batch.value.ndim == 1 else np.isnan(batch.value).all(axis=1)
    if verdicts.valid[missing].any():
        raise bench.fail(f"judged row {np.flatnonzero(verdicts.valid & missing)[0]}, which is missing")
    missing &= ~batch.column("excluded")  # an excluded row may end a window
    before = _copied(state)
    bench.update(state, _rows(batch, missing))
    bench.same_state("after missing rows", state, before)
    present = Verdicts(*(part[~missing] for part in verdicts))
    bench.same("without the missing rows", bench.update(bench.new_state(), _rows(batch, ~missing)), present)


def _infinity(bench: _Bench) -> None:
    """An infinite value gives verdicts of the right form, and does not reach another series."""
    batch = bench.log()
    value = batch.value.copy()
    hit = np.flatnonzero(batch.row == 0)
    value[hit[::7]], value[hit[3::7]] = np.inf, -np.inf
    clean, struck = bench.new_state(), bench.new_state()
    verdicts = bench.update(clean, batch)
    with np.errstate(all="ignore"):
        infinite = bench.update(struck, dataclasses.replace(batch, value=value))
    others = batch.row != 0
    expected = Verdicts(*(part[others] for part in verdicts))
    bench.same("for other series beside an infinite value", Verdicts(*(part[others] for part in infinite)), expected)


def _zero_sigma(bench: _Bench) -> None:
    """With sigma 0, given or learned from a series that never changes, the constant value is in control."""
    value = bench.value([10.0] * 240)
    for mu, sigma in ((10.0, 0.0), (np.nan, np.nan)):
        params = new_params(1, mu=mu, sigma=sigma, lsl=9.0, usl=11.0)
        state = bench.new_state(1)
        verdicts = bench.update(state, series_batch(value, params=params))
        if verdicts.signal.any():
            raise bench.fail(f"signals a constant value at row {np.flatnonzero(verdicts.signal)[0]} (sigma {sigma})")
        bench.update(state, series_batch(bench.value([10.0, 12.0, 10.0, 8.0]), params=params))


def _empty_batch(bench: _Bench) -> None:
    """No rows give no verdicts and change nothing, with series and without."""
    batch = bench.log()
    state = bench.new_state()
    bench.update(state, batch)
    before = _copied(state)
    bench.update(state, _rows(batch, slice(0, 0)))
    bench.same_state("after an empty batch", state, before)
    bench.update(bench.new_state(0), series_batch(bench.value([]), params=new_params(0)))


CHECKS: Mapping[str, Callable[[_Bench], None]] = {
    "declaration": _declaration,
    "identity": _identity,
    "determinism": _determinism,
    "batch cuts": _batch_cuts,
    "series do not leak": _series_do_not_leak,
    "state round trip": _state_round_trip,
    "arguments not modified": _arguments_not_modified,
    "missing values": _missing_values,
    "infinity": _infinity,
    "zero sigma": _zero_sigma,
    "empty batch": _empty_batch,
}
"""Every check by its name, in the order they run."""


def check_one(detector: Detector, check: str) -> None:
    """Run the check of this name; raise ConformanceError if the detector does not pass it."""
    CHECKS[check](_Bench(detector, check))


def check_detector(detector: Detector) -> None:
    """Run every check; raise ConformanceError that names the first one that fails, and what is wrong.

    >>> from models.cusum import Cusum
    >>> check_detector(Cusum())
    """
    for check in CHECKS:
        check_one(detector, check)
