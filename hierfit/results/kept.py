"""The test logits a run keeps, read back with its tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hierfit.decoding import Calibration
from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.taxonomy import Taxonomy

LOGITS = "test_logits.safetensors"
TREE = "taxonomy.csv"

_FLOATS = ("F64", "F32", "F16", "BF16")
_NAMES = ("logits", "paths", "indices")


@dataclass(frozen=True)
class KeptLogits:
    """What a finished run says of each test sample, and the tree to read it by.

    Attributes:
        folder: The run's.
        card: Its result card.
        taxonomy: Its tree, on the CPU.
        paths: True node ids ``[n, L]``.
        indices: Row of each sample in the test split ``[n]``, ascending.
    """

    folder: Path
    card: ResultCard
    taxonomy: Taxonomy
    paths: Tensor
    indices: Tensor

    @classmethod
    def read(cls, folder: Path, tree: Path | None = None) -> KeptLogits:
        """Reads a run folder; the logits themselves stay on disk until they are asked for.

        Args:
            folder: A run's, or a control's inside it.
            tree: CSV of the tree, for runs that did not keep theirs.

        Raises:
            UserError: The run has not finished, keeps no logits or no tree, or its parts do not belong together.
        """
        folder = folder.parent if folder.is_file() else folder
        card = ResultCard.read(folder)
        path = folder / LOGITS
        if not path.is_file():
            raise UserError(f"{folder} keeps no {LOGITS}: it cannot be scored again without training.")
        taxonomy = _tree(folder, card, tree)
        try:
            with safe_open(path, framework="pt") as file:
                missing = [name for name in _NAMES if name not in file.keys()]  # noqa: SIM118 (no iterator)
                if missing:
                    raise UserError(f"{path} is no file of test logits: it has no {', '.join(missing)}.")
                shapes = [tuple(file.get_slice(name).get_shape()) for name in _NAMES]
                dtype = file.get_slice("logits").get_dtype()
                paths, indices = file.get_tensor("paths"), file.get_tensor("indices")
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error
        n = len(indices)
        if shapes != [(n, taxonomy.num_nodes), (n, taxonomy.num_levels), (n,)]:
            raise UserError(f"{path} does not fit {taxonomy}: logits, paths and indices are {shapes}.")
        whole = (torch.int64, torch.int32)
        if paths.dtype not in whole or indices.dtype not in whole or dtype not in _FLOATS:
            raise UserError(f"{path} is no file of test logits: its numbers are of other kinds.")
        levels = zip(paths.T, taxonomy.level_slices, strict=True)
        strange = any(((ids != -1) & ((ids < level.start) | (ids >= level.stop))).any() for ids, level in levels)
        if strange or (indices < 0).any():
            raise UserError(f"{path} does not fit {taxonomy}: it names nodes that there are not.")
        return cls(folder, card, taxonomy, paths.long(), indices)

    def batches(self, size: int = 4096) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits ``[B, N]`` and true paths ``[B, L]``, ``size`` samples at a time: memory O(size·N)."""
        with safe_open(self.folder / LOGITS, framework="pt") as file:
            logits: Any = file.get_slice("logits")
            for start in range(0, len(self.paths), size):
                yield logits[start : start + size].float(), self.paths[start : start + size]

    @property
    def calibration(self) -> Calibration:
        """How its logits become a belief, as its card says; uncalibrated where it was made before cards said so."""
        said = self.card.belief
        return (
            Calibration(said["scores"], {said["scores"]: said["temperature"]}, said["val_images"])
            if said
            else Calibration()
        )

    def predicted(self, decoder: Any) -> Tensor:
        """Predicted node ids ``[n, L]`` under a decoder of `hierfit.decoding`."""
        return torch.cat([decoder(logits, self.taxonomy) for logits, _ in self.batches()])


def _tree(folder: Path, card: ResultCard, given: Path | None) -> Taxonomy:
    path = given or folder / TREE
    if given is None and not path.is_file():
        raise UserError(f"{folder} keeps no {TREE}.", hint="Runs made before trees were kept need --taxonomy FILE.")
    taxonomy = Taxonomy.from_csv(path)
    expected = card.data.get("taxonomy_fingerprint")
    if taxonomy.fingerprint != expected:
        raise UserError(f"{path} is another tree than that of {folder} ({taxonomy.fingerprint}, not {expected}).")
    return taxonomy
