"""Butterfly-200: lists of pictures with one class number for each of four levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hierfit.data.layouts import home_of
from hierfit.data.records import read_fields, read_table_of
from hierfit.data.samples import Samples
from hierfit.data.table import Table
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

if TYPE_CHECKING:
    from hierfit.data.card import DataCard


@dataclass(frozen=True)
class Butterfly:
    """``Butterfly200_train_release.txt`` with lines ``path species genus subfamily family``, and a folder of pictures.

    The tree is read from the numbers. Names come from ``<level>.txt`` (lines ``1 Papilio_xuthus``) where there is such
    a file; without one, class 3 of the genera is called ``genus 3``.

    Attributes:
        files: List of each split.
        images: Folder of the pictures, or the first there is of these.
    """

    files: Mapping[str, str] = field(
        default_factory=lambda: {split: f"Butterfly200_{split}_release.txt" for split in ("train", "val", "test")}
    )
    images: tuple[str, ...] = ("images", "images_small")

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read the lists; raises `UserError` when one is missing, or a class has two parents."""
        levels = list(card.levels)  # coarse to fine; in the lists they stand the other way round
        images = next((f for f in self.images if root is not None and (root / f).is_dir()), self.images[0])
        home = home_of(root, card, [*self.files.values(), images])
        names = {}
        for level in levels:
            file = home / f"{level}.txt"
            names[level] = read_table_of(file, problems) if file.is_file() else {}
        samples = Samples(home / images, problems)
        parent: dict[tuple[str, str], tuple[str, str]] = {}
        rows: dict[tuple[str, ...], None] = {}
        for split, name in self.files.items():
            for where, (key, *numbers) in read_fields(home / name, 1 + len(levels), problems):
                numbers.reverse()
                for i in range(1, len(levels)):
                    child, above = (levels[i], numbers[i]), (levels[i - 1], numbers[i - 1])
                    if parent.setdefault(child, above) != above:
                        known = " ".join(parent[child])
                        problems.append(f"{where}: {' '.join(child)} is of {known} elsewhere, here {' '.join(above)}")
                        break
                else:
                    path = tuple(names[a].get(n, f"{a} {n}") for a, n in zip(levels, numbers, strict=True))
                    rows[path] = None
                    samples.add(split, key, path)
        if not rows:
            raise UserError(f"{home}: no list names a picture", problems)
        return samples.table(Taxonomy.from_paths(rows, levels))
