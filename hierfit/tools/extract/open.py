"""What a user names, opened: a data card, a folder, a table or tars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hierfit.backbone import node_texts
from hierfit.data.card import load_card
from hierfit.data.images import Files
from hierfit.data.table import Images, read_table
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.tools.extract.sources import Part, card_samples, folder_samples, parts_of, table_samples
from hierfit.tools.extract.tars import find_tars, tar_parts


def _plain(tree: Taxonomy) -> list[list[str]]:
    return node_texts(tree, {})


@dataclass(frozen=True)
class Source:
    """Pictures to encode.

    Attributes:
        parts: As they are found.
        images: Gives the pictures of parts that are lists; None for tars.
        tree: A card's; None where it is made of the labels.
        texts: The prompts of each node of a tree.
    """

    parts: Iterator[Part]
    images: Images | None = None
    tree: Taxonomy | None = None
    texts: Callable[[Taxonomy], list[list[str]]] = _plain


def open_source(name: str, root: str | None, split: str, outside: bool, size: int) -> Source:
    """Opens a source; nothing but a card is read yet.

    Args:
        name: Card, folder, table (``.csv``), tar or folder of tars.
        root: Where the data of a card lie.
        split: Of what names none.
        outside: A table's paths may leave its folder.
        size: Pictures a part.

    Raises:
        UserError: There is no such card, or its data are not as it says.
    """
    path = Path(name).expanduser()
    if tars := find_tars(path):
        return Source(tar_parts(tars, split, size))
    if path.is_dir():
        return Source(parts_of(folder_samples(path, split), size), Files(path))
    if path.is_file() and path.suffix == ".csv":
        return Source(parts_of(table_samples(path, split, outside), size), Files(path.parent))
    card = load_card(name)
    table = read_table(card, root)
    if table.images is None:
        raise UserError(f"card {card.name!r} holds features already", hint=f"See `hierfit features export {name}`.")
    return Source(parts_of(card_samples(table), size), table.images, table.taxonomy, card.texts)
