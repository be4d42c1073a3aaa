"""CIFAR-100: pickles of pixels and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hierfit.data.layouts import home_of
from hierfit.data.pickles import load_pickle
from hierfit.data.pixels import Pixels
from hierfit.data.samples import Samples
from hierfit.data.table import Table
from hierfit.errors import UserError

if TYPE_CHECKING:
    from hierfit.data.card import DataCard

_SIDE = 32


@dataclass(frozen=True)
class Cifar:
    """``train``, ``test`` and ``meta``, the version for Python; a sample's key is ``split/row``.

    Attributes:
        files: Pickle of each split.
    """

    files: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"})

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read all pixels into memory; raises `UserError` when a file is missing, damaged or holds anything else."""
        home = home_of(root, card, ["meta", *self.files.values()], ["cifar-100-python"])
        classes = _names(home / "meta")
        samples, keys, pixels = Samples(home, problems), [], []
        for split, file in self.files.items():
            labels, values = _batch(home / file, len(classes))
            for row, label in enumerate(labels):
                keys.append(f"{split}/{row}")
                samples.add(split, keys[-1], classes[label])
            pixels.append(values)
        return samples.table(card.tree, images=Pixels(torch.cat(pixels), keys))


def _names(path: Path) -> list[str]:
    meta = load_pickle(path)
    names = meta.get(b"fine_label_names") if isinstance(meta, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise UserError(f"{path}: it has no list 'fine_label_names'")
    return [name.decode(errors="replace") for name in names]


def _batch(path: Path, classes: int) -> tuple[list[int], Tensor]:
    """Labels and pixels ``[n, 32, 32, 3]`` of one file."""
    batch = load_pickle(path)
    labels, data = (batch.get(b"fine_labels"), batch.get(b"data")) if isinstance(batch, dict) else (None, None)
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < classes for label in labels):
        raise UserError(f"{path}: 'fine_labels' is no list of whole numbers from 0 to {classes - 1}")
    shape = (len(labels), 3 * _SIDE * _SIDE)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != shape:
        raise UserError(f"{path}: 'data' is no array of {shape[0]} x {shape[1]} bytes")
    planes = torch.from_numpy(np.ascontiguousarray(data)).view(-1, 3, _SIDE, _SIDE)
    return labels, planes.permute(0, 2, 3, 1).contiguous()
