"""Every named data set, read from a miniature copy of what its authors hand out."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hierfit.data.card import load_card
from hierfit.data.table import Table, read_table
from hierfit.errors import UserError
from tests.unit.data.miniature import BUILDERS, CARDS, Miniature, miniature

OFFICIAL = sorted(
    path.stem
    for path in CARDS.glob("*.yaml")
    if (layout := yaml.safe_load(path.read_text(encoding="utf-8"))["layout"])
    and (layout if isinstance(layout, str) else layout["name"]) in BUILDERS
)


def read(copy: Miniature) -> Table:
    return read_table(load_card(copy.card), copy.root)


def faults(copy: Miniature) -> str:
    with pytest.raises(UserError) as caught:
        read(copy)
    return str(caught.value)


@pytest.mark.parametrize("name", OFFICIAL)
def test_each_copy_is_read(name: str, tmp_path: Path) -> None:
    copy = miniature(name, tmp_path)
    table = read(copy)
    card = load_card(copy.card)
    assert set(table.splits) >= {"test"}
    for split, counts in card.splits.items():
        assert len(table.splits[split]) == counts.images
    assert table.images is not None
    for split in table.splits.values():
        assert (table.taxonomy.leaf_index[split.nodes] >= 0).all()
        assert table.images.load(split.keys[0]).mode == "RGB"
        assert table.images.stamp(split.keys[0])
    if copy.paths:
        assert sorted(copy.paths) == sorted(
            tuple(table.taxonomy.full_name(leaf, "\n").split("\n")) for leaf in table.taxonomy.leaves.tolist()
        )
