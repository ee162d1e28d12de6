"""Detectors by name: every one is what its name says, and what cannot be made is refused with what can."""

from pathlib import Path

import pytest

import models
from models.catalogue import BUILTIN, family_of, make, parameters_of
from models.detector import Detector, parameters
from models.ewma import Ewma
from tests.models.catalogue import DETECTORS


def is_called(detector: Detector, name: str) -> bool:
    """A chart of residuals is called spc.residual.<chart>, for instance."""
    return detector.name == name or detector.name.startswith(f"{name}.")


@pytest.mark.parametrize("name", BUILTIN)
def test_a_name_is_that_of_its_detector(name: str) -> None:
    found = [detector for detector in DETECTORS if is_called(detector, name)]
    assert found, "the conformance suite does not go through it"
    assert isinstance(found[0], BUILTIN[name].load())
    if not any(parameter.required for parameter in parameters_of(name)):
        assert is_called(make(name, {}), name)


def test_every_detector_of_the_conformance_suite_has_a_name_here() -> None:
    assert [d.name for d in DETECTORS if not any(is_called(d, name) for name in BUILTIN)] == []


def test_parameters_are_plain() -> None:
    made: Detector = make("spc.individuals", {"nelson": [1, 5], "phase_one_rows": 20})
    assert made == BUILTIN["spc.individuals"].load()(20, nelson=(1, 5))
    assert make("spc.ewma", {}) == Ewma()
    assert make("spc.xbar_s", {}).statistics == ("xbar", "S")
    assert "spread" not in [parameter.name for parameter in parameters_of("spc.xbar_s")]
    assert family_of("anomaly.robust_z") == "anomaly"


def test_a_chart_inside_a_chart() -> None:
    made = make("spc.residual", {"phi": 0.5, "chart": {"detector": "spc.cusum", "parameters": {"k": 0.25}}})
    assert made.name == "spc.residual.cusum"
    parts = make("spc.short_run", {"scale": "part", "parts": [[50.0, 0.4], [25.0, 0.1]]})
    assert parameters(parts)["parts"] == ((25.0, 0.1), (50.0, 0.4))


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("spc.magic", {}, "no detector 'spc.magic'; there are .*spc.ewma"),
        ("spc.ewma", {"lambda": 0.1}, "no parameter 'lambda'; it has weight, width"),
        ("spc.ewma", {"weight": 2.0}, "spc.ewma: weight = 2.0"),
        ("spc.ewma", {"weight": "x"}, "spc.ewma: weight = 'x': a number is wanted"),
    ],
)
def test_what_cannot_be_made_is_refused(name: str, given: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make(name, given)


def test_the_map_of_the_package_names_every_module() -> None:
    folder = Path(models.__file__).parent
    said = models.__doc__ or ""
    names = [file.name for file in folder.glob("*.py") if file.name != "__init__.py"]
    assert [name for name in sorted(names) if name not in said and name.removesuffix(".py") not in said] == []
