"""Oxford-IIIT Pets: lists of pictures whose file name begins with the breed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hierfit.data.layouts import home_of
from hierfit.data.records import read_fields
from hierfit.data.samples import Samples, words
from hierfit.data.table import Table

if TYPE_CHECKING:
    from hierfit.data.card import DataCard

_SPECIES = ("1", "2")


@dataclass(frozen=True)
class Pets:
    """``annotations/<list>.txt`` with lines ``Abyssinian_100 1 1 1`` (picture, class, species, breed), ``images/``.

    Attributes:
        files: List of each split.
    """

    files: Mapping[str, str] = field(default_factory=lambda: {"train": "trainval.txt", "test": "test.txt"})

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read the lists; raises `UserError` when one is missing."""
        home = home_of(root, card, [*(f"annotations/{name}" for name in self.files.values()), "images"])
        samples = Samples(home / "images", problems)
        breeds: dict[str, str] = {}
        for split, name in self.files.items():
            for where, (image, number, species, _) in read_fields(home / "annotations" / name, 4, problems):
                breed = image.rpartition("_")[0]
                if not breed:
                    problems.append(f"{where}: the name of picture {image!r} does not begin with a breed")
                elif words(breeds.setdefault(number, breed)) != words(breed):
                    problems.append(f"{where}: class {number} is {breeds[number]!r} elsewhere, here {breed!r}")
                elif species not in _SPECIES:
                    problems.append(f"{where}: species {species!r} is neither 1 (cat) nor 2 (dog)")
                else:
                    samples.add(split, f"{image}.jpg", breed)
        return samples.table(card.tree)
