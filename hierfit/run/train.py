"""A run as a function: its whole configuration, checked, and then its training, test and result card."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from jsonargparse import ActionConfigFile, ArgumentError  # type: ignore[attr-defined]
from lightning import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser

from hierfit.config.option import slices_with_dots
from hierfit.data.card import load_card
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.errors import UserError
from hierfit.methods.base import Method
from hierfit.results.card import ResultCard
from hierfit.run.check import Setting, check_settings
from hierfit.run.digest import run_digest
from hierfit.run.keys import OWN_KEYS, add_keys
from hierfit.run.session import as_options, fit_alone, method_class


@dataclass(frozen=True)
class Config:
    """All that one run is told, defaults included.

    Attributes:
        settings: Resolved, as plain containers: what the run's ``config.yaml`` holds.
        arguments: The command line it was made from.
    """

    settings: dict[str, Any]
    arguments: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Tells whether two runs would give the same figures."""
        return run_digest(self.settings, load_card(self.settings["data"]["card"]).fingerprint)

    @property
    def row(self) -> str:
        """Name of the run in tables."""
        return str(self.settings["row"] or method_class(self.settings["model"]["class_path"]).__name__)

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return str(self.settings["name"])

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.settings["seed_everything"])


def configure(arguments: Sequence[str | Setting], command: str = "fit") -> Config:
    """The whole configuration that a command line of files and keys leads to; nothing is started.

    Args:
        arguments: After the command: ``--config FILE``, ``--key value``, ``--key=value``; or, in place of an option, a
            `Setting`, whose faults are then told with its own place (a line of a grid's file, say).
        command: ``fit``, ``validate``, ``test`` or ``predict``.

    Raises:
        UserError: All that is wrong with it, each with its place.
    """
    check_settings(arguments if command == "fit" else [*arguments, "--controls=null"], OWN_KEYS)
    words = [w for a in arguments for w in ([a] if isinstance(a, str) else as_options({a.key: a.value}))]
    try:
        settings = _resolved(slices_with_dots(words))
    except ArgumentError as error:
        raise UserError(str(error)) from error
    settings["data"]["needs"] = method_class(settings["model"]["class_path"]).needs
    settings["folder"] = settings["trainer"]["default_root_dir"] = None
    settings["trainer"]["enable_model_summary"] = False
    if settings["trainer"]["enable_progress_bar"] is None:
        settings["trainer"]["enable_progress_bar"] = sys.stdout.isatty()
    return Config(settings, tuple(words))


def train(config: Config, watchers: Sequence[Callback] = (), shared: object | None = None) -> ResultCard:
    """Trains, selects, tests and writes the run's folder, without its controls.

    Args:
        config: See `configure`.
        watchers: Callbacks of the trainer beside its own.
        shared: What the runs of one process share of their data.

    Raises:
        UserError: The data is at fault.
    """
    return fit_alone(config.arguments, watchers)


@cache
def _parser() -> LightningArgumentParser:
    parser = LightningArgumentParser(parser_mode="omegaconf+", allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-c", "--config", action=ActionConfigFile)
    parser.add_argument("--seed_everything", type=bool | int, default=1)
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.add_lightning_class_args(Method, "model", subclass_mode=True)
    parser.add_lightning_class_args(HierarchicalDataModule, "data")
    parser.add_method_arguments(Trainer, "fit", skip={"model", "train_dataloaders", "val_dataloaders", "datamodule"})
    add_keys(parser)
    return parser


def _resolved(arguments: Iterable[str]) -> dict[str, Any]:
    parser = _parser()
    settings: dict[str, Any] = yaml.safe_load(parser.dump(parser.parse_args(list(arguments)), skip_none=False))
    return settings
