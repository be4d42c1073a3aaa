"""SUN397: lists of pictures; the classes are the folders of ``ClassName.txt``, in groups of the authors' table."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hierfit.data.layouts import home_of
from hierfit.data.layouts.manifest import read_csv
from hierfit.data.records import read_lines
from hierfit.data.samples import Samples
from hierfit.data.table import Table, several
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

if TYPE_CHECKING:
    from hierfit.data.card import DataCard

_CLASSES = "ClassName.txt"
_TOP = 3


@dataclass(frozen=True)
class Sun:
    """``ClassName.txt`` and ``Training_01.txt`` with lines ``/a/abbey…``, and ``SUN397/a/abbey/sun_….jpg``.

    Attributes:
        files: List of each split.
        hierarchy: ``three_levels.xlsx`` of the authors' site, its sheet SUN397 saved as CSV: a row for each class with
            1 in the columns of its groups, three superordinate ones first. A class in several takes the first. Without
            it the classes have no tree.
    """

    files: Mapping[str, str] = field(default_factory=lambda: {"train": "Training_01.txt", "test": "Testing_01.txt"})
    hierarchy: str | None = None

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read the lists; raises `UserError` when one is missing."""
        extra = [] if self.hierarchy is None else [self.hierarchy]
        home = home_of(root, card, [*self.files.values(), "SUN397", *extra])
        classes = home / _CLASSES if (home / _CLASSES).is_file() else home / "SUN397" / _CLASSES
        folders = [line for _, line in read_lines(classes)]
        groups = {} if self.hierarchy is None else _groups(home / self.hierarchy, problems)
        if self.hierarchy is not None:
            problems += several(f"{self.hierarchy}: no groups of", [f for f in folders if f not in groups])
        path = {folder: (*groups.get(folder, ()), _name(folder)) for folder in folders}
        samples = Samples(home / "SUN397", problems)
        for split, name in self.files.items():
            unknown = []
            for number, line in read_lines(home / name):
                folder = posixpath.dirname(line)
                if folder in path:
                    samples.add(split, line.lstrip("/"), path[folder])
                else:
                    unknown.append(f"{folder!r} (line {number})")
            problems += several(f"{name}: not in {_CLASSES}:", unknown)
        depth = 1 if self.hierarchy is None else 3
        whole = [row for row in path.values() if len(row) == depth]
        if not whole:
            raise UserError(f"{classes}: no class can be placed", problems)
        return samples.table(Taxonomy.from_paths(whole, list(card.levels)))


def _name(folder: str) -> str:
    """``/a/apartment_building/outdoor`` is called ``outdoor apartment building``."""
    return " ".join(reversed(folder.strip("/").split("/")[1:])).replace("_", " ")


def _groups(path: Path, problems: list[str]) -> dict[str, tuple[str, str]]:
    """Superordinate and basic group of each class."""
    groups: dict[str, tuple[str, str]] = {}
    header: list[str] = []
    for line, cells in read_csv(path):
        if not header:
            header = cells if "category" in [cell.lower() for cell in cells] else []
            continue
        if len(cells) != len(header):
            problems.append(f"{path.name}:{line}: {len(cells)} cells, expected {len(header)}")
            continue
        ones = [i for i, cell in enumerate(cells) if cell in ("1", "1.0")]
        first = header[0].lower() == "category"
        top = [i for i in ones if 0 < i <= _TOP] if first else []
        basic = [i for i in ones if i > _TOP]
        if not top or not basic:
            problems.append(f"{path.name}:{line}: {cells[0]!r} is in no superordinate or in no basic group")
        else:
            groups[cells[0].strip("'")] = header[top[0]], header[basic[0]]
    if not header:
        raise UserError(f"{path}: no header line with a column 'category'")
    return groups
