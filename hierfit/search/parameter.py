"""One parameter of a sweep: its values or its range, in the words of W&B."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Any

from annotated_types import Gt, Lt
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hierfit.config.schema import Place, as_type
from hierfit.errors import nearest

_DEFAULTS: dict[str, float] = {"q": 1, "mu": 0.0, "sigma": 1.0}
_KEYS: dict[str, tuple[str, ...]] = {
    **{"constant": ("value",), "categorical": ("values",), "int_uniform": ("min", "max")},
    **dict.fromkeys(("uniform", "log_uniform", "log_uniform_values"), ("min", "max")),
    **dict.fromkeys(("q_uniform", "q_log_uniform", "q_log_uniform_values"), ("min", "max", "q")),
    **{"normal": ("mu", "sigma"), "log_normal": ("mu", "sigma")},
    **{"q_normal": ("mu", "sigma", "q"), "q_log_normal": ("mu", "sigma", "q")},
}
_MOST_CHOICES = 10_000
_MARGIN = 1e-6  # of quantiles


@dataclass(frozen=True)
class Parameter:
    """A parameter under W&B's name of its distribution.

    Attributes:
        distribution: Its name.
        space: What a study draws in its place: the number of a choice, a quantile, or a value not yet rounded.
        choices: All values, where these can be counted.
        bell: What quantiles are of.
        q: Values are multiples of it, if it is not 0.
    """

    distribution: str
    space: Any
    choices: tuple[Any, ...] = ()
    bell: NormalDist | None = None
    q: float = 0

    @classmethod
    def from_yaml(cls, value: object, place: Place, problems: list[str]) -> Parameter | None:
        """A parameter of a file; every fault is added to ``problems``."""
        given = {str(key): entry for key, entry in value.items()} if isinstance(value, Mapping) else {}
        name = given.pop("distribution", None) or _implied(given)
        if name not in _KEYS:
            near = "".join(nearest(key, ("values", "min", "max")) for key in given)
            why = f"expected values: […], or min: and max: (nested keys in one word, as model.lr){near}"
            problems.append(f"{place}: {f'{name!r} is not searched here{nearest(str(name), _KEYS)}' if name else why}")
            return None
        keys, faults = _KEYS[name], list[str]()
        faults += [f"{place.at(key)}: {name} has no such key{nearest(key, keys)}" for key in given if key not in keys]
        faults += [f"{place}: {name} needs {key}" for key in keys if key not in {**_DEFAULTS, **given}]
        found = None
        if not faults and name in ("constant", "categorical"):
            choices = [given["value"]] if name == "constant" else given["values"]
            if not (faults := _faults_of_values(choices, place)):  # by number: optuna has no lists and mappings
                found = cls(name, CategoricalDistribution(range(len(choices))), tuple(choices))
        elif not faults:
            kind = int if name == "int_uniform" else Annotated[float, Gt(-math.inf), Lt(math.inf)]
            numbers = {key: as_type(kind, given.get(key, _DEFAULTS.get(key)), place.at(key), faults) for key in keys}
            if not faults and min(numbers.get("q", 1), numbers.get("sigma", 1)) <= 0:
                faults = [f"{place}: q and sigma must be above 0"]
            try:
                found = None if faults else cls._of_numbers(name, **numbers)
            except (ValueError, OverflowError) as error:  # of a range: optuna's
                faults = [f"{place}: {error}"]
        problems += faults
        return found

    @classmethod
    def _of_numbers(
        cls, name: str, min: float = 0, max: float = 0, mu: Any = None, sigma: Any = None, q: float = 0
    ) -> Parameter:
        if mu is not None:
            return cls(name, FloatDistribution(_MARGIN, 1 - _MARGIN), bell=NormalDist(mu, sigma), q=q)
        if name.endswith("log_uniform"):
            min, max = math.exp(min), math.exp(max)
        space: BaseDistribution = FloatDistribution(min, max, log="log" in name)
        if name == "int_uniform":
            space = IntDistribution(int(min), int(max))
        step = 1 if name == "int_uniform" else q if name == "q_uniform" else 0
        count = round((max - min) / step) + 1 if step else math.inf
        first = round(min / step) if step else 0
        choices = [_multiple(first + n, step) for n in range(int(count))] if count <= _MOST_CHOICES else []
        return cls(name, space, tuple(choices), q=q)

    def __str__(self) -> str:
        if self.bell:
            return f"{self.distribution} mu {self.bell.mean:g}, sigma {self.bell.stdev:g}"
        if self._is_listed:
            return ", ".join(map(str, self.choices))
        return f"{self.distribution} min {self.space.low:g}, max {self.space.high:g}"

    @property
    def varies(self) -> bool:
        """Whether there is anything to search."""
        return self.distribution != "constant"

    @property
    def _is_listed(self) -> bool:
        return isinstance(self.space, CategoricalDistribution)

    def raw_name(self, name: str) -> str:
        """Its name in a study, where what is drawn under one name must stay comparable when the file changes."""
        return f"{name}: {self if self.bell or self._is_listed else self.distribution}"

    def value(self, raw: Any) -> Any:
        """The value that something drawn stands for."""
        if self._is_listed:
            return self.choices[raw]
        if self.bell:
            raw = self.bell.inv_cdf(raw)
            raw = math.exp(raw) if "log" in self.distribution else raw
        return _multiple(round(raw / self.q), self.q) if self.q else raw

    def raw(self, value: Any) -> Any:
        """What stands for a value; the inverse of `value`. None where it cannot have this value."""
        if self._is_listed:
            return self.choices.index(value) if value in self.choices else None
        if not isinstance(value, int | float):
            return None
        if self.bell:
            is_log = "log" in self.distribution
            quantile = self.bell.cdf(value if not is_log else math.log(value) if value > 0 else -math.inf)
            return min(max(quantile, _MARGIN), 1 - _MARGIN)
        low, high, step = self.space.low, self.space.high, self.q / 2
        return min(max(value, low), high) if low - step <= value <= high + step else None

    def probes(self) -> tuple[Any, ...]:
        """Values that show whether all are allowed: each of a few, or both ends of a range."""
        if self._is_listed:
            return self.choices
        return tuple(map(self.value, (0.5,) if self.bell else (self.space.low, self.space.high)))


def _implied(given: Mapping[str, Any]) -> str | None:
    """The distribution that W&B takes where none is named."""
    if "value" in given or "values" in given:
        return "constant" if "value" in given else "categorical"
    ends = [given[key] for key in ("min", "max") if key in given]
    return None if not ends else "int_uniform" if all(type(end) is int for end in ends) else "uniform"


def _faults_of_values(values: object, place: Place) -> list[str]:
    def holds_null(value: object) -> bool:
        parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
        return value is None or any(map(holds_null, parts))

    if not isinstance(values, list) or not values:
        return [f"{place.at('values')}: expected a list of at least one value"]
    if holds_null(values):
        # W&B writes Python's None on the command line, which there is a word like any other.
        return [f"{place}: null cannot be handed over on a command line; leave it to a configuration file"]
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    return [f"{place.at('values')}: {twice[0]!r} is given twice"] if twice else []


def _multiple(count: int, q: float) -> float:
    """``count·q`` without what rounding left of it."""
    return int(count * q) if float(q).is_integer() else float(f"{count * q:.12g}")
