"""One parameter of a sweep: its values or its range, in the words of W&B."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from hierfit.config.schema import Place, nearest

if TYPE_CHECKING:
    import optuna

_RANGES = ("min", "max")
# The keys that each distribution has beside its name; those in brackets may be left out.
_KEYS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "int_uniform": _RANGES,
    "uniform": _RANGES,
    "q_uniform": (*_RANGES, "q"),
    "log_uniform": _RANGES,
    "log_uniform_values": _RANGES,
    "q_log_uniform": (*_RANGES, "q"),
    "q_log_uniform_values": (*_RANGES, "q"),
    "normal": ("mu", "sigma"),
    "log_normal": ("mu", "sigma"),
    "q_normal": ("mu", "sigma", "q"),
    "q_log_normal": ("mu", "sigma", "q"),
}
_UNWEIGHTED = "every value is as likely here; write values without probabilities"
_NOT_HERE = {
    "beta": "write uniform or normal",
    "q_beta": "write q_uniform or q_normal",
    "inv_log_uniform": "write log_uniform, with the negative of max for min and of min for max",
    "inv_log_uniform_values": "write log_uniform_values, which draws the same",
    "categorical_w_probabilities": _UNWEIGHTED,
}
_DEFAULTS: dict[str, float] = {"q": 1, "mu": 0.0, "sigma": 1.0}
_MOST_CHOICES = 10_000
_LEAST = 1e-6  # quantile


@dataclass(frozen=True)
class Parameter:
    """A parameter.

    Attributes:
        distribution: W&B's name of it.
        numbers: Its numbers by name: ``min``, ``max``, ``q``, ``mu``, ``sigma``.
        choices: All values it can have, where these can be counted.
    """

    distribution: str
    numbers: Mapping[str, float]
    choices: tuple[Any, ...] | None = None

    def __str__(self) -> str:
        if self.values_alone:
            return ", ".join(map(str, self.choices or ()))
        return f"{self.distribution} " + ", ".join(f"{name} {number:g}" for name, number in self.numbers.items())

    @property
    def values_alone(self) -> bool:
        """Whether it has a list of values rather than a range."""
        return self.distribution in ("constant", "categorical")

    def raw_name(self, name: str) -> str:
        """Its name in a study, where what is drawn under one name must stay comparable when the file changes."""
        return f"{name}: {self if self.values_alone or 'mu' in self.numbers else self.distribution}"

    def space(self) -> optuna.distributions.BaseDistribution:
        """What a study draws in its place."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.values_alone:
            # By number: optuna compares choices, and lists and mappings are choices too.
            return CategoricalDistribution(range(len(self.choices or ())))
        if "mu" in self.numbers:
            return FloatDistribution(_LEAST, 1 - _LEAST)  # searched along its quantiles, which are uniform
        low, high = self._ends()
        if self.distribution == "int_uniform":
            return IntDistribution(int(low), int(high))
        return FloatDistribution(low, high, log="log" in self.distribution)

    def value(self, raw: Any) -> Any:
        """The value that something drawn stands for."""
        if self.values_alone:
            assert self.choices is not None
            return self.choices[raw]
        if "mu" in self.numbers:
            raw = NormalDist(self.numbers["mu"], self.numbers["sigma"]).inv_cdf(raw)
            raw = math.exp(raw) if "log" in self.distribution else raw
        return self._rounded(raw)

    def raw(self, value: Any) -> Any:
        """What stands for a value; the inverse of `value`. None where it cannot have this value."""
        if self.values_alone:
            assert self.choices is not None
            return self.choices.index(value) if value in self.choices else None
        if not isinstance(value, int | float):
            return None
        if "mu" in self.numbers:
            if "log" in self.distribution:
                value = math.log(value) if value > 0 else -math.inf
            quantile = NormalDist(self.numbers["mu"], self.numbers["sigma"]).cdf(value)
            return min(max(quantile, _LEAST), 1 - _LEAST)
        low, high = self._ends()
        step = self.numbers.get("q", 0) / 2
        return min(max(value, low), high) if low - step <= value <= high + step else None

    def probes(self) -> tuple[Any, ...]:
        """Values that show whether all are allowed: each of a few, or both ends of a range."""
        if self.choices is not None and self.distribution != "int_uniform":
            return self.choices
        return (self.value(0.5),) if "mu" in self.numbers else tuple(map(self._rounded, self._ends()))

    def _ends(self) -> tuple[float, float]:
        low, high = self.numbers["min"], self.numbers["max"]
        exponents = self.distribution in ("log_uniform", "q_log_uniform")
        return (math.exp(low), math.exp(high)) if exponents else (low, high)

    def _rounded(self, value: float) -> float:
        if "q" not in self.numbers:
            return int(value) if self.distribution == "int_uniform" else value
        q = self.numbers["q"]
        rounded = round(value / q) * q
        return int(rounded) if float(q).is_integer() else float(f"{rounded:.12g}")


def read_parameter(value: object, place: Place, problems: list[str]) -> Parameter | None:
    """A parameter of a file; every fault is added to ``problems``."""
    before = len(problems)
    if not isinstance(value, Mapping):
        problems.append(f"{place}: expected values: […], or min: and max:")
        return None
    if "parameters" in value:
        problems.append(f"{place}: nested parameters reach no key; write the key in one word, as model.lr")
        return None
    given = {str(key): entry for key, entry in value.items()}
    name = given.pop("distribution", None) or _implied(given)
    if name is None:
        problems.append(f"{place}: expected value, values, or min and max{_similar(given)}")
        return None
    if name not in _KEYS:
        why = f"; {_NOT_HERE[name]}" if name in _NOT_HERE else nearest(str(name), _KEYS)
        problems.append(f"{place.at('distribution')}: {name!r} is not searched here{why}")
        return None
    if "probabilities" in given:
        problems.append(f"{place.at('probabilities')}: {_UNWEIGHTED}")
        return None
    wanted = _KEYS[name]
    problems += [f"{place.at(key)}: {name} has no such key{nearest(key, wanted)}" for key in given if key not in wanted]
    problems += [f"{place}: {name} needs {key}" for key in wanted if key not in given and key not in _DEFAULTS]
    if len(problems) > before:
        return None
    if name in ("constant", "categorical"):
        return _of_values(name, given, place, problems)
    numbers = {**{key: _DEFAULTS[key] for key in wanted if key in _DEFAULTS}, **given}
    problems += _number_faults(name, numbers, place)
    if len(problems) > before:
        return None
    return Parameter(name, numbers, _countable(name, numbers))


def _implied(given: Mapping[str, Any]) -> str | None:
    """The distribution that W&B takes where none is named."""
    if "value" in given:
        return "constant"
    if "values" in given:
        return "categorical"
    if "min" in given or "max" in given:
        whole = all(type(given[key]) is int for key in _RANGES if key in given)
        return "int_uniform" if whole else "uniform"
    return None


def _similar(given: Mapping[str, Any]) -> str:
    known = ("value", "values", "min", "max", "distribution")
    return "".join(f"; {key}: unknown key{nearest(key, known)}" for key in given)


def _of_values(name: str, given: Mapping[str, Any], place: Place, problems: list[str]) -> Parameter | None:
    values = given["values"] if name == "categorical" else [given["value"]]
    if not isinstance(values, list) or not values:
        problems.append(f"{place.at('values')}: expected a list of at least one value")
        return None
    if any(_holds_null(value) for value in values):
        # W&B writes Python's None on the command line, which there is a word like any other.
        problems.append(f"{place}: null cannot be handed over on a command line; leave it to a configuration file")
        return None
    if twice := [value for i, value in enumerate(values) if value in values[:i]]:
        problems.append(f"{place.at('values')}: {twice[0]!r} is given twice")
        return None
    return Parameter(name, {}, tuple(values))


def _holds_null(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_null, value.values()))
    return any(map(_holds_null, value)) if isinstance(value, list) else value is None


def _number_faults(name: str, numbers: Mapping[str, Any], place: Place) -> list[str]:
    wanted = (int,) if name == "int_uniform" else (int, float)
    faults = []
    for key, number in numbers.items():
        if type(number) not in wanted or not math.isfinite(number):
            word = "a whole number" if wanted == (int,) else "a number"
            faults.append(f"{place.at(key)}: expected {word}, got {number!r}{_as_yaml(number)}")
    if faults:
        return faults
    if "min" in numbers and not numbers["min"] < numbers["max"]:
        faults.append(f"{place}: min is {numbers['min']:g}, which is not below max, {numbers['max']:g}")
    if name.endswith("log_uniform_values") and numbers["min"] <= 0:
        faults.append(f"{place.at('min')}: {numbers['min']:g}, must be above 0 for a logarithmic range")
    if name.endswith("log_uniform") and numbers["max"] > 100:
        faults.append(f"{place}: {name} takes exponents of e; {name}_values takes the values themselves")
    faults += [
        f"{place.at(key)}: {numbers[key]:g}, must be above 0" for key in ("q", "sigma") if numbers.get(key, 1) <= 0
    ]
    return faults


def _as_yaml(number: object) -> str:
    """What to write where YAML takes a number in exponents for text."""
    try:
        value = float(number) if isinstance(number, str) else math.nan
    except ValueError:
        return ""
    if not math.isfinite(value):
        return ""
    digits, e, exponent = f"{value:g}".partition("e")
    return f"; YAML reads that as text, write {digits if '.' in digits or not e else digits + '.0'}{e}{exponent}"


def _countable(name: str, numbers: Mapping[str, Any]) -> tuple[Any, ...] | None:
    if name == "int_uniform" and numbers["max"] - numbers["min"] < _MOST_CHOICES:
        return tuple(range(numbers["min"], numbers["max"] + 1))
    if name == "q_uniform" and (numbers["max"] - numbers["min"]) / numbers["q"] < _MOST_CHOICES:
        first, last = (round(numbers[key] / numbers["q"]) for key in _RANGES)
        whole = float(numbers["q"]).is_integer()
        steps = [step * numbers["q"] for step in range(first, last + 1)]
        return tuple(int(step) if whole else float(f"{step:.12g}") for step in steps)
    return None
