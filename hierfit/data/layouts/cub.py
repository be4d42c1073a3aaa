"""Caltech-UCSD Birds: lists of pictures, classes and split, joined by the number of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hierfit.data.layouts import home_of
from hierfit.data.records import read_table_of
from hierfit.data.samples import Samples
from hierfit.data.table import Table, several

if TYPE_CHECKING:
    from hierfit.data.card import DataCard

_IMAGES, _LABELS, _CLASSES, _SPLIT = "images.txt", "image_class_labels.txt", "classes.txt", "train_test_split.txt"


@dataclass(frozen=True)
class Cub:
    """``images.txt``, ``image_class_labels.txt``, ``classes.txt``, ``train_test_split.txt`` and ``images/``.

    Attributes:
        names: What the tree calls a class that ``classes.txt`` calls by a name of its own.
    """

    names: Mapping[str, str] = field(default_factory=dict)

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read the lists; raises `UserError` when one is missing."""
        home = home_of(root, card, [_IMAGES, _LABELS, _CLASSES, _SPLIT, "images"], ["CUB_200_2011"])
        path, label, name, trained = (
            read_table_of(home / file, problems) for file in (_IMAGES, _LABELS, _CLASSES, _SPLIT)
        )
        problems += several(f"{_LABELS}: no class of picture", [n for n in path if n not in label])
        problems += several(f"{_SPLIT}: no split of picture", [n for n in path if n not in trained])
        problems += several(f"{_IMAGES}: no path of picture", [n for n in label if n not in path])
        unknown = sorted({label[n] for n in path if n in label} - name.keys())
        problems += several(f"{_LABELS}: not in {_CLASSES}: class", unknown)
        problems += several(f"{_SPLIT}: neither 0 nor 1:", sorted(set(trained.values()) - {"0", "1"}))
        samples = Samples(home / "images", problems)
        for number, key in path.items():
            split = {"0": "test", "1": "train"}.get(trained.get(number, ""))
            found = name.get(label.get(number, ""))
            if split and found:
                samples.add(split, key, found.split(".", 1)[-1])  # 001.Black_footed_Albatross
        return samples.table(card.tree, self.names)
