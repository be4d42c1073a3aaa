"""For the search, until it takes these from `hierfit.run.train`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning import Callback

from hierfit.config.settings import as_options as as_options
from hierfit.config.signature import class_at as class_at
from hierfit.results.card import ResultCard
from hierfit.run.commands import run as run_command
from hierfit.run.train import configure, train


def method_class(class_path: str) -> Any:
    """The method of a configuration."""
    return class_at(class_path)


def run(arguments: Sequence[str]) -> None:
    """Runs a training command."""
    run_command(arguments[0], arguments[1:])


def fit_alone(arguments: Sequence[str], watchers: Sequence[Callback] = ()) -> ResultCard:
    """Runs ``hierfit fit`` without its controls."""
    return train(configure([*arguments, "--controls=null"]), watchers)
