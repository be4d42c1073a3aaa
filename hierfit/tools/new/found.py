"""What was made out of a folder, before a card is written of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "trn", "train_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "test_set"), "test"),
}
"""What people call splits, in lower case."""


@dataclass(frozen=True)
class Wishes:
    """What the user said beforehand; None is to be found out.

    Attributes:
        levels: Names of the levels, coarse to fine.
        path: Column of the pictures' paths.
        label: Columns of the label, coarse to fine.
        split: Column of the split.
        taxonomy: A tree to use; labels are looked up in it.
        val: Share of the validation split, where splits are drawn.
        test: The same of the test split.
        seed: Of that draw.
    """

    levels: tuple[str, ...] | None = None
    path: str | None = None
    label: tuple[str, ...] | None = None
    split: str | None = None
    taxonomy: Taxonomy | None = None
    val: float = 0.1
    test: float = 0.2
    seed: int = 0

    @property
    def draw(self) -> dict[str, object]:
        """The option of a layout that draws splits."""
        return {"val": self.val, "test": self.test, "seed": self.seed}


@dataclass(frozen=True)
class Found:
    """A layout that reads the data, and their tree.

    Attributes:
        layout: As it stands in a card.
        taxonomy: The tree of the labels.
        remarks: What was concluded from what, one line each.
        strays: Pictures that have no label, and where they lie.
    """

    layout: dict[str, object]
    taxonomy: Taxonomy
    remarks: list[str] = field(default_factory=list)
    strays: dict[str, str] = field(default_factory=dict)


def tree_of(paths: Sequence[tuple[str, ...]], wishes: Wishes) -> Taxonomy:
    """The tree of label paths; some may be inner nodes of others.

    Raises:
        UserError: The names cannot be names of nodes, or the wished levels are not as many as the tree has.
    """
    if (tree := wishes.taxonomy) is not None:
        return (
            tree if wishes.levels is None else Taxonomy(tree.names, _named(wishes.levels, tree.num_levels), tree.parent)
        )
    nodes = {path[: depth + 1] for path in paths for depth in range(len(path))}
    inner = {path[:-1] for path in nodes}
    leaves = sorted(nodes - inner)
    depth = max(map(len, leaves), default=0)
    levels = _level_names(depth) if wishes.levels is None else _named(wishes.levels, depth)
    return Taxonomy.from_paths(leaves, levels)


def _named(levels: tuple[str, ...], depth: int) -> tuple[str, ...]:
    if len(levels) != depth:
        raise UserError(
            f"--levels names {len(levels)} levels, but the labels are {depth} deep",
            hint=f"Name {depth}, coarse to fine, divided by commas.",
        )
    return levels


def _level_names(depth: int) -> tuple[str, ...]:
    return {1: ("class",), 2: ("group", "class")}.get(depth, (*(f"level{i + 1}" for i in range(depth - 1)), "class"))


def split_of(names: Sequence[str]) -> dict[str, str]:
    """Own name of each split: ``{train: Training, …}``; of two for one split, the first counts."""
    found: dict[str, str] = {}
    for name in names:
        if split := SPLIT_NAMES.get(name.strip().casefold()):
            found.setdefault(split, name)
    return found


def tested(own: dict[str, str], remarks: list[str]) -> dict[str, str]:
    """Splits with something to test on: validation serves where there is no test."""
    if "test" in own or "val" not in own:
        return own
    remarks.append(f"There is no split to test on; {own['val']} serves, so that nothing is left to select on.")
    return {"test" if split == "val" else split: name for split, name in own.items()}
