"""How data sets lie on disk: one file a layout.

To add a layout, add a file ``my_layout.py`` with a frozen dataclass ``MyLayout``: its fields are the
options a card may give under ``layout:``, checked by their types, and its ``read`` makes a `Table`. Nothing
else needs to know. `home_of` finds the folder, `hierfit.data.records` and ``matlab`` and ``pickles`` read files as they
come, and `hierfit.data.samples.Samples` turns what is found into a table: `Cub` shows all of it in 20 lines.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hierfit.errors import UserError

if TYPE_CHECKING:
    from hierfit.data.card import DataCard
    from hierfit.data.table import Table


class Layout(Protocol):
    """Options of a layout, and the reader."""

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read a data set.

        Args:
            root: What the user gave as ``data.root``.
            card: The data card.
            problems: Faults of single samples are added here, so that all are reported at once; such samples
                stay in the table.

        Raises:
            UserError: There is nothing to read.
        """


def layout_names() -> list[str]:
    """Every layout there is: the modules of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def layout_class(name: str) -> type[Layout]:
    """The class of a layout: ``image_folder`` is ``ImageFolder`` in the module of that name."""
    module = importlib.import_module(f"{__name__}.{name}")
    kind: type[Layout] = getattr(module, "".join(part.title() for part in name.split("_")))
    return kind


def folder_of(root: Path | None, card: DataCard) -> Path:
    """The root, which must be a folder; raises `UserError` with where to get the data."""
    return _existing(root, card, "folder", root is not None and root.is_dir())


def file_of(root: Path | None, card: DataCard) -> Path:
    """The root, which must be a file; raises `UserError` with where to get the data."""
    return _existing(root, card, "file", root is not None and root.is_file())


def home_of(root: Path | None, card: DataCard, needed: Sequence[str], folders: Sequence[str] = ()) -> Path:
    """Where the files of a data set lie as downloaded: in the root, or in a folder of it.

    Args:
        root: What the user gave as ``data.root``.
        card: The data card.
        needed: Files and folders that must be there.
        folders: Folders below the root that may hold them in its place, such as the one an archive unpacks to.

    Raises:
        UserError: There is no root; or none of these places has all that is needed, with what the best one lacks.
    """
    root = folder_of(root, card)
    lacking = {place: [n for n in needed if not (place / n).exists()] for place in (root, *(root / f for f in folders))}
    best = min(lacking, key=lambda place: (len(lacking[place]), not place.is_dir()))
    if lacking[best]:
        expected = f"\nExpected:\n{card.expects.rstrip()}" if card.expects else ""
        raise UserError(
            f"{best} is not laid out as card {card.name!r} expects",
            [f"there is no {name}" for name in lacking[best]],
            f"Set data.root to the folder that holds them. To get the data: {card.obtain}{expected}",
        )
    return best


def _existing(root: Path | None, card: DataCard, kind: str, found: bool) -> Path:
    if root is None:
        raise UserError(
            f"card {card.name!r} needs data.root, the {kind} its data lies in",
            hint=f"To get it: {card.obtain}",
        )
    if not found:
        problem = f"is no {kind}" if root.exists() else "does not exist"
        raise UserError(f"data.root {problem}: {root.absolute()}", hint=f"To get the data: {card.obtain}")
    return root
