"""The keys of a run beside those of model, data and trainer, and what a run sets otherwise than these do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from hierfit.config.settings import Seed

Criterion: TypeAlias = Literal["leaf_accuracy", "wap_accuracy", "fpa"]
"""Metrics of `hierarchy_metrics` that may select. Leaf accuracy is blind to inner nodes: once it is level, its noise
picks the step, while they may still be learning. ``wap_accuracy`` counts every level by its number of nodes, so leaves
lead; ``fpa`` counts a sample only if all levels are right."""
WandbMode: TypeAlias = Literal["auto", "online", "offline", "disabled"]


@dataclass(frozen=True)
class Keys:
    """The keys.

    Args:
        seed_everything: Seed of the initial weights, of the draw and of the order of batches.
        ckpt_path: Checkpoint to begin from; of `validate`, `test` and `predict`, the one that is judged.
        weights_only: Without effect: checkpoints are always read as tensors and plain values, never as code.
        verbose: Of `validate`: print the metrics.
        name: Name of the experiment.
        row: Name of the run in tables; default: the method's.
        controls: Rows that stand beside the run in its table: for each, the keys it sets otherwise.
        runs: Folder under which runs are kept.
        folder: The run's folder; default: a new one under runs.
        resume: Go on with a run of the same settings that has not come to its end, if there is one.
        save_every: Seconds between saves of what an interrupted run goes on from; 0: after every step, null: never.
        wandb: auto: online when a key is configured, else offline, with curves only.
        metrics: Of your own, by import path, such as my_file.MyMetric; their figures join the result card.
        decoders: Of your own, by import path; so do theirs.
        select_on: Metric of the validation split that selects the checkpoint; null: leaf_accuracy.
        test: Test what was selected; off while a sweep searches, so that the test split has no say in it.
        tuned_on: Split on which a search has chosen these settings, for the result card.
        expected: What a rerun finds, for `hierfit reproduce` alone.
    """

    seed_everything: Seed = 1
    ckpt_path: str | None = None
    weights_only: bool | None = None
    verbose: bool = True
    name: str = "experiment"
    row: str | None = None
    controls: dict[str, dict[str, Any]] | None = None
    runs: str = "runs"
    folder: str | None = None
    resume: bool = True
    save_every: float | None = 30.0
    wandb: WandbMode = "auto"
    metrics: list[str] | None = None
    decoders: list[str] | None = None
    select_on: Criterion | None = None
    test: bool = True
    tuned_on: str | None = None
    expected: dict[str, Any] | None = None


OVERRIDES: dict[str, Any] = {
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
    "data.seed": "${seed_everything}",
}
"""What a run sets otherwise than Lightning and the data module; `experiments/base.yaml` says the same to be read."""
