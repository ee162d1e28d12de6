"""The built-in detectors by name, and how to make one from plain parameters, as a configuration has them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple

from models.artefact import Artefact
from models.detector import Detector


class Entry(NamedTuple):
    """Where a detector's class stands, and the parameters that its name implies."""

    module: str
    class_name: str
    implied: Mapping[str, Any] = MappingProxyType({})

    def load(self) -> Any:
        """Return the class; its module is imported now."""
        return getattr(import_module(self.module), self.class_name)


BUILTIN: Mapping[str, Entry] = MappingProxyType(
    {
        "spc.individuals": Entry("models.individuals", "IndividualsChart"),
        "spc.xbar": Entry("models.xbar", "XbarChart"),
        "spc.xbar_s": Entry("models.xbar", "XbarChart", MappingProxyType({"spread": "S"})),
        "spc.ewma": Entry("models.ewma", "Ewma"),
        "spc.cusum": Entry("models.cusum", "Cusum"),
        "spc.univariate": Entry("models.univariate", "UnivariateSet"),
        "spc.p": Entry("models.attributes", "PChart"),
        "spc.np": Entry("models.attributes", "NpChart"),
        "spc.c": Entry("models.attributes", "CChart"),
        "spc.u": Entry("models.attributes", "UChart"),
        "spc.residual": Entry("models.residual", "ResidualChart"),
        "spc.short_run": Entry("models.short_run", "ShortRunChart"),
        "capability.running": Entry("models.capability", "Capability"),
        "multivariate.hotelling_t2": Entry("models.multivariate", "HotellingT2"),
        "multivariate.mewma": Entry("models.mewma", "Mewma"),
        "multivariate.pca": Entry("models.pca", "PcaChart"),
        "anomaly.robust_z": Entry("models.anomaly", "RobustZ"),
        "anomaly.esd": Entry("models.esd", "SlidingEsd"),
        "anomaly.half_space_trees": Entry("models.half_space_trees", "HalfSpaceTrees"),
        "anomaly.isolation_forest": Entry("models.isolation_forest", "IsolationForestChart"),
        "anomaly.novelty": Entry("models.novelty", "Novelty"),
        "drift.cusum": Entry("models.drift", "LearnedCusum"),
        "drift.page_hinkley": Entry("models.page_hinkley", "PageHinkley"),
        "drift.adwin": Entry("models.adwin", "Adwin"),
        "drift.ks": Entry("models.ks", "KsDrift"),
        "drift.kswin": Entry("models.ks", "Kswin"),
        "drift.psi": Entry("models.psi", "PsiDrift"),
        "drift.mmd": Entry("models.mmd", "MmdDrift"),
        "drift.ddm": Entry("models.ddm", "Ddm"),
        "drift.hddm_a": Entry("models.hddm", "HddmA"),
        "drift.hddm_w": Entry("models.hddm", "HddmW"),
    }
)
"""Every built-in detector by its name; the part before the first dot is its family."""

ARTEFACTS = ("model", "reference")
"""Parameters that are artefacts; a configuration has their paths."""


class Parameter(NamedTuple):
    """A parameter of a detector, with its default; `required` if it has none."""

    name: str
    default: Any
    required: bool


def family_of(name: str) -> str:
    """Return the family that a detector's name says it is of.

    >>> family_of("spc.individuals")
    'spc'
    """
    return name.partition(".")[0]


def parameters_of(name: str) -> tuple[Parameter, ...]:
    """Return the parameters of a built-in detector. Raises ValueError if there is none of this name."""
    return tuple(_parameters(_entry(name)))


def make(name: str, parameters: Mapping[str, Any]) -> Detector:
    """Return a built-in detector made from plain parameters: lists become tuples, the path of an artefact its content.

    A detector that takes another one (`chart`) is given {"detector": name, "parameters": {...}} for it.

    Raises ValueError that names the detector, the parameter and what it may be.

    >>> make("spc.ewma", {"weight": 0.1, "width": 2.7})
    Ewma(weight=0.1, width=2.7, ...)
    >>> make("spc.ewma", {"lambda": 0.1})
    Traceback (most recent call last):
        ...
    ValueError: spc.ewma has no parameter 'lambda'; it has weight, width, ...
    """
    entry = _entry(name)
    known = {parameter.name: parameter for parameter in _parameters(entry)}
    for given in parameters:
        if given not in known:
            raise ValueError(f"{name} has no parameter {given!r}; it has {', '.join(known)}")
    lacking = [p.name for p in known.values() if p.required and p.name not in parameters]
    if lacking:
        raise ValueError(f"{name} needs {', '.join(lacking)}")
    taken = {given: plain(name, given, value) for given, value in parameters.items()}
    for given, value in taken.items():
        if isinstance(value, str) and isinstance(known[given].default, int | float):
            raise ValueError(f"{name}: {given} = {value!r}: a number is wanted")
    try:
        made: Detector = entry.load()(**{**entry.implied, **taken})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
    return made


def _entry(name: str) -> Entry:
    if name not in BUILTIN:
        raise ValueError(f"no detector {name!r}; there are {', '.join(sorted(BUILTIN))}")
    return BUILTIN[name]


def _parameters(entry: Entry) -> Iterator[Parameter]:
    for name, part in inspect.signature(entry.load()).parameters.items():
        if name not in entry.implied:
            required = part.default is inspect.Parameter.empty
            yield Parameter(name, None if required else part.default, required)


def plain(name: str, given: str, value: Any) -> Any:
    """Return a parameter as a detector takes it: see `make`. Raises ValueError."""
    if isinstance(value, list):
        return tuple(plain(name, given, each) for each in value)
    if isinstance(value, Mapping) and "detector" in value:  # a chart inside a chart, e.g. of residuals
        return make(value["detector"], value.get("parameters", {}))
    if given in ARTEFACTS and isinstance(value, str):
        try:
            return Artefact.load(value)
        except (OSError, ValueError) as error:
            raise ValueError(f"{name}: {given} = {value!r}: {error}") from error
    return value
