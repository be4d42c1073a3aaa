"""``hierfit data draw``: pictures of a drawn data set as files."""

from __future__ import annotations

import re
from pathlib import Path

from hierfit.data.card import DataCard
from hierfit.data.table import read_table
from hierfit.errors import UserError


def draw_pictures(card: DataCard, out: Path, count: int) -> list[Path]:
    """Writes the first test pictures of species spread over the tree, then the second ones, and so on.

    Args:
        card: Whose pictures are drawn.
        out: Folder; files of other names in it stay.
        count: How many.

    Returns:
        The files, ``<species>-<number>.png``.

    Raises:
        UserError: The card's pictures are files already, or it has not so many.
    """
    if not card.is_drawn:
        raise UserError(f"{card.name} is not drawn: its pictures lie where you have put them.", hint=card.obtain)
    table = read_table(card, None)
    keys = table.splits["test"].keys
    if count > len(keys):
        raise UserError(f"{card.name} has {len(keys)} test pictures, not {count}.")
    of_leaf: dict[str, list[str]] = {}
    for key in keys:
        of_leaf.setdefault(key.split("/")[1], []).append(key)
    leaves = list(of_leaf)
    tree = table.taxonomy
    assert table.images is not None
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for number in range(count):
        turn, place = divmod(number, len(leaves))
        here = min(len(leaves), count - turn * len(leaves))
        leaf = leaves[place * len(leaves) // here]
        name = re.sub(r"\W+", "-", tree.names[int(tree.leaves[int(leaf)])]).strip("-")
        path = out / f"{name}-{int(leaf):02}-{turn + 1}.png"
        table.images.load(of_leaf[leaf][turn]).save(path)
        written.append(path)
    return written
