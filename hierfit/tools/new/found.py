"""What the user said, what is made of pictures that are known one by one, and what names mean: splits, nothing."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from hierfit.data.names import clean_name, respelled
from hierfit.data.samples import SPLITS, names_of
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.checks import listed
from hierfit.taxonomy.readers.cells import placeholder

LabelPath = tuple[str, ...]
Row = tuple[str, LabelPath, str | None]
"""A picture: its path from the root on, its label, and its split, by its own name, if that is known."""

_SPLIT_WORDS = {
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
        samples: Path, label and split of each picture that is known.
        otherwise: The layout that reads a table of the samples beside the card.
        test_only: Whether there is nothing to train on.
    """

    root: Path
    layout: dict[str, object]
    taxonomy: Taxonomy
    remarks: list[str]
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
    root: Path, rows: Iterable[Row], splits: Splits, options: Options, remarks: list[str], layout: dict[str, object],
    unlabelled: dict[str, str],
) -> Found:  # fmt: skip
    """What is made of pictures that are known one by one; see `Found` for the rest."""
    rows = [row for row in rows if not splits.own or row[2] in splits.own.values()]
    tree = tree_of({label for _, label, _ in rows}, options)
    deep = max(len(label) for _, label, _ in rows)
    names = list(tree.levels) if deep == tree.num_levels else [f"label{i + 1}" for i in range(deep)]
    means = {name: split for split, name in splits.own.items()}
    samples = [(path, label, means.get(split or "", "")) for path, label, split in rows]
    otherwise = {"name": "manifest", "samples": "", "label": names if deep > 1 else "label", **splits.draw}
    layout = layout and layout | splits.draw
    return Found(root, layout, tree, remarks, unlabelled, samples, otherwise, splits.test_only)


def tree_of(paths: Iterable[LabelPath], options: Options) -> Taxonomy:
    """The tree of label paths, some of which may be inner nodes of others; or the one that the user gave.

    Raises:
        UserError: The names cannot be names of nodes, or the levels given are not as many as the tree has.
    """
    nodes = {path[:depth] for path in paths for depth in range(1, len(path) + 1)}
    tree = options.taxonomy
    depth = tree.num_levels if tree else max(map(len, nodes), default=0)
    usual = ("group", "class") if depth == 2 else (*(f"level{i}" for i in range(1, depth)), "class")
    levels = options.levels or (tree.levels if tree else usual)
    if len(levels) != depth:
        hint = f"Name {depth}, coarse to fine, divided by commas."
        raise UserError(f"--levels names {len(levels)} levels, but the labels are {depth} deep", hint=hint)
    if tree:
        return Taxonomy(tree.names, levels, tree.parent)
    return Taxonomy.from_paths(sorted(nodes - {path[:-1] for path in nodes}), levels)


# Splits --------------------------------------------------------------------------------------------------------------


def split_word(name: str) -> str | None:
    """The split that a name means: ``Training``, ``train2017`` and ``images_train`` are ``train``."""
    text = name.strip().casefold()
    return next((split for split, words in _SPLIT_WORDS.items() if words.fullmatch(text)), None)


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
    val, draw = options.val, {"test": options.test, "seed": options.seed}
    if len(own) < 2:
        what = f"There is only the split {own['train']!r}" if own else unsplit
        remarks.append(f"{what}: train, val and test are drawn in each class, by a hash of each picture's path.")
        return Splits({}, {"draw": {"val": 0.1 if val is None else val, **draw}})
    used = tested(own, remarks)
    if "val" not in used and not val:
        remarks.append("There is no split to validate on, so nothing can be selected. --val 0.1 draws one from train.")
    elif "val" not in used:
        remarks.append(f"There is no split to validate on: {val:.0%} of train are drawn for it.")
        return Splits(used, {"draw": {"val": val, **draw, "test": 0}})
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
    return name not in ("-1", "-9999") and re.search(r"[^\W_]", name) is not None and not placeholder(name)


def not_known(names: Iterable[str], remarks: list[str]) -> set[str]:
    """Those of the names that stand for nothing, with a remark on them."""
    found = {name: count for name, count in Counter(names).most_common() if name and not is_known(name)}
    if found:
        kinds = listed(f"{name!r} ({count})" for name, count in found.items())
        remarks.append(f'Taken for "not known": {kinds}; such pictures have the coarser label.')
    return set(found)


def in_one_spelling(
    labels: Sequence[LabelPath], tree: Taxonomy | None, remarks: list[str], unknown: Iterable[str] = ()
) -> tuple[list[LabelPath], dict[str, str]]:
    """Labels as the given tree has them, or in one spelling; and what names became: ``{Beef_Tomato: Beef Tomato}``.

    Where a label is no path in the tree, its finest name alone says the node. What is `unknown` becomes nothing.
    """
    names = dict.fromkeys(sorted(unknown), "")
    names |= _renamings(Counter(name for label in labels for name in label if name not in names), tree, remarks)
    spelled = [respelled(label, names) for label in labels]
    if tree is None:
        return spelled, names
    paths = list(names_of(tree, torch.arange(tree.num_nodes)))
    whole, inner = set(paths), {path[:-1] for path in paths}
    bearers: defaultdict[str, list[LabelPath]] = defaultdict(list)
    for path in paths:
        bearers[path[-1]].append(path)
    best = {name: [path for path in found if path not in inner] or found for name, found in bearers.items()}
    only = {name: found[0] for name, found in best.items() if len(found) == 1}
    return [label if not label or label in whole else only.get(label[-1], label) for label in spelled], names


def _renamings(counts: Mapping[str, int], tree: Taxonomy | None, remarks: list[str]) -> dict[str, str]:
    """What the tree is to call each name that the data spell in several ways, so many times each.

    Case, blanks, underscores, hyphens and Unicode forms do not tell names apart. Of several spellings the given tree's
    own counts, else the commonest that has blanks, else the commonest.
    """

    def alike(names: Iterable[str]) -> Mapping[str, list[str]]:
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for name in names:
            groups[re.sub(r"[\s_\-‐‑’']+", " ", clean_name(name).casefold()).strip()].append(name)
        return groups

    own = alike(dict.fromkeys(tree.names)) if tree else {}
    changed: dict[str, str] = {}
    for key, group in alike(counts).items():
        clean: Counter[str] = Counter()
        for name in group:
            clean[clean_name(name)] += counts[name]
        main = max(clean, key=lambda name: (" " in name, clean[name], name))
        if tree is not None:
            if len(own.get(key, ())) != 1:
                continue
            (main,) = own[key]
        changed |= {name: main for name in group if clean_name(name) != clean_name(main)}
        if len(group) > len(clean):
            remarks.append(f"{main!r} is written in {len(group)} ways that look the same; it is one class.")
    if changed:
        shown = listed(f"{old} = {new}" for old, new in changed.items())
        remarks.append(f"Taken for one class each, renamed under `names`: {shown}.")
    return changed
