"""The test logits that a run saves, read back with its tree, or with the data set's own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hierfit.decoding import Calibration
from hierfit.errors import UserError
from hierfit.metrics.served import rows_at_once
from hierfit.results.card import ResultCard
from hierfit.taxonomy import Taxonomy
from hierfit.tensors import read_tensors

LOGITS = "test_logits.safetensors"
TREE = "taxonomy.csv"
TRUE_TREE = "true_taxonomy.csv"
"""Saved by runs on another tree than the data set's own."""

_OF_LEAF_PATHS = ("leaf_accuracy", "fpa", "mistake_severity", "tree_distance", "hierarchical_f1")
_OF_LEAVES_HELD_BACK = ("base", "novel", "h", "generalised_base", "generalised_novel", "generalised_h", "ausuc")


@dataclass(frozen=True)
class TestLogits:
    """What a finished run says of each test sample, and the tree to read it by."""

    __test__ = False  # pytest takes it for tests

    folder: Path  # the run's
    card: ResultCard  # its result card
    taxonomy: Taxonomy  # its tree, on the CPU
    paths: Tensor  # true node ids ``[n, L]``
    indices: Tensor  # row of each sample in the test split ``[n]``, ascending

    @classmethod
    def read(cls, folder: Path, tree: Path | None = None) -> TestLogits:
        """Reads a run's folder, or a control's; the logits themselves stay on disk until they are asked for.

        ``tree`` is its tree as CSV, for runs that did not save theirs.

        Raises:
            UserError: The run has not finished, saved no logits or no tree, or its parts do not belong together.
        """
        folder = folder.parent if folder.is_file() else folder
        card, path, of_tree = ResultCard.read(folder), folder / LOGITS, tree or folder / TREE
        if not path.is_file():
            raise UserError(f"{folder} keeps no {LOGITS}: it cannot be scored again without training.")
        if tree is None and not of_tree.is_file():
            raise UserError(f"{folder} keeps no {TREE}.", hint="Runs made before trees were kept need --taxonomy FILE.")
        taxonomy, expected = Taxonomy.from_csv(of_tree), card.data.get("taxonomy_fingerprint")
        if taxonomy.fingerprint != expected:
            shown = f"{taxonomy.fingerprint}, not {expected}"
            raise UserError(f"{of_tree} is another tree than that of {folder} ({shown}).")
        try:
            parts, _ = read_tensors(path, "paths", "indices")
            with safe_open(path, framework="pt") as file:
                logits = file.get_slice("logits")
                shape, dtype = tuple(logits.get_shape()), logits.get_dtype()
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error
        paths, indices = parts["paths"], parts["indices"]
        shapes = [shape, tuple(paths.shape), tuple(indices.shape)]
        n, whole = len(indices), not (paths.is_floating_point() or indices.is_floating_point())
        fits = shapes == [(n, taxonomy.num_nodes), (n, taxonomy.num_levels), (n,)]
        if not fits or not whole or dtype not in ("F64", "F32", "F16", "BF16"):
            kinds = f"{dtype}, {paths.dtype} and {indices.dtype}"
            raise UserError(f"{path} does not fit {taxonomy}: logits, paths and indices are {shapes} of {kinds}.")
        levels = zip(paths.T, taxonomy.level_slices, strict=True)
        strange = any(((ids != -1) & ((ids < level.start) | (ids >= level.stop))).any() for ids, level in levels)
        if strange or (indices < 0).any():
            raise UserError(f"{path} does not fit {taxonomy}: it names nodes that there are not.")
        return cls(folder, card, taxonomy, paths.long(), indices)

    def batches(self, size: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits ``[B, N]`` and true paths ``[B, L]``, ``size`` samples at a time, or as many as take some 16 MiB."""
        size = size or rows_at_once(self.taxonomy.num_nodes)
        with safe_open(self.folder / LOGITS, framework="pt") as file:
            logits: Any = file.get_slice("logits")
            for start in range(0, len(self.paths), size):
                yield logits[start : start + size].float(), self.paths[start : start + size]

    @property
    def calibration(self) -> Calibration:
        """How its logits become a belief, as its card says; uncalibrated where it was made before cards said so."""
        found = self.card.belief
        if not found:
            return Calibration()
        return Calibration(found["scores"], {found["scores"]: found["temperature"]}, found["val_images"])

    def predicted(self, decoder: Any) -> Tensor:
        """Predicted node ids ``[n, L]`` under a decoder of `hierfit.decoding`."""
        return torch.cat([decoder(logits, self.taxonomy) for logits, _ in self.batches()])


@dataclass(frozen=True)
class LeafLogits:
    """Test samples labelled at a leaf, and what a run says of each leaf.

    Runs on different trees can be compared by these alone: nodes and levels differ, the leaves do not.
    """

    taxonomy: Taxonomy  # the data set's own tree, of C leaves
    logits: Tensor  # scores of its leaves, in its order ``[n, C]``
    labels: Tensor  # leaf index of each sample ``[n]``
    seen: Tensor  # leaves that were candidates in training ``[C]`` bool

    @classmethod
    def of(cls, saved: Mapping[str, Tensor], tree: Taxonomy, true: Taxonomy) -> LeafLogits:
        """From a run's ``logits [n, N]``, ``paths [n, L]``, ``seen [N]`` and ``true_leaf [C]``, see `hierfit.run`."""
        deepest = saved["paths"].amax(dim=1)
        leaf = torch.where(deepest >= 0, tree.leaf_index[deepest], -1)
        rows, true_leaf = leaf >= 0, saved["true_leaf"]
        in_true_order = tree.leaves[true_leaf.argsort()]
        logits = saved["logits"][rows][:, in_true_order].float()
        return cls(true, logits, true_leaf[leaf[rows]], saved["seen"][in_true_order])

    @classmethod
    def read(cls, folder: Path) -> LeafLogits:
        """From a run's folder.

        Raises:
            UserError: The run saved no test logits, or is too old to say which leaf is which.
        """
        try:
            saved, _ = read_tensors(folder / LOGITS)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{folder / LOGITS} cannot be read: {error}") from error
        if "true_leaf" not in saved:
            raise UserError(f"{folder} was made before runs kept their data set's own tree; run it again.")
        tree = Taxonomy.from_csv(folder / TREE)
        own = folder / TRUE_TREE
        return cls.of(saved, tree, Taxonomy.from_csv(own) if own.is_file() else tree)

    def predicted(self, among: Tensor | None = None) -> Tensor:
        """Leaf index of the best leaf ``[n]``; only ``among`` some ``[C]`` bool, if given."""
        logits = self.logits if among is None else self.logits.masked_fill(~among, -torch.inf)
        return logits.argmax(dim=1)

    def figures(self) -> dict[str, float | None]:
        """Metrics of the predicted leaves and their paths (so FPA is leaf accuracy, and TICE would be 0).

        None for a severity without mistakes; where classes were held back also those of `base_to_novel` that rest on
        leaves. Empty without samples.
        """
        if not len(self.labels):
            return {}
        from hierfit.metrics import hierarchy_metrics  # takes seconds to import

        of_paths = hierarchy_metrics(self.taxonomy, sync_on_compute=False)
        of_paths.update(self.taxonomy.leaf_paths[self.predicted()], self.taxonomy.leaf_paths[self.labels])
        values = of_paths.compute()
        found = {name: float(values[name]) for name in _OF_LEAF_PATHS}
        figures = {name: value if math.isfinite(value) else None for name, value in found.items()}
        if self.seen.all():
            return figures
        from hierfit.metrics.base_to_novel import base_to_novel

        count = len(self.seen)
        leaves = Taxonomy(tuple(map(str, range(count))), ("leaf",), torch.full((count,), -1))
        split = base_to_novel(self.logits, self.labels[:, None], leaves, self.seen)
        return figures | {name: value for name, value in split.items() if name in _OF_LEAVES_HELD_BACK}
