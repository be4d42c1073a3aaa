"""CIFAR-100: pickles of pixels and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hierfit.data.home import Home
from hierfit.data.pickles import load_pickle
from hierfit.data.samples import Sample
from hierfit.errors import UserError

_SIDE = 32


def cifar(home: Home, *, files: Mapping[str, str] = {"train": "train", "test": "test"}) -> Iterator[Sample]:
    """``train``, ``test`` and ``meta``, the version for Python; a sample's key is ``split/row``.

    Args:
        home: Where they lie. All pixels are read into memory.
        files: Pickle of each split.
    """
    place = home.holding(["meta", *files.values()])
    classes, keys, pixels = _names(place / "meta"), [], []
    for split, file in files.items():
        labels, values = _batch(place / file, len(classes))
        pixels.append(values)
        for row, label in enumerate(labels):
            keys.append(f"{split}/{row}")
            yield Sample(split, keys[-1], classes[label])
    home.images = Pixels(torch.cat(pixels), keys)


class Pixels:
    """The pictures of one array in memory.

    Args:
        pixels: ``[n, H, W, 3]`` uint8. A tensor, so that workers that are spawned share its memory.
        keys: Of the n pictures.
    """

    def __init__(self, pixels: Tensor, keys: Sequence[str]) -> None:
        self.pixels = pixels
        self._row = {key: row for row, key in enumerate(keys)}

    def load(self, key: str) -> Image.Image:
        """The picture in RGB."""
        return Image.fromarray(self.pixels[self._row[key]].numpy())

    def stamp(self, key: str) -> str:
        """Hash of the pixels: features are found again wherever the array came from."""
        pixels = self.pixels[self._row[key]].numpy()
        return f"{pixels.shape} {hashlib.sha256(pixels.tobytes()).hexdigest()}"


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
