"""One list of pictures a split; the folder that each lies in is its class."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hierfit.data.layouts import home_of
from hierfit.data.records import read_lines
from hierfit.data.samples import Samples
from hierfit.data.table import Table, several

if TYPE_CHECKING:
    from hierfit.data.card import DataCard


@dataclass(frozen=True)
class Listed:
    """``meta/train.txt`` with lines ``apple_pie/1005649``, and ``images/apple_pie/1005649.jpg``.

    What follows a space in a line is passed over.

    Attributes:
        files: List of each split, below the root.
        images: Folder below the root that the paths start from.
        folders: Folders below the root that may hold all that in its place.
        extension: Of the picture, in place of the one in the list, if there is one there: ``.jpg``.
        camel: ``underscored``: a list's ``ApplyEyeMakeup/…`` lies in the folder ``Apply_Eye_Makeup``.
        names: What the tree calls a class whose folder has a name of its own.
    """

    files: Mapping[str, str]
    images: str = "images"
    folders: tuple[str, ...] = ()
    extension: str = ""
    camel: Literal["kept", "underscored"] = "kept"
    names: Mapping[str, str] = field(default_factory=dict)

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read the lists; raises `UserError` when one is missing."""
        home = home_of(root, card, [*self.files.values(), self.images], self.folders)
        samples = Samples(home / self.images, problems)
        for split, name in self.files.items():
            outside = []
            for number, line in read_lines(home / name):
                folder, image = posixpath.split(line.split()[0].lstrip("/"))
                if not folder:
                    outside.append(f"line {number}")
                    continue
                if self.camel == "underscored":
                    folder = re.sub(r"(?<=.)(?=[A-Z])", "_", folder)
                if self.extension:
                    image = posixpath.splitext(image)[0] + self.extension
                samples.add(split, f"{folder}/{image}", folder)
            problems += several(f"{name}: lies in no class's folder:", outside)
        return samples.table(card.tree, self.names)
