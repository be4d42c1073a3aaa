"""Oxford Flowers 102: MATLAB files of labels and splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hierfit.data.layouts import home_of
from hierfit.data.matlab import read_numbers
from hierfit.data.samples import Samples
from hierfit.data.table import Table, several

if TYPE_CHECKING:
    from hierfit.data.card import DataCard

_LABELS, _SPLITS = "imagelabels.mat", "setid.mat"


@dataclass(frozen=True)
class Flowers:
    """``imagelabels.mat``, ``setid.mat`` and ``jpg/image_00001.jpg``; class i is line i of the card's tree.

    Attributes:
        variables: Variable of each split in ``setid.mat``.
    """

    variables: Mapping[str, str] = field(default_factory=lambda: {"train": "trnid", "val": "valid", "test": "tstid"})

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read the labels; raises `UserError` when a file is missing or damaged."""
        home = home_of(root, card, [_LABELS, _SPLITS, "jpg"], ["flowers-102"])
        tree = card.tree
        labels = read_numbers(home / _LABELS, "labels")
        outside = sorted({label for label in labels if not 1 <= label <= tree.num_leaves})
        problems += several(f"{_LABELS}: not of 1 … {tree.num_leaves}: class", list(map(str, outside)))
        names = [tree.names[leaf] for leaf in tree.leaves.tolist()]
        samples = Samples(home / "jpg", problems)
        for split, variable in self.variables.items():
            unknown = []
            for number in read_numbers(home / _SPLITS, variable):
                if not 1 <= number <= len(labels):
                    unknown.append(str(number))
                elif 1 <= (label := labels[number - 1]) <= len(names):
                    samples.add(split, f"image_{number:05d}.jpg", names[label - 1])
            problems += several(f"{_SPLITS}: {variable}: not of {len(labels)} labelled pictures:", unknown)
        return samples.table(tree)
