"""A command line of ``hierfit fit`` as the whole configuration it leads to, without starting it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml
from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]
from lightning import Trainer
from lightning.pytorch.cli import LightningArgumentParser

from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.methods.base import Method
from hierfit.run.keys import add_keys

DEFAULTS: dict[str, Any] = {
    "wandb": "disabled",
    "trainer.enable_progress_bar": False,
    "save_every": None,  # a cell that was interrupted starts over
}
"""What every cell sets otherwise than a run; configuration files and own keys come after."""


def resolver() -> Callable[[Iterable[str]], dict[str, Any]]:
    """What turns a command line of ``fit`` into the whole configuration, defaults included, without starting it.

    `Session` parses alike, but cannot parse alone; a test holds the two together.
    """
    parser = LightningArgumentParser(parser_mode="omegaconf+", allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-c", "--config", action=ActionConfigFile)
    parser.add_argument("--seed_everything", type=bool | int, default=1)
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.add_lightning_class_args(Method, "model", subclass_mode=True)
    parser.add_lightning_class_args(HierarchicalDataModule, "data")
    parser.add_method_arguments(Trainer, "fit", skip={"model", "train_dataloaders", "val_dataloaders", "datamodule"})
    add_keys(parser)

    def resolve(arguments: Iterable[str]) -> dict[str, Any]:
        config = parser.parse_args(list(arguments))
        settings: dict[str, Any] = yaml.safe_load(parser.dump(config, skip_none=False))
        return settings

    return resolve


def not_one_device(settings: Mapping[str, Any]) -> str | None:
    """What is wrong with the devices of a cell; None where it runs on one."""
    trainer = settings["trainer"]
    if trainer["devices"] in (1, "1", "auto") and trainer["num_nodes"] == 1:
        return None
    return "trainer.devices: a cell runs on one device here; --jobs takes as many cells at once as there are"
