"""A bundle of random features and a run on it, as ``hierfit fit`` sets it up."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from itertools import chain, islice, pairwise, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from harness import ROOT, clock
from lightning import Callback
from safetensors.torch import save_file
from torch.nn import functional as F

from hierfit.run.quiet import quieten
from hierfit.run.train import Session, configure, fit, set_up
from hierfit.taxonomy import Taxonomy

WARM = 30  # steps that do not count


def skewed_tree(sizes: Sequence[int]) -> Taxonomy:
    """Levels of these sizes with families as uneven as nature's: the k-th in rank has a share of 1/k."""
    rng = np.random.default_rng(0)
    parents: list[int] = [-1] * sizes[0]
    for above, here in pairwise(sizes):
        start = len(parents) - above
        share = 1 / np.arange(1, above + 1)
        rest = rng.choice(above, size=here - above, p=share / share.sum())
        parents += sorted(start + np.concatenate([np.arange(above), rest]))
    return Taxonomy.from_parents([f"n{i}" for i in range(len(parents))], parents)


def write_bundle(folder: Path, tree: Taxonomy, width: int = 512, shots: int = 16, **facts: str) -> list[str]:
    """Random features around one direction a leaf, with facts of one's own, and their card; the options that choose
    them."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(tree.num_leaves, width, generator=generator)
    labels = torch.arange(tree.num_leaves).repeat(shots)
    noise = torch.randn(len(labels), width, generator=generator)
    features = F.normalize(means[labels] + noise, dim=-1)
    tensors = {"text.features": F.normalize(means, dim=-1), f"train{shots}.features": features}
    tensors[f"train{shots}.labels"] = labels
    # With a split to validate on, as usual: without one each epoch of few shots ends with a checkpoint.
    for split in ("val", "test"):
        tensors |= {f"{split}.features": features.clone(), f"{split}.labels": labels.clone()}
    paths = [[f"n{node}" for node in path] for path in tree.leaf_paths.tolist()]
    facts |= {"format": "hierfit.features/1", "levels": json.dumps(list(tree.levels)), "paths": json.dumps(paths)}
    save_file(tensors, folder / "bundle.safetensors", facts)
    card = {key: "a benchmark" for key in ("title", "citation", "licence", "obtain")}
    levels = dict(zip(tree.levels, tree.level_sizes, strict=True))
    card |= {"name": "toy", "version": 1, "levels": levels, "layout": "feature_bundle"}
    (folder / "toy.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
    data = {"card": folder / "toy.yaml", "root": folder / "bundle.safetensors", "shots": shots}
    return [f"--data.{key}={value}" for key, value in data.items()]


class StepClock(Callback):
    """When each step has ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *arguments: object) -> None:
        """Looks at the clock."""
        self.ends.append(clock())


def session(options: Sequence[str], steps: int, *watchers: Callback) -> Session:
    """``hierfit fit`` with the repository's settings, on one CPU thread, without validation and test."""
    quieten()
    base = ROOT / "experiments" / "base.yaml"
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        own = ["--wandb=disabled", "--test=false", "--controls=null", f"--folder={folder}/run"]
        own += [f"--trainer.max_steps={steps}", "--trainer.limit_val_batches=0", "--trainer.accelerator=cpu"]
        own += ["--trainer.enable_progress_bar=false"]
        made = set_up(configure([f"--config={base}", *options, *own]), watchers)
        fit(made)
        return made


def lightning_way(options: Sequence[str], steps: int, warm: int = WARM) -> Callable[[], float]:
    """A way that gives the seconds of a step of ``hierfit fit``."""

    def way() -> float:
        watch = StepClock()
        session(options, warm + steps, watch)
        return (watch.ends[-1] - watch.ends[-steps - 1]) / steps

    return way


def loop_way(step: Callable[[Any], None], batches: Iterable[Any], steps: int, warm: int = WARM) -> Callable[[], float]:
    """A way that gives the seconds of a step of a loop over batches, epoch after epoch."""

    def way() -> float:
        for number, batch in enumerate(islice(chain.from_iterable(repeat(batches)), warm + steps)):
            if number == warm:
                started = clock()
            step(batch)
        return (clock() - started) / steps

    return way


def bare_way(options: Sequence[str], steps: int) -> Callable[[], float]:
    """The same of a hand-written loop: the same modules, loss, optimiser and batches."""
    made = session(options, 1)
    method, settings = made.method.train(), made.method.configure_optimizers()
    optimizer, schedule = settings["optimizer"], settings["lr_scheduler"]["scheduler"]
    parameters = [p for p in method.parameters() if p.requires_grad]
    bound = method.hparams.get("gradient_clip")

    def step(batch: Any) -> None:
        loss = method.loss(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        if bound is not None:
            torch.nn.utils.clip_grad_value_(parameters, bound)
        optimizer.step()
        schedule.step()

    return loop_way(step, made.data.train_dataloader(), steps)
