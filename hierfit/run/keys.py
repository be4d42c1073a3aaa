"""The keys of a run beside those of model, data and trainer, and what a run sets otherwise than these do."""

from __future__ import annotations

import argparse
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from hierfit.run.expected import KEY as EXPECTED
from hierfit.run.loggers import WandbMode
from hierfit.run.selection import Criterion

KEYS: dict[str, tuple[Any, Any, str]] = {
    "name": (str, "experiment", "Name of the experiment."),
    "row": (str | None, None, "Name of the run in tables; default: the method's."),
    "controls": (
        dict[str, dict[str, Any]] | None,
        None,
        "Rows that stand beside the run in its table: for each, the keys it sets otherwise.",
    ),
    "runs": (str, "runs", "Folder under which runs are kept."),
    "folder": (str | None, None, "The run's folder; default: a new one under runs."),
    "resume": (bool, True, "Go on with a run of the same settings that has not come to its end, if there is one."),
    "save_every": (
        float | None,
        30.0,
        "Seconds between saves of what an interrupted run goes on from; 0: after every step, null: never.",
    ),
    "wandb": (WandbMode, "auto", "auto: online when a key is configured, else offline, with curves only."),
    # Null rather than its meaning: what was finished before there was this key stays finished.
    "select_on": (
        Criterion | None,
        None,
        "Metric of the validation split that selects the checkpoint; null: leaf_accuracy.",
    ),
    "test": (
        bool,
        True,
        "Test what was selected; off while a sweep searches, so that the test split has no say in it.",
    ),
    "tuned_on": (str | None, None, "Split on which a search has chosen these settings, for the result card."),
    # For `hierfit reproduce` alone. Without help a key is in no dump: no run's settings and no cell's digest hold it.
    EXPECTED: (dict[str, Any] | None, None, argparse.SUPPRESS),
}
"""Keys of a run beside those of model, data and trainer: type, default, help."""

OWN_KEYS: dict[str, Any] = {
    **{name: kind for name, (kind, _, _) in KEYS.items()},
    # Lightning's own, of its subcommands.
    "seed_everything": int,
    "ckpt_path": str | None,
    "weights_only": bool | None,
    "verbose": bool,
    "return_predictions": bool | None,
}


DEFAULTS: dict[str, Any] = {
    "trainer.devices": 1,
    "trainer.max_steps": 200,  # Lightning's own is a thousand epochs
    # Validation by steps: few-shot epochs are only a handful of batches long.
    "trainer.val_check_interval": 50,
    "trainer.check_val_every_n_epoch": None,
    "trainer.log_every_n_steps": 10,
    "trainer.num_sanity_val_steps": 0,
    # Samplers of our own shard exactly; Lightning's would repeat samples.
    "trainer.use_distributed_sampler": False,
    # One seed for the few-shot draw, the order of batches and the initial weights.
    "data.seed": "${..seed_everything}",
}
"""What a run sets otherwise than Lightning and the data module; `experiments/base.yaml` says the same to be read."""


def add_keys(parser: LightningArgumentParser) -> None:
    """Adds the keys, and sets the defaults, of a parser that has those of model, data and trainer."""
    for name, (kind, default, text) in KEYS.items():
        parser.add_argument(f"--{name}", type=kind, default=default, help=text)
    parser.set_defaults(DEFAULTS)
