"""Novelty against its definition, its bounded memory, its rising limit, and the benchmark that reads its alarms."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import judge
from models.detector import new_params, new_state, series_batch
from models.novelty import Novelty
from tests import naive
from tests.bench import nab as bench

coarse = st.integers(-20, 20).map(lambda steps: steps / 4)
fine = st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 6))
usual = settings(max_examples=50)


@usual
@given(st.lists(coarse | fine, max_size=70), st.sampled_from([0.05, 0.5, 1.0]), st.sampled_from([2, 9, 20]))
def test_surprise_is_the_conformal_p_value(values: list[float], weight: float, min_rows: int) -> None:
    v = judge(Novelty(threshold=1.2, weight=weight, min_rows=min_rows), values)
    assert v.valid.tolist() == [i >= min_rows for i in range(len(values))]
    expected = naive.novelty(values, weight, min_rows)[min_rows:]
    np.testing.assert_allclose(v.statistic[min_rows:], np.array(expected).reshape(-1, 2), rtol=1e-12)
    assert np.isnan(v.lcl).all()


@usual
@given(st.lists(fine, min_size=30, max_size=60), st.integers(0, 9), st.sampled_from([0.0, 0.4]))
def test_limit_rises_with_rows_and_with_alarms(values: list[float], refractory: int, fatigue: float) -> None:
    detector = Novelty(threshold=1.5, refractory=refractory, fatigue=fatigue, recovery_rows=20, min_rows=8)
    v = judge(detector, values)
    silent, tired = 0, 0.0
    for i in range(8, len(values)):
        tired *= np.exp(-1 / 20)
        limit = 1.5 + 0.5 * np.log10((i + 1) / 1000) + tired
        assert v.ucl[i] == pytest.approx([limit, limit])
        new = int(v.statistic[i, 0] > max(0.0, limit)) + 2 * int(v.statistic[i, 1] > max(0.0, limit))
        assert v.signal[i] == (0 if silent else new)
        silent = max(0, silent - 1)
        if v.signal[i]:
            silent, tired = refractory, tired + fatigue


@usual
@given(st.lists(coarse | fine, min_size=1, max_size=60), st.integers(3, 8), st.integers(1, 8))
def test_memory_is_bounded_and_keeps_the_extremes(values: list[float], memory: int, tail: int) -> None:
    detector = Novelty(min_rows=2, memory=memory, tail=tail, weight=1.0)
    state = new_state(detector, 1)
    v = detector.update(state, series_batch(values))
    held, kept = state["held"][0], state["kept"][0]
    seen, distances = state["seen"][0, 0, : held[0]], state["distances"][0, 0, : kept[0]]
    assert set(seen.tolist()) <= set(values)
    assert held[0] == min(memory, len(set(values)))
    assert (seen[0], seen[-1]) == (min(values), max(values))
    assert (np.diff(seen) > 0).all()
    assert (np.diff(distances) >= 0).all()
    exact = judge(Novelty(min_rows=2, weight=1.0), values)
    if len(values) <= min(memory, tail):
        np.testing.assert_array_equal(v.statistic, exact.statistic)


def test_what_was_seen_once_is_known_and_a_gap_is_as_new_as_a_maximum() -> None:
    modes = np.tile([1.0, 1.25, 9.0, 9.25], 50)
    v = judge(Novelty(refractory=0, fatigue=0.0), [*modes, 5.0, 5.0, 12.0])
    assert (v.signal[200:] & 1).tolist() == [1, 0, 1]
    assert not v.signal[:200].any()


def test_a_level_that_never_was_is_new_although_its_values_are_known() -> None:
    """Noise about a day's cycle; then half a day's values stay. Each value is known, their average is not."""
    random = np.random.default_rng(8)
    cycle = np.round(10 * np.sin(np.arange(3000) * 2 * np.pi / 50) + random.normal(0, 1, 3000), 1)
    v = judge(Novelty(), [*cycle, *np.round(random.normal(9.0, 1.0, 60), 1)])
    late = np.flatnonzero(v.signal[3000:])
    assert late.size == 1
    assert v.signal[3000 + late[0]] == 2


@pytest.mark.compiled_only
def test_false_alarms_grow_with_the_square_root_of_the_rows() -> None:
    """The figures of the docstring: ten times the rows have about three times the alarms."""
    random = np.random.default_rng(0)
    alarms = {
        n: np.mean([np.count_nonzero(judge(Novelty(), random.normal(0.0, 1.0, n)).signal) for _ in range(30)])
        for n in (1_000, 10_000)
    }
    assert alarms[1_000] == pytest.approx(2.9, abs=0.8)
    assert alarms[10_000] == pytest.approx(8.9, abs=1.3)


def test_excluded_and_missing_rows_are_as_if_they_were_not_there() -> None:
    values = np.random.default_rng(2).normal(0.0, 1.0, 400)
    excluded = np.random.default_rng(3).random(400) < 0.2
    values[::17] = np.nan
    v = judge(Novelty(threshold=1.0), values, excluded=excluded)
    there = ~excluded & ~np.isnan(values)
    for part, expected in zip(v, judge(Novelty(threshold=1.0), values[there]), strict=True):
        np.testing.assert_array_equal(part[there], expected)
    assert not v.valid[~there].any()


@pytest.mark.parametrize(("counter", "forgets"), [("resets", True), ("limits_version", False), ("exclusions", False)])
def test_a_reset_forgets_everything(counter: str, forgets: bool) -> None:
    values = np.random.default_rng(4).normal(0.0, 1.0, 300)
    detector = Novelty(threshold=1.0)
    state, params = new_state(detector, 1), new_params(1)
    detector.update(state, series_batch(values))
    params[counter] = 1
    again = detector.update(state, series_batch(values, params=params))
    assert (again.valid.sum() == 200) == forgets
    if forgets:
        np.testing.assert_array_equal(again.statistic, judge(detector, values).statistic)


def test_huge_values_do_not_break_the_level() -> None:
    v = judge(Novelty(min_rows=2), [1.0, 2.0, 1e308, -1e308, 1e308, 3.0, 2.0])
    assert np.isfinite(v.statistic[v.valid]).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 0.0), ("threshold", float("nan")), ("weight", 0.0), ("weight", 1.5), ("fatigue", -0.1),
        ("recovery_rows", 0), ("min_rows", 1), ("memory", 2), ("tail", 0), ("refractory", -3),
    ],
)  # fmt: skip
def test_parameters_without_meaning_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} = {value}"):
        Novelty(**{name: value})  # type: ignore[arg-type]


def test_benchmark_reads_a_folder_and_prints_its_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file with a spike in its window, and one without windows: 100 less what a late alarm costs."""
    random = np.random.default_rng(6)
    (tmp_path / "data" / "made").mkdir(parents=True)
    stamps = [f"2024-01-{1 + i // 24:02} {i % 24:02}:00:00" for i in range(700)]
    for name, spike in (("spike", 50.0), ("plain", 0.0)):
        values = np.round(random.normal(0.0, 1.0, 700), 1)
        values[500] += spike
        lines = ["timestamp,value", *(f"{time},{value}" for time, value in zip(stamps, values, strict=True))]
        (tmp_path / "data" / "made" / f"{name}.csv").write_text("\n".join(lines))
    window = [stamps[495] + ".000000", stamps[520] + ".000000"]
    labels = {"made/spike.csv": [window], "made/plain.csv": [], "made/elsewhere.csv": [window]}
    (tmp_path / "windows.json").write_text(json.dumps(labels))
    bench.main([str(tmp_path), "--output", "json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["files"]["made/spike.csv"]["found"] == 1
    worth = (2 / (1 + np.exp(-5 * 21 / 26)) - 1) / (2 / (1 + np.exp(-5)) - 1)
    alarms = sum(file["false_alarms"] for file in printed["files"].values())
    assert printed["score"]["standard"] == pytest.approx(100 * (worth - 0.11 * alarms + 1) / 2, abs=1.0)
    bench.main([str(tmp_path), "--detector", "esd"])
    assert "reward_low_FP_rate" in capsys.readouterr().out
    (tmp_path / "labels").mkdir()
    (tmp_path / "windows.json").rename(tmp_path / "labels" / "combined_windows.json")
    bench.main([str(tmp_path), "--output", "json"])
    assert json.loads(capsys.readouterr().out) == printed
