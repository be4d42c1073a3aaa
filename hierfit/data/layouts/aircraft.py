"""FGVC-Aircraft: for each split one list of variants, one of families and one of manufacturers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hierfit.data.layouts import home_of
from hierfit.data.records import read_fields
from hierfit.data.samples import Samples
from hierfit.data.table import SPLITS, Table, several

if TYPE_CHECKING:
    from hierfit.data.card import DataCard


@dataclass(frozen=True)
class Aircraft:
    """``data/images_<level>_<split>.txt`` with lines ``0034309 A318``, and ``data/images/0034309.jpg``.

    Attributes:
        levels: Levels there are lists of, coarse to fine. The last gives the labels; where the lists of the others
            contradict the card's tree, that is a fault.
    """

    levels: tuple[str, ...] = ("manufacturer", "family", "variant")

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read the lists; raises `UserError` when one is missing."""
        lists = {(level, split): f"images_{level}_{split}.txt" for level in self.levels for split in SPLITS}
        home = home_of(root, card, [*lists.values(), "images"], ["data", "fgvc-aircraft-2013b/data"])
        samples = Samples(home / "images", problems)
        for split in SPLITS:
            paths: dict[str, list[str]] = {}
            for level in self.levels:
                for where, (image, name) in read_fields(home / lists[level, split], 2, problems):
                    path = paths.setdefault(image, [])
                    path.append(name)
                    if len(path) == 1 and level != self.levels[0]:
                        problems.append(f"{where}: {image} is not in {lists[self.levels[0], split]}")
            whole = len(self.levels)
            problems += several(f"{split}: not once in each list:", [k for k, p in paths.items() if len(p) != whole])
            for image, path in paths.items():
                samples.add(split, f"{image}.jpg", tuple(path))
        return samples.table(card.tree)
