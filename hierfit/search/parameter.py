"""One parameter of a sweep: its values or its range, in the words of W&B."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from hierfit.config.schema import Place, advice
from hierfit.errors import nearest

if TYPE_CHECKING:
    import optuna

_RANGE, _BELL = ("min", "max"), ("mu", "sigma")
_SMOOTH = {
    **dict.fromkeys(("uniform", "log_uniform", "log_uniform_values"), _RANGE),
    **dict.fromkeys(("normal", "log_normal"), _BELL),
}
# The keys that each distribution has beside its name.
_KEYS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "int_uniform": _RANGE,
    **_SMOOTH,
    **{f"q_{name}": (*keys, "q") for name, keys in _SMOOTH.items()},
}
_DEFAULTS: dict[str, float] = {"q": 1, "mu": 0.0, "sigma": 1.0}
_UNWEIGHTED = "every value is as likely here; write values without probabilities"
_NOT_HERE = {
    "beta": "write uniform or normal",
    "q_beta": "write q_uniform or q_normal",
    "inv_log_uniform": "write log_uniform, with the negative of max for min and of min for max",
    "inv_log_uniform_values": "write log_uniform_values, which draws the same",
    "categorical_w_probabilities": _UNWEIGHTED,
}
_MOST_CHOICES = 10_000
_LEAST = 1e-6  # quantile


@dataclass(frozen=True)
class Parameter:
    """A parameter: W&B's name of its distribution with its numbers, or its values where these can be counted."""

    distribution: str
    numbers: Mapping[str, float]
    choices: tuple[Any, ...] = ()

    @classmethod
    def from_yaml(cls, value: object, place: Place, problems: list[str]) -> Parameter | None:
        """A parameter of a file; every fault is added to ``problems``."""
        before = len(problems)
        if not isinstance(value, Mapping):
            problems.append(f"{place}: expected values: […], or min: and max:")
            return None
        given = {str(key): entry for key, entry in value.items()}
        name: Any = given.pop("distribution", None) or _implied(given)
        if "parameters" in given:
            problems.append(f"{place}: nested parameters reach no key; write the key in one word, as model.lr")
        elif name is None:
            known = ("value", "values", "min", "max", "distribution")
            similar = "".join(f"; {key}: unknown key{nearest(key, known)}" for key in given)
            problems.append(f"{place}: expected value, values, or min and max{similar}")
        elif name not in _KEYS:
            why = f"; {_NOT_HERE[name]}" if name in _NOT_HERE else nearest(str(name), _KEYS)
            problems.append(f"{place.at('distribution')}: {name!r} is not searched here{why}")
        elif "probabilities" in given:
            problems.append(f"{place.at('probabilities')}: {_UNWEIGHTED}")
        else:
            keys = _KEYS[name]
            problems += [
                f"{place.at(key)}: {name} has no such key{nearest(key, keys)}" for key in given if key not in keys
            ]
            problems += [f"{place}: {name} needs {key}" for key in keys if key not in given and key not in _DEFAULTS]
        if len(problems) > before:
            return None
        if name in ("constant", "categorical"):
            values = [given["value"]] if name == "constant" else given["values"]
            problems += _value_faults(values, place)
            return cls(name, {}, tuple(values)) if len(problems) == before else None
        numbers = {**{key: _DEFAULTS[key] for key in _KEYS[name] if key in _DEFAULTS}, **given}
        problems += _number_faults(name, numbers, place)
        return cls(name, numbers, _countable(name, numbers)) if len(problems) == before else None

    def __str__(self) -> str:
        if not self.numbers:
            return ", ".join(map(str, self.choices))
        return f"{self.distribution} " + ", ".join(f"{name} {number:g}" for name, number in self.numbers.items())

    @property
    def varies(self) -> bool:
        """Whether there is anything to search."""
        return self.distribution != "constant"

    def raw_name(self, name: str) -> str:
        """Its name in a study, where what is drawn under one name must stay comparable when the file changes."""
        return f"{name}: {self.distribution if 'min' in self.numbers else self}"

    def space(self) -> optuna.distributions.BaseDistribution:
        """What a study draws in its place: the number of a choice, a quantile, or a value not yet rounded."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if not self.numbers:  # by number, since optuna has no lists and mappings
            return CategoricalDistribution(range(len(self.choices)))
        if self._bell:
            return FloatDistribution(_LEAST, 1 - _LEAST)
        low, high = self._ends
        if self.distribution == "int_uniform":
            return IntDistribution(int(low), int(high))
        return FloatDistribution(low, high, log=self._log)

    def value(self, raw: Any) -> Any:
        """The value that something drawn stands for."""
        if not self.numbers:
            return self.choices[raw]
        if self._bell:
            raw = self._bell.inv_cdf(raw)
            raw = math.exp(raw) if self._log else raw
        if "q" in self.numbers:
            q = self.numbers["q"]
            return _multiple(round(raw / q), q)
        return int(raw) if self.distribution == "int_uniform" else raw

    def raw(self, value: Any) -> Any:
        """What stands for a value; the inverse of `value`. None where it cannot have this value."""
        if not self.numbers:
            return self.choices.index(value) if value in self.choices else None
        if not isinstance(value, int | float):
            return None
        if self._bell:
            if self._log:
                value = math.log(value) if value > 0 else -math.inf
            return min(max(self._bell.cdf(value), _LEAST), 1 - _LEAST)
        low, high = self._ends
        step = self.numbers.get("q", 0) / 2
        return min(max(value, low), high) if low - step <= value <= high + step else None

    def probes(self) -> tuple[Any, ...]:
        """Values that show whether all are allowed: each of a few, or both ends of a range."""
        if self.choices and self.distribution != "int_uniform":
            return self.choices
        return tuple(self.value(raw) for raw in ((0.5,) if self._bell else self._ends))

    @property
    def _log(self) -> bool:
        return "log" in self.distribution

    @property
    def _bell(self) -> NormalDist | None:
        return NormalDist(self.numbers["mu"], self.numbers["sigma"]) if "mu" in self.numbers else None

    @property
    def _ends(self) -> tuple[float, float]:
        low, high = self.numbers["min"], self.numbers["max"]
        return (math.exp(low), math.exp(high)) if self.distribution.endswith("log_uniform") else (low, high)


def _implied(given: Mapping[str, Any]) -> str | None:
    """The distribution that W&B takes where none is named."""
    if "value" in given or "values" in given:
        return "constant" if "value" in given else "categorical"
    ends = [given[key] for key in _RANGE if key in given]
    return None if not ends else "int_uniform" if all(type(end) is int for end in ends) else "uniform"


def _value_faults(values: object, place: Place) -> list[str]:
    if not isinstance(values, list) or not values:
        return [f"{place.at('values')}: expected a list of at least one value"]
    if any(map(_holds_null, values)):
        # W&B writes Python's None on the command line, which there is a word like any other.
        return [f"{place}: null cannot be handed over on a command line; leave it to a configuration file"]
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    return [f"{place.at('values')}: {twice[0]!r} is given twice"] if twice else []


def _holds_null(value: object) -> bool:
    if isinstance(value, Mapping | list):
        return any(map(_holds_null, value.values() if isinstance(value, Mapping) else value))
    return value is None


def _number_faults(name: str, numbers: Mapping[str, Any], place: Place) -> list[str]:
    kinds, word = ((int,), "a whole number") if name == "int_uniform" else ((int, float), "a number")
    faults = [
        f"{place.at(key)}: expected {word}, got {number!r}{advice(float, number)}"
        for key, number in numbers.items()
        if type(number) not in kinds or not math.isfinite(number)
    ]
    if faults:
        return faults
    if "min" in numbers and not numbers["min"] < numbers["max"]:
        faults.append(f"{place}: min is {numbers['min']:g}, which is not below max, {numbers['max']:g}")
    if name.endswith("log_uniform_values") and numbers["min"] <= 0:
        faults.append(f"{place.at('min')}: {numbers['min']:g}, must be above 0 for a logarithmic range")
    if name.endswith("log_uniform") and numbers["max"] > 100:
        faults.append(f"{place}: {name} takes exponents of e; {name}_values takes the values themselves")
    positive = [key for key in ("q", "sigma") if numbers.get(key, 1) <= 0]
    return [*faults, *(f"{place.at(key)}: {numbers[key]:g}, must be above 0" for key in positive)]


def _countable(name: str, numbers: Mapping[str, Any]) -> tuple[Any, ...]:
    q = numbers.get("q", 1)
    if name not in ("int_uniform", "q_uniform") or (numbers["max"] - numbers["min"]) / q >= _MOST_CHOICES:
        return ()
    first, last = (round(numbers[key] / q) for key in _RANGE)
    return tuple(_multiple(count, q) for count in range(first, last + 1))


def _multiple(count: int, q: float) -> float:
    """``count·q`` without what rounding left of it."""
    return int(count * q) if float(q).is_integer() else float(f"{count * q:.12g}")
