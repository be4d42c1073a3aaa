"""What was made out of a folder or table, before a card is written of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

Label = tuple[str, ...]

_SPLITS = {"train": "train(?:ing)?|trn", "val": "val(?:id|idation)?|dev", "test": "test(?:ing)?|tst|eval(?:uation)?"}
_AROUND = r"(?:(?:images?|imgs?)[_ -]?)?(?:{})[_ -]?(?:\d{{4}}|set|data|images?|imgs?|split)?"
_WORDS = {split: re.compile(_AROUND.format(words)) for split, words in _SPLITS.items()}


@dataclass(frozen=True)
class Options:
    """What the user said beforehand; None is to be found out.

    Attributes:
        levels: Names of the levels, coarse to fine.
        path: Column of the pictures' paths.
        label: Columns of the label, coarse to fine.
        split: Column of the split.
        taxonomy: A tree to use; labels are looked up in it.
        val: Share of the validation split, where one is drawn. Where there are splits but none to validate on, it is
            drawn only if this is given.
        test: The same of the test split.
        seed: Of that draw.
    """

    levels: tuple[str, ...] | None = None
    path: str | None = None
    label: tuple[str, ...] | None = None
    split: str | None = None
    taxonomy: Taxonomy | None = None
    val: float | None = None
    test: float = 0.2
    seed: int = 0

    @property
    def draw(self) -> dict[str, object]:
        """The option of a layout that draws all splits."""
        return {"val": 0.1 if self.val is None else self.val, "test": self.test, "seed": self.seed}

    def draw_val(self, splits: Iterable[str], remarks: list[str]) -> dict[str, object]:
        """The option of a layout that draws validation from what is there to train on; empty where none is drawn."""
        if "val" in splits or "train" not in splits:
            return {}
        if self.val:
            remarks.append(f"There is no split to validate on: {self.val:.0%} of train are drawn for it.")
            return {"draw": {"val": self.val, "test": 0, "seed": self.seed}}
        remarks.append(
            "There is no split to validate on, so that nothing can be selected on one. --val 0.1 draws one from train."
        )
        return {}


@dataclass(frozen=True)
class Found:
    """A layout that reads the data, and their tree.

    Attributes:
        root: Where the data lie.
        layout: As it stands in a card.
        taxonomy: The tree of the labels.
        remarks: What was concluded from what, one line each.
        unlabelled: Pictures that have no label, and why.
        samples: A table to be written beside the card, header first, where no layout reads the data's own.
        test_only: Whether there is nothing to train on.
    """

    root: Path
    layout: dict[str, object]
    taxonomy: Taxonomy
    remarks: list[str] = field(default_factory=list)
    unlabelled: dict[str, str] = field(default_factory=dict)
    samples: Sequence[Sequence[str]] | None = None
    test_only: bool = False


def tree_of(paths: Iterable[Label], options: Options) -> Taxonomy:
    """The tree of label paths; some may be inner nodes of others.

    Raises:
        UserError: The names cannot be names of nodes, or the levels given are not as many as the tree has.
    """
    if (tree := options.taxonomy) is not None:
        levels = options.levels
        return tree if levels is None else Taxonomy(tree.names, _named(levels, tree.num_levels), tree.parent)
    nodes = {path[: depth + 1] for path in paths for depth in range(len(path))}
    inner = {path[:-1] for path in nodes}
    leaves = sorted(nodes - inner)
    depth = max(map(len, leaves), default=0)
    return Taxonomy.from_paths(leaves, _named(options.levels, depth) if options.levels else _level_names(depth))


def _named(levels: tuple[str, ...], depth: int) -> tuple[str, ...]:
    if len(levels) != depth:
        raise UserError(
            f"--levels names {len(levels)} levels, but the labels are {depth} deep",
            hint=f"Name {depth}, coarse to fine, divided by commas.",
        )
    return levels


def _level_names(depth: int) -> tuple[str, ...]:
    return {1: ("class",), 2: ("group", "class")}.get(depth, (*(f"level{i + 1}" for i in range(depth - 1)), "class"))


def split_word(name: str) -> str | None:
    """The split that a name means: ``Training``, ``train2017`` and ``images_train`` are ``train``."""
    text = name.strip().casefold()
    return next((split for split, words in _WORDS.items() if words.fullmatch(text)), None)


def split_in(name: str) -> str | None:
    """The split that one word of a name means, as in ``instances_train2017``; None where several do."""
    found = {split for word in re.split(r"[^A-Za-z0-9]+", name) if (split := split_word(word))}
    return found.pop() if len(found) == 1 else None


def split_of(names: Iterable[str]) -> dict[str, str]:
    """Own name of each split: ``{train: Training, …}``; of two for one split, the first counts."""
    found: dict[str, str] = {}
    for name in names:
        if split := split_word(name):
            found.setdefault(split, name)
    return found


def tested(own: dict[str, str], remarks: list[str]) -> dict[str, str]:
    """Splits with something to test on: validation serves where there is no test."""
    if "test" in own or "val" not in own:
        return own
    remarks.append(f"There is no split to test on; {own['val']} serves.")
    return {"test" if split == "val" else split: name for split, name in own.items()}


TEST_ONLY = "There is only a split to test on: for zero-shot models and data.targets, not to train on."
