"""The file of a sweep, in W&B's own format, so that an agent of W&B and this program read the same one."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from hierfit.config.schema import Place, read_document
from hierfit.config.settings import Setting
from hierfit.errors import UserError
from hierfit.search.parameter import Parameter

_ARGS = "${args}"
_START = ("${env}", "${interpreter}", "-m", "${program}", "fit")
_VARIABLE = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")


def _no_use(*keys: str) -> Mapping[str, str]:
    return dict.fromkeys(keys, "W&B knows this key, hierfit has no use for it; leave it out")


@dataclass(frozen=True)
class Metric:
    """What a sweep is after: a metric of the validation split; it ends when a trial has reached ``target``."""

    FOREIGN: ClassVar[Mapping[str, str]] = _no_use("impute", "impute_while_running")
    name: str
    goal: Literal["maximize", "minimize"]
    target: float | None = None

    def __post_init__(self) -> None:
        if not self.name.startswith("val/"):
            near = f"val/{self.name.split('/')[-1]}"
            raise UserError(f"{self.name}: is no metric of the validation split, and no other may choose; take {near}")

    @property
    def sign(self) -> int:
        """1 where more is better, else −1."""
        return 1 if self.goal == "maximize" else -1

    @property
    def unit(self) -> str:
        """Of `shown`: % for shares, nothing for what is counted in edges of the tree."""
        return "" if self.name.endswith(("tree_distance", "mistake_severity")) else "%"

    def shown(self, value: float) -> str:
        """A value as in tables."""
        return f"{100 * value:.2f}" if self.unit else f"{value:.3f}"


@dataclass(frozen=True)
class EarlyTerminate:
    """When trials stop early: W&B's hyperband, which is asynchronous successive halving (Li et al., MLSys 2020).

    After ``min_iter``, ``eta·min_iter``, ``eta²·min_iter``, … validations a trial goes on if its metric is among the
    best 1/eta of all trials that came as far. In place of ``min_iter`` may stand ``max_iter`` and ``s``: the first of s
    decisions comes after max_iter/eta^s validations. ``strict``, as W&B is where the file says nothing, judges a trial
    by its metric at the decision; false: by its best so far, which stops fewer.
    """

    type: Literal["hyperband"]
    min_iter: Annotated[int, Ge(1)] | None = None
    eta: Annotated[int, Ge(2)] = 3
    max_iter: int | None = None
    s: Annotated[int, Ge(1)] | None = None
    strict: bool = True

    def __post_init__(self) -> None:
        if (self.min_iter is None) == (self.max_iter is None) or (self.max_iter is None) != (self.s is None):
            raise UserError("give either min_iter, or max_iter with s, the number of decisions")

    @property
    def first(self) -> int:
        """Validations before the first decision."""
        return self.min_iter or max(1, int((self.max_iter or 0) / self.eta ** (self.s or 1)))


def _command(value: object, place: Place, problems: list[str]) -> tuple[str, ...]:
    """The command as W&B takes it, of which the words after ``fit`` are a command line of `hierfit fit`."""
    words = tuple(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else ()
    if words[: len(_START)] != _START:
        problems.append(f'{place}: must begin with [{", ".join(_START)}], which runs "python -m hierfit fit"')
        return words
    variables = [variable for word in words for variable in _VARIABLE.findall(word)]
    problems += [f"{place}: {name} is not set in the environment" for name in variables if name not in os.environ]
    rest = [_VARIABLE.sub("", word) for word in words[len(_START) :]]
    macros = [word for word in rest if word.startswith("${") and word.endswith("}")]
    if macros != [_ARGS]:
        given = f", not {', '.join(macros)}" if macros else ""
        problems.append(f"{place}: after fit must stand {_ARGS}, once{given}: options are written as --key=value")
    return words


@dataclass(frozen=True)
class SweepFile:
    """A sweep as written in its file; every attribute but `source` is a key of W&B's.

    Attributes:
        method: ``grid``: every combination. ``random``: drawn one by one. ``bayes``: drawn where earlier trials did
            well; W&B models the metric by a Gaussian process, this program by densities (TPE, Bergstra et al., 2011).
        parameters: Keys of ``hierfit fit``, each with values or a range.
        command: What an agent runs; the words after ``fit`` are what each trial starts from.
        run_cap: Trials at most.
    """

    FOREIGN: ClassVar[Mapping[str, str]] = {
        **_no_use("apiVersion", "kind", "controller", "job", "image_uri", "scheduler"),
        "metrics": "a sweep has one metric; write metric",
    }

    source: Place = field(repr=False)
    name: str
    program: Literal["hierfit"]
    method: Literal["grid", "random", "bayes"]
    metric: Metric
    parameters: Mapping[str, Parameter]
    command: tuple[str, ...] = field(metadata={"parse": _command})
    early_terminate: EarlyTerminate | None = None
    run_cap: Annotated[int, Ge(1)] | None = None
    description: str | None = None
    project: str | None = None
    entity: str | None = None

    def __post_init__(self) -> None:
        ranges = [name for name, parameter in self.parameters.items() if not parameter.choices]
        problems = [] if self.varied else ["parameters: none of them varies"]
        problems += [f"parameters.{name}: a grid needs values, not a range" for name in ranges if self.method == "grid"]
        if "/" in self.name or self.name.startswith(".") or not self.name:
            problems.append(f"name: {self.name!r} cannot be a folder")
        if problems:
            raise UserError("This sweep cannot be run.", problems)

    @property
    def varied(self) -> list[str]:
        """Names of the parameters that are searched."""
        return [name for name, parameter in self.parameters.items() if parameter.distribution != "constant"]

    @property
    def combinations(self) -> int:
        """Trials of a whole grid."""
        return math.prod(len(parameter.choices) for parameter in self.parameters.values())

    @property
    def start(self) -> list[str]:
        """The words of a run that is not a trial: it has the test and the experiment's controls."""
        return [word for word in self.arguments({}) if not word.startswith(("--test", "--controls"))]

    def arguments(self, values: Mapping[str, Any]) -> list[str]:
        """The words after ``fit`` of one trial, as an agent of W&B writes them."""
        return [w if isinstance(w, str) else f"--{w.key}={w.value}" for w in self.words(values)]

    def words(self, values: Mapping[str, Any]) -> list[str | Setting]:
        """The same, the values with their lines."""
        place = self.source.at("parameters")
        words: list[str | Setting] = []
        for word in self.command[len(_START) :]:
            if word == _ARGS:
                words += [Setting(key, value, place.at(key)) for key, value in values.items()]
            else:
                words.append(_VARIABLE.sub(lambda found: os.environ[found[1]], word))
        return words


def read_sweep(path: Path) -> SweepFile:
    """Reads the file of a sweep; what the keys of its trials mean is checked later, see `hierfit.search.trials`."""
    return read_document(SweepFile, path, "this sweep cannot be run")
