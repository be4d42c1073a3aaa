"""What the user said, what was made out of a folder or table, and what names mean: splits, one class, nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hierfit.data.names import clean_name
from hierfit.data.samples import SPLITS
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.checks import listed
from hierfit.taxonomy.readers.cells import placeholder

LabelPath = tuple[str, ...]
Row = tuple[str, LabelPath, str | None]
"""A picture: its path from the root on, its label, and its split, by its own name, if that is known."""

_WORDS = {
    split: re.compile(rf"(?:(?:images?|imgs?)[_ -]?)?(?:{words})[_ -]?(?:\d{{4}}|set|data|images?|imgs?|split)?")
    for split, words in {
        "train": "train(?:ing)?|trn",
        "val": "val(?:id|idation)?|dev",
        "test": "test(?:ing)?|tst|eval(?:uation)?",
    }.items()
}
TEST_ONLY = "There is only a split to test on: for zero-shot models and data.targets, not to train on."


@dataclass(frozen=True)
class Options:
    """What the user said beforehand, see `hierfit data new --help`; None is to be found out."""

    levels: tuple[str, ...] | None = None
    path: str | None = None  # columns of a table: of the pictures, of the label, coarse to fine, and of the split
    label: tuple[str, ...] | None = None
    split: str | None = None
    taxonomy: Taxonomy | None = None
    val: float | None = None  # where there are splits but none to validate on, it is drawn only if this is given
    test: float = 0.2
    seed: int = 0


@dataclass(frozen=True)
class Found:
    """A layout that reads the data below a root, and their tree.

    Attributes:
        layout: As it stands in a card; where there are `samples`, a guess that must read just these, or nothing.
        remarks: What was concluded from what, one line each.
        unlabelled: Pictures that have no label, and why.
        samples: Picture, label and split of each row of a table.
        otherwise: The layout that reads a table of the samples beside the card.
        test_only: Whether there is nothing to train on.
    """

    root: Path
    layout: dict[str, object]
    taxonomy: Taxonomy
    remarks: list[str] = field(default_factory=list)
    unlabelled: dict[str, str] = field(default_factory=dict)
    samples: Sequence[tuple[str, LabelPath, str]] = ()
    otherwise: dict[str, object] = field(default_factory=dict)
    test_only: bool = False


@dataclass(frozen=True)
class Splits:
    """Own name of each split that is used (none where all are drawn), and the layout's option that draws others."""

    own: dict[str, str]
    draw: dict[str, object] = field(default_factory=dict)

    @property
    def test_only(self) -> bool:
        """Whether there is nothing to train on."""
        return not self.draw and "train" not in self.own


def found_rows(
    root: Path, rows: Iterable[Row], splits: Splits, options: Options, remarks: list[str], layout: dict[str, object]
) -> Found:
    """What is made of pictures that are known one by one; see `Found` for the rest."""
    rows = [row for row in rows if not splits.own or row[2] in splits.own.values()]
    labels = sorted({label for _, label, _ in rows})
    tree, deep = tree_of(labels, options), max(map(len, labels))
    names = list(tree.levels) if deep == tree.num_levels else [f"label{i + 1}" for i in range(deep)]
    means = {name: split for split, name in splits.own.items()}
    samples = [(path, label, means.get(split or "", "")) for path, label, split in rows]
    otherwise = {"name": "manifest", "samples": "", "label": names if deep > 1 else "label", **splits.draw}
    return Found(root, layout, tree, remarks, {}, samples, otherwise, splits.test_only)


def tree_of(paths: Iterable[LabelPath], options: Options) -> Taxonomy:
    """The tree of label paths, some of which may be inner nodes of others; or the one that the user gave.

    Raises:
        UserError: The names cannot be names of nodes, or the levels given are not as many as the tree has.
    """
    nodes = {path[: depth + 1] for path in paths for depth in range(len(path))}
    leaves = sorted(nodes - {path[:-1] for path in nodes})
    tree = options.taxonomy
    depth = tree.num_levels if tree else max(map(len, leaves), default=0)
    usual = ("group", "class") if depth == 2 else (*(f"level{i}" for i in range(1, depth)), "class")
    levels = options.levels or (tree.levels if tree else usual)
    if len(levels) != depth:
        hint = f"Name {depth}, coarse to fine, divided by commas."
        raise UserError(f"--levels names {len(levels)} levels, but the labels are {depth} deep", hint=hint)
    return Taxonomy(tree.names, levels, tree.parent) if tree else Taxonomy.from_paths(leaves, levels)


# Splits --------------------------------------------------------------------------------------------------------------


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
    return {split: found[split] for split in SPLITS if split in found}


def settle(own: Mapping[str, str], options: Options, remarks: list[str], unsplit: str) -> Splits:
    """What is trained, validated and tested on, of the splits there are by their own names; `unsplit` is said of none.

    Raises:
        UserError: There is nothing to train on, but something to validate on.
    """
    if own.keys() == {"test"}:
        remarks.append(TEST_ONLY)
        return Splits(dict(own))
    if own and "train" not in own:
        raise UserError(f"there is no split to train on, but {', '.join(own.values())}")
    if len(own) < 2:
        what = f"There is only the split {own['train']!r}" if own else unsplit
        remarks.append(f"{what}: train, val and test are drawn in each class, by a hash of each picture's path.")
        draw = {"val": 0.1 if options.val is None else options.val, "test": options.test, "seed": options.seed}
        return Splits({}, {"draw": draw})
    used = tested(own, remarks)
    if "val" in used:
        return Splits(used)
    if options.val:
        remarks.append(f"There is no split to validate on: {options.val:.0%} of train are drawn for it.")
        return Splits(used, {"draw": {"val": options.val, "test": 0, "seed": options.seed}})
    remarks.append("There is no split to validate on, so nothing can be selected. --val 0.1 draws one from train.")
    return Splits(used)


def tested(own: Mapping[str, str], remarks: list[str]) -> dict[str, str]:
    """Splits with something to test on: validation serves where there is no test."""
    if "test" in own or "val" not in own:
        return dict(own)
    remarks.append(f"There is no split to test on; {own['val']} serves.")
    return {"test" if split == "val" else split: name for split, name in own.items()}


# Names ---------------------------------------------------------------------------------------------------------------


def is_known(name: str) -> bool:
    """Whether a cell or folder names something, and is no ``not_classified``, ``NA``, ``incertae sedis`` or ``-``."""
    return name not in ("-1", "-1.0", "-9999") and re.search(r"[^\W_]", name) is not None and not placeholder(name)


def renamings(names: Iterable[str], taxonomy: Taxonomy | None, remarks: list[str]) -> dict[str, str]:
    """What the tree is to call each name that the data spell in several ways: ``{Beef_Tomato: Beef Tomato}``.

    Case, blanks, underscores, hyphens and Unicode forms do not tell names apart. Of several spellings the given tree's
    own counts, else the commonest that has blanks, else the commonest; names come as often as they occur.
    """

    def words(name: str) -> str:
        return " ".join(re.sub(r"[\s_\-‐‑’']+", " ", clean_name(name).casefold()).split())

    counts = Counter(names)
    own: dict[str, set[str]] = {}
    for name in taxonomy.names if taxonomy else ():
        own.setdefault(words(name), set()).add(name)
    groups: dict[str, list[str]] = {}
    for name in counts:
        groups.setdefault(words(name), []).append(name)
    changed: dict[str, str] = {}
    for key, group in groups.items():
        known = own.get(key, set())
        if len(known) > 1 or (taxonomy and not known):
            continue
        spelled: Counter[str] = Counter()
        for name in group:
            spelled[clean_name(name)] += counts[name]
        main = next(iter(known)) if known else max(spelled, key=lambda name: (" " in name, spelled[name], name))
        changed |= {name: main for name in group if clean_name(name) != clean_name(main)}
        if len(group) > len(spelled):
            remarks.append(f"{main!r} is written in {len(group)} ways that look the same; it is one class.")
    if changed:
        shown = listed([f"{old} = {new}" for old, new in changed.items()])
        remarks.append(f"Taken for one class each, renamed under `names`: {shown}.")
    return changed


def not_known(cells: Iterable[str], remarks: list[str]) -> set[str]:
    """Those of the cells that stand for nothing, with a remark on them."""
    found = Counter(cell for cell in cells if cell and not is_known(cell))
    if found:
        kinds = ", ".join(f"{cell!r} ({count})" for cell, count in found.most_common(5))
        remarks.append(f'Taken for "not known": {kinds}; such pictures have the coarser label.')
    return set(found)
