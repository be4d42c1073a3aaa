"""`Home`: where a layout looks for a data set, and where it leaves what it finds beside samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from hierfit.data.card import DataCard
from hierfit.data.samples import Encoded, Images
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

if TYPE_CHECKING:
    from hierfit.data.splits import Shares


@dataclass
class Home:
    """What a layout is given. It may change all that stands after `problems`.

    Attributes:
        root: What the user gave as ``data.root``.
        problems: Faults of single samples go here, so that all are reported at once; such samples stay in the table.
        base: Folder that keys start from, where they must be files; None for the root.
        images: Where the pictures come from instead; their keys are not looked up.
        tree: The data's own tree; None for the card's.
        names: What the tree calls a class that the data call by a name of its own; beside that, labels need only hold
            the words of a leaf's name, see `hierfit.data.names.speller`. None: labels are spelled as in the tree.
        empty: Splits that are there even if no sample is.
        draw: Splits that are to be drawn, from the split `draw_from`.
        features: Of the samples of each split, in their order ``[n, d]``.
        encoded: What made the features.
        reported: What is wrong with several things, see `report`.
    """

    card: DataCard
    root: Path | None
    problems: list[str]
    base: Path | None = None
    images: Images | None = None
    tree: Taxonomy | None = None
    names: Mapping[str, str] | None = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    draw: Shares | None = None
    draw_from: str = "train"
    features: dict[str, Tensor] = field(default_factory=dict)
    encoded: Encoded | None = None
    reported: dict[str, list[str]] = field(default_factory=dict)

    def report(self, what: str, items: Sequence[str]) -> None:
        """Adds things to those that have a problem; all that have the same make one line if they are many."""
        self.reported.setdefault(what, []).extend(items)

    def folder(self) -> Path:
        """The root, which must be a folder; raises `UserError` with where to get the data."""
        return self._existing("folder", Path.is_dir)

    def file(self) -> Path:
        """The root, which must be a file; raises `UserError` with where to get the data."""
        return self._existing("file", Path.is_file)

    def holding(self, needed: Sequence[str], folders: Sequence[str] = ()) -> Path:
        """Where files and folders lie as downloaded: in the root, or in a folder of it named here or in the card.

        Of names with ``|`` between them one must be there; `first_of` finds it.

        Raises:
            UserError: There is no root; or none of these places has all that is needed, with what the best one lacks.
        """
        root = self.folder()
        below = [place for name in (*folders, *self.card.folders) if (place := root / name).is_dir()]
        places = [*reversed(below), root]  # a folder of the data set's own name before the one of all data sets
        lacking = {place: [name for name in needed if first_of(place, name) is None] for place in places}
        best = min(lacking, key=lambda place: len(lacking[place]))
        if lacking[best]:
            raise UserError(
                f"{best} is not laid out as card {self.card.name!r} expects",
                [f"there is no {name.replace('|', ' or ')}" for name in lacking[best]],
                f"Set data.root to the folder that holds them. {self.how_to_get()}",
            )
        return best

    def how_to_get(self) -> str:
        """Where the data come from, and how they should lie."""
        expected = f"\nExpected:\n{self.card.expects.rstrip()}" if self.card.expects else ""
        return f"To get the data: {self.card.obtain}{expected}"

    def _existing(self, kind: str, is_kind: Callable[[Path], bool]) -> Path:
        root, hint = self.root, f"To get the data: {self.card.obtain}"
        if root is None:
            raise UserError(f"card {self.card.name!r} needs data.root, the {kind} its data lies in", hint=hint)
        if not is_kind(root):
            problem = f"is no {kind}" if root.exists() else "does not exist"
            raise UserError(f"data.root {problem}: {root.absolute()}", hint=hint)
        return root


def first_of(place: Path, names: str) -> str | None:
    """The first of names with ``|`` between them that lies in a place."""
    return next((name for name in names.split("|") if (place / name).exists()), None)
