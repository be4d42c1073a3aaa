"""Stanford Cars: MATLAB files of annotations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hierfit.data.layouts import folder_of, home_of
from hierfit.data.matlab import read_rows, read_texts
from hierfit.data.samples import Samples
from hierfit.data.table import Table

if TYPE_CHECKING:
    from hierfit.data.card import DataCard

_META, _TRAIN, _TEST = "devkit/cars_meta.mat", "devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat"


@dataclass(frozen=True)
class Cars:
    """``devkit/cars_meta.mat``, ``devkit/cars_train_annos.mat``, ``cars_test_annos_withlabels.mat`` and two folders.

    The last of the three may lie in ``devkit`` too.
    """

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read the annotations; raises `UserError` when a file is missing or damaged."""
        base = folder_of(root, card)
        test = f"devkit/{_TEST}" if (base / "devkit" / _TEST).is_file() else _TEST
        home = home_of(root, card, [_META, _TRAIN, test, "cars_train", "cars_test"])
        classes = read_texts(home / _META, "class_names")
        samples = Samples(home, problems)
        for split, file in {"train": _TRAIN, "test": test}.items():
            rows = read_rows(home / file, "annotations", {"fname": str, "class": int})
            for number, row in enumerate(rows, 1):
                if 1 <= row["class"] <= len(classes):
                    samples.add(split, f"cars_{split}/{row['fname']}", classes[row["class"] - 1])
                else:
                    problems.append(
                        f"{file}: annotations({number}) is of class {row['class']}, of 1 … {len(classes)} in {_META}"
                    )
        return samples.table(card.tree)
