"""Cards as `hierfit data new` writes them, read again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hierfit.data.card import DataCard, load_card
from hierfit.data.samples import Table
from hierfit.data.table import read_table
from hierfit.errors import UserError
from hierfit.tools.check.audit import audit
from hierfit.tools.new.found import Options
from hierfit.tools.new.new import Written, new_card

Pics = Callable[..., Path]


def many(pattern: str, count: int) -> list[str]:
    """``many("{}.png", 2)`` is ``0.png``, ``1.png``."""
    return [pattern.format(i) for i in range(count)]


def sizes(table: Table) -> dict[str, int]:
    """Samples of each split."""
    return {name: len(split) for name, split in table.splits.items()}


def leaves(table: Table) -> set[str]:
    """Full names of the leaves."""
    return {table.taxonomy.full_name(v) for v in table.taxonomy.leaves.tolist()}


def made(root: Path, tmp_path: Path, **options: object) -> tuple[Written, DataCard, Table]:
    """The card that is written, read again from where it says that the data lie; it must pass its own check."""
    written = new_card(root, tmp_path / "out" / "mine.yaml", Options(**options), force=True)  # type: ignore[arg-type]
    card = load_card(str(written.path))
    assert audit(card, None).problems == []
    return written, card, read_table(card, None)


def labels(table: Table) -> dict[str, str]:
    """Full name of each picture's node, by the picture's key."""
    tree = table.taxonomy
    return {k: tree.full_name(v) for s in table.splits.values() for k, v in zip(s.keys, s.nodes.tolist(), strict=True)}


def refusal(root: Path, tmp_path: Path, **options: object) -> str:
    """What the user is told; nothing may be written, nor what was there before changed."""
    before = _written(tmp_path / "out")
    with pytest.raises(UserError) as caught:
        made(root, tmp_path, **options)
    assert _written(tmp_path / "out") == before
    return str(caught.value)


def _written(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
