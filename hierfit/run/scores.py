"""What a run keeps of its scores: how val makes them a belief, the test logits, and predictions a person can read."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file
from torch import Tensor

from hierfit.atomic import whole_file
from hierfit.data.batch import Batch
from hierfit.data.datamodule import datamodule_of
from hierfit.data.prepare import Prepared
from hierfit.data.trees import StandIn
from hierfit.decoding import Calibration, belief, calibrate, leaf_rollup
from hierfit.decoding.belief import LeafScores
from hierfit.distributed import of_all_processes
from hierfit.methods.base import Method, method_of
from hierfit.results.logits import LOGITS, TREE, TRUE_TREE
from hierfit.taxonomy import Taxonomy
from hierfit.tensors import write_tensors

PREDICTIONS = "predictions.csv"


def calibrated(trainer: Trainer, method: Method, folder: Path) -> Calibration:
    """How the validation split makes the scores of a method, with the weights at hand, a belief.

    All ranks take part: each scores its share, and weights may be spread over them. The first fits; on others, and
    without validation images, it is the default.
    """
    tree, data = method.taxonomy, datamodule_of(trainer)
    choices: tuple[LeafScores, ...] = ("rollup",) if method.reads_leaves_only else ("best_path", "rollup")
    calibration = Calibration(choices[0], dict.fromkeys(choices, 1.0))
    if not data.has_val:
        return calibration
    logits, paths = [torch.zeros(0, tree.num_nodes)], [torch.zeros(0, tree.num_levels, dtype=torch.long)]
    loader = data.val_dataloader()
    assert not isinstance(loader, list)
    with torch.inference_mode():
        for batch in loader:
            with trainer.precision_plugin.forward_context():
                logits.append(method(batch.inputs.to(method.device)).float().cpu())
            paths.append(batch.paths.cpu())
    mine = {"logits": torch.cat(logits), "paths": torch.cat(paths)}
    whole = _on_first(trainer, folder / "val_logits.safetensors", mine)
    return calibration if whole is None else calibrate(whole["logits"], whole["paths"], tree.to("cpu"), choices)


class KeepTestLogits(Callback):
    """Writes ``logits [n, N]``, ``paths [n, L]`` and ``indices [n]`` of the test split, in the split's order.

    The tree goes beside them, so that they can be read when the data is gone; and, with ``true_leaf [C]``, the data
    set's own where another stands in its place. Memory: O(n·N / ranks) on every rank, O(n·N) on the first.
    """

    def __init__(self, folder: Path, target: Prepared | None = None) -> None:
        self.folder = folder
        self.target = target
        self._parts: list[dict[str, Tensor]] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts afresh, with an empty part: a rank may get no sample at all."""
        tree = self._tree(trainer).taxonomy
        logits, paths = torch.zeros(0, tree.num_nodes), torch.zeros(0, tree.num_levels, dtype=torch.long)
        self._parts = [{"logits": logits, "paths": paths, "indices": torch.zeros(0, dtype=torch.long)}]

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        assert isinstance(batch, Batch)
        self._parts.append({"logits": outputs.cpu(), "paths": batch.paths.cpu(), "indices": batch.indices.cpu()})

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        whole = _on_first(trainer, self.folder / LOGITS, _concatenated(self._parts))
        if whole is None:
            return
        order = whole["indices"].argsort()
        base, tree = datamodule_of(trainer).base, self._tree(trainer)
        # What base-to-novel figures, and figures on the data set's own tree, are made from.
        of_tree = {"seen": base if self.target is None else self.target.base(base), "true_leaf": tree.true_leaf}
        write_tensors(self.folder / LOGITS, {name: values[order] for name, values in whole.items()} | of_tree)
        tree.taxonomy.to_csv(self.folder / TREE)
        if tree.taxonomy is not tree.true:
            tree.true.to_csv(self.folder / TRUE_TREE)

    def _tree(self, trainer: Trainer) -> StandIn:
        return datamodule_of(trainer).tree if self.target is None else self.target.tree


class WritePredictions(Callback):
    """Writes ``predictions.csv``: for each sample the path of its most probable leaf, and each node's probability.

    They are those of `hierfit predict RUN`: of one belief, fitted on val. Rows of all processes, in the split's order.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calibration = Calibration()
        self._rows: dict[int, list[str]] = {}

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fits the belief; every process must know it."""
        self.calibration = of_all_processes(calibrated(trainer, method_of(pl_module), self.folder))[0]

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        assert isinstance(batch, Batch)
        rows = _prediction_cells(outputs.cpu(), method_of(pl_module).taxonomy.to("cpu"), self.calibration)
        self._rows.update(zip(batch.indices.tolist(), rows, strict=True))

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file, whole or not at all."""
        parts = of_all_processes(self._rows)
        if not trainer.is_global_zero:
            return
        keys, taxonomy = datamodule_of(trainer).test_keys, method_of(pl_module).taxonomy
        with whole_file(self.folder / PREDICTIONS) as draft, draft.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["sample", *(c for level in taxonomy.levels for c in (level, f"p({level})"))])
            rows = sorted(item for part in parts for item in part.items())
            writer.writerows([keys[index], *row] for index, row in rows)


def _prediction_cells(logits: Tensor, taxonomy: Taxonomy, calibration: Calibration) -> list[list[str]]:
    nodes = belief(logits, taxonomy, calibration).nodes
    paths = leaf_rollup(nodes, taxonomy)
    chances = nodes.gather(1, paths.clamp_min(0))
    rows = []
    for path, chance in zip(paths.tolist(), chances.tolist(), strict=True):
        cells = ([taxonomy.names[v], f"{p:.4f}"] if v >= 0 else ["", ""] for v, p in zip(path, chance, strict=True))
        rows.append([c for cell in cells for c in cell])
    return rows


def _on_first(trainer: Trainer, file: Path, mine: Mapping[str, Tensor]) -> Mapping[str, Tensor] | None:
    """The rows of all processes, rank by rank, on the first, which the others hand theirs by way of a file."""
    if trainer.world_size == 1:
        return mine
    parts = [file.with_name(f".{file.name}.{rank}") for rank in range(trainer.world_size)]
    write_tensors(parts[trainer.global_rank], mine)
    trainer.strategy.barrier(file.name)
    if not trainer.is_global_zero:
        return None
    whole = _concatenated([load_file(part) for part in parts])
    for part in parts:
        part.unlink()
    return whole


def _concatenated(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
