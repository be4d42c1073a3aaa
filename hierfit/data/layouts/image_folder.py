"""Pictures in folders: ``<root>/<split>/<label>/….jpg``, or ``<root>/<label>/….jpg`` with splits to be drawn."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hierfit.data.drawn import Draw
from hierfit.data.images import EXTENSIONS, Files, is_folder, leaves_root
from hierfit.data.layouts import folder_of
from hierfit.data.names import clean_name, respelled
from hierfit.data.table import SPLITS, Split, Table, nodes_of, several
from hierfit.errors import UserError

if TYPE_CHECKING:
    from hierfit.data.card import DataCard


@dataclass(frozen=True)
class ImageFolder:
    """Every folder below a split is a label; pictures in the folder of an inner node are coarsely labelled.

    Attributes:
        labels: ``path``: folders nest like the tree (``train/Fruit/Apple/x.jpg``). ``name``: the innermost
            folder has the name of a node, whatever lies above it (``train/Apple/x.jpg``).
        folders: Folder of each split below the root, where it differs from the split's name. With `draw`, ``all`` is
            the folder of all pictures.
        draw: Shares of validation and test, for data that have no folders of splits. A share 0 of test means that
            `train` and `test` have folders, and validation is drawn from `train`.
        names: What the tree calls a class whose folder is called otherwise; an empty text for "not known".
    """

    labels: Literal["path", "name"] = "path"
    folders: Mapping[str, str] = field(default_factory=dict)
    draw: Draw | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read the folders; raises `UserError` when no split is there."""
        root, taxonomy = folder_of(root, card), card.tree
        drawn = self.draw is not None and self.draw.test > 0
        known = ("all",) if drawn else SPLITS
        known_names = {clean_name(name): name for name in taxonomy.names}
        problems += [
            f"{card.path.name}: layout.folders: {name}: unknown split" for name in self.folders if name not in known
        ]
        splits = {}
        for name in known:
            if name not in self.folders and name in self.folders.values():
                continue  # the folder of another split
            below = self.folders.get(name, "." if drawn else name)
            folder = root / below
            if leaves_root(below):
                problems.append(f"{name}: folder leaves the root: {folder}")
                continue
            if not is_folder(folder):
                if name in self.folders:
                    problems.append(f"{name}: no folder {folder}")
                continue
            keys, labels, unlabelled = [], [], []
            for path in pictures_below(folder):
                key = path.relative_to(root).as_posix()
                if key in card.leave_out:
                    continue
                label = respelled(path.parent.relative_to(folder).parts, self.names, known_names)
                if not label:
                    unlabelled.append(key)
                    continue
                keys.append(key)
                labels.append(label if self.labels == "path" else label[-1])
            problems += several(f"{name}: lies in no label's folder:", unlabelled)
            splits[name] = Split(tuple(keys), nodes_of(taxonomy, name, labels, problems))
        if not splits:
            raise UserError(
                f"{root} has none of the folders train, val, test",
                hint="Set data.root to the folder that holds them, or name them in the card: layout.folders.",
            )
        if self.draw:
            splits = self.draw.of(splits, "all" if drawn else "train")
        return Table(taxonomy, splits, Files(root))


def pictures_below(folder: Path) -> list[Path]:
    """All pictures by their suffix, in the order of their paths; hidden ones are not seen."""
    found = []
    for where, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(n for n in folders if not n.startswith(".") and not _leads_back(where, n))
        found += [
            Path(where, name)
            for name in sorted(files)
            if Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")
        ]
    return found


def _leads_back(where: str, name: str) -> bool:
    """Whether a folder is a link to one that it lies in itself."""
    path = os.path.join(where, name)
    return os.path.islink(path) and Path(os.path.realpath(where)).is_relative_to(os.path.realpath(path))
