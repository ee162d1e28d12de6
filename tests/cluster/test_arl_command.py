"""`chipquality arl`: what it prints, what it refuses, and that it starts fast."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster import cli

runner = CliRunner()


def said(*arguments: str) -> dict[str, Any]:
    result = runner.invoke(cli.app, ["arl", *arguments, "--output", "json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_cusum() -> None:
    found = said("cusum", "--k", "0.5", "--h", "5", "--shift", "1")
    assert found.pop("arl") == pytest.approx(10.37597, rel=1e-6)
    assert found == {"chart": "cusum", "k": 0.5, "h": 5.0, "headstart": 0.0, "sides": 2, "shift": 1.0}


def test_cusum_one_sided_and_with_a_headstart() -> None:
    assert said("cusum", "--k", "0.5", "--h", "5", "--one-sided")["arl"] == pytest.approx(930.88701, rel=1e-7)
    started = said("cusum", "--k", "0.5", "--h", "4", "--headstart", "0.5", "--shift", "-1")
    assert started["arl"] == pytest.approx(5.28689, rel=1e-5)


def test_ewma() -> None:
    found = said("ewma", "--lambda", "0.2", "--limit", "2.962", "--shift", "1")
    assert found.pop("arl") == pytest.approx(10.54167, rel=1e-6)
    assert found == {"chart": "ewma", "lambda": 0.2, "limit": 2.962, "time_varying": False, "shift": 1.0}
    widening = said("ewma", "--lambda", "0.2", "--limit", "2.962", "--shift", "1", "--time-varying")
    assert widening["arl"] == pytest.approx(9.55449, rel=1e-6)


@pytest.mark.slow
def test_shewhart() -> None:
    found = said("shewhart", "--rules", "1,2,5,6", "--shift", "0")
    assert found.pop("arl") == pytest.approx(109.0493, rel=1e-6)
    assert found == {
        "chart": "shewhart",
        "rules": ["nelson_1", "nelson_2", "nelson_5", "nelson_6"],
        "any_side": False,
        "shift": 0.0,
    }
    for rules in ("western-electric", "we1,we2,we3,we4"):
        assert said("shewhart", "--rules", rules)["arl"] == pytest.approx(91.7508, rel=1e-6)
    assert said("shewhart", "--rules", "nelson")["arl"] == pytest.approx(73.47995, rel=1e-6)
    assert said("shewhart")["arl"] == pytest.approx(370.39835, rel=1e-7)


def test_searching_the_limit() -> None:
    cusum = said("cusum", "--arl0", "465.44351", "--shift", "1")
    assert (cusum["k"], cusum["arl0"]) == (0.5, 465.44351)
    assert (cusum["h"], cusum["arl"]) == pytest.approx((5.0, 10.37597), rel=1e-6)
    started = said("cusum", "--arl0", "430.39084", "--k", "0.5", "--headstart", "0.5", "--shift", "1")
    assert (started["h"], started["headstart"], started["arl"]) == pytest.approx((5.0, 0.5, 6.34685), rel=1e-6)
    ewma = said("ewma", "--lambda", "0.2", "--arl0", "494.38565", "--time-varying")
    assert (ewma["limit"], ewma["arl"]) == pytest.approx((2.962, 494.38565), rel=1e-6)


def test_searching_the_weight_too() -> None:
    best = said("ewma", "--arl0", "500", "--shift", "1")
    assert (best["lambda"], best["limit"]) == pytest.approx((0.134, 2.883), abs=2e-3)
    assert best["arl"] < said("ewma", "--arl0", "500", "--shift", "1", "--lambda", "0.2")["arl"]


@pytest.mark.slow
def test_text_is_one_clear_line() -> None:
    lines = [
        runner.invoke(cli.app, ["arl", *arguments.split()]).output
        for arguments in (
            "cusum --k 0.5 --h 5 --shift 1",
            "ewma --lambda 0.1 --limit 2.814 --time-varying",
            "shewhart --rules we1,8",
        )
    ]
    assert lines == [
        "CUSUM (k 0.5, h 5, headstart 0, sides 2): ARL 10.376 at a shift of 1 sigma\n",
        "EWMA (lambda 0.1, limit 2.814, time_varying yes): ARL 486.429 at a shift of 0 sigma\n",
        "Shewhart (rules western_electric_1 nelson_8): ARL 361.642 at a shift of 0 sigma\n",
    ]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("cusum --k -1 --h 5", "k = -1"),
        ("cusum --k 0.5 --h 5 --shift nan", "shift = nan"),
        ("cusum --k 0.5", "--h"),
        ("cusum --k 0.5 --h 5 --arl0 500", "--h 5 or --arl0"),
        ("cusum --arl0 500", "shift = 0"),
        ("cusum --k 0.5 --h 5 --headstart 9", "headstart = 9"),
        ("ewma --lambda 0 --limit 3", "weight = 0"),
        ("ewma --lambda 1.5 --limit 3", "weight = 1.5"),
        ("ewma --lambda 0.2 --limit -3", "width = -3"),
        ("ewma --lambda 0.2", "--limit"),
        ("ewma --limit 3", "--lambda"),
        ("ewma --arl0 500", "shift = 0"),
        ("ewma --lambda 0.2 --limit 3 --arl0 500", "--limit 3 or --arl0"),
        ("shewhart --rules 1,9", "'9'"),
        ("shewhart --shift inf", "shift = inf"),
    ],
)
def test_what_has_no_meaning_is_one_line_and_exit_code_2(arguments: str, named: str) -> None:
    result = runner.invoke(cli.app, ["arl", *arguments.split()])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert named in result.stderr


@pytest.mark.processes
def test_it_starts_without_ray() -> None:
    script = (
        "import sys; from cluster.cli import app; app(['arl', 'cusum', '--k', '.5', '--h', '5'], standalone_mode=False); "
        "print(sorted(sys.modules.keys() & {'ray', 'pandas', 'sklearn', 'fastapi', 'matplotlib'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
