"""One folder a class, and no splits: they are drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hierfit.data.layouts import folder_of, home_of
from hierfit.data.samples import Samples, classes_in, pictures_in
from hierfit.data.table import SPLITS, Table
from hierfit.errors import UserError

if TYPE_CHECKING:
    from hierfit.data.card import DataCard


@dataclass(frozen=True)
class ClassFolders:
    """``101_ObjectCategories/<class>/image_0001.jpg``.

    Splits are drawn in each class by a hash of each picture's path: the same on every machine, and no picture changes
    its split when others come or go.

    Attributes:
        images: Folder below the root that holds the classes, or the first there is of these; ``.`` for the root.
        shares: Share of each split. What remains goes to the last one.
        ignore: Folders that are no class.
        names: What the tree calls a class whose folder has a name of its own.
    """

    images: tuple[str, ...] = (".",)
    shares: Mapping[str, float] = field(default_factory=lambda: {"train": 0.5, "val": 0.2, "test": 0.3})
    ignore: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if set(self.shares) - set(SPLITS) or any(s <= 0 for s in self.shares.values()):
            raise UserError(f"shares must be above 0, and of {', '.join(SPLITS)}")
        if abs(sum(self.shares.values()) - 1) > 1e-6:
            raise UserError(f"shares must sum to 1, not {sum(self.shares.values()):g}")

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """List the folders; raises `UserError` when none is there."""
        base = folder_of(root, card)
        images = next((folder for folder in self.images if (base / folder).is_dir()), self.images[0])
        home = home_of(root, card, [images]) / images
        samples = Samples(home, problems)
        for name in classes_in(home):
            if name in self.ignore:
                continue
            keys = [f"{name}/{picture}" for picture in pictures_in(home / name)]
            for key in keys:
                samples.add(self._split(key), key, name)
        return samples.table(card.tree, self.names)

    def _split(self, key: str) -> str:
        lot = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
        for split, share in self.shares.items():
            lot -= share
            if lot < 0:
                return split
        return split
