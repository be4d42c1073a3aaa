"""What the user said and what is made of it; and what names mean: a split, one class in other words, nothing."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


@dataclass
class Found:
    """What has been made so far of the data below a root.

    Attributes:
        levels: Names of the levels, if they are known.
        remarks: What was concluded from what, one line each.
        layout: As it stands in a card; where there are `samples`, a guess that must read just these, or nothing.
        splits: Own name of each split that is used; none where all are drawn.
        draw: The layout's option that draws others, if any are drawn.
        test_only: Whether there is nothing to train on.
        left_out: Pictures that are not used, and why.
        samples: Path, label and split of each picture that is known.
    """

    root: Path
    options: Options
    levels: tuple[str, ...] = ()
    remarks: list[str] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)
    taxonomy: Taxonomy = field(init=False)
    splits: dict[str, str] = field(default_factory=dict)
    draw: dict[str, Any] = field(default_factory=dict)
    test_only: bool = False
    left_out: dict[str, str] = field(default_factory=dict)
    samples: Sequence[tuple[str, LabelPath, str]] = ()

    def settle(self, own: Mapping[str, str], unsplit: str = "") -> None:
        """Says what is trained, validated and tested on, of splits by their own names; `unsplit` is said of none.

        Raises:
            UserError: There is nothing to train on, but something to validate on.
        """
        val, draw = self.options.val, {"test": self.options.test, "seed": self.options.seed}
        if own.keys() == {"test"}:
            self.only_to_test()
        elif own and "train" not in own:
            raise UserError(f"there is no split to train on, but {', '.join(own.values())}")
        elif len(own) < 2:
            what = f"There is only the split {own['train']!r}" if own else unsplit
            self.remarks.append(f"{what}: train, val and test are drawn in each class, by a hash of pictures' paths.")
            self.draw = {"draw": {"val": 0.1 if val is None else val, **draw}}
            return
        self.splits = self.tested(own)
        if "val" in self.splits or self.test_only:
            return
        what = "There is no split to validate on"
        if val:
            self.remarks.append(f"{what}: {val:.0%} of train are drawn for it.")
            self.draw = {"draw": {"val": val, **draw, "test": 0}}
        else:
            self.remarks.append(f"{what}, so nothing can be selected. --val 0.1 draws one from train.")

    def only_to_test(self) -> None:
        """There is nothing to train on."""
        self.test_only = True
        self.remarks.append("There is only a split to test on: for zero-shot models and data.targets, not to train on.")

    def tested(self, own: Mapping[str, str]) -> dict[str, str]:
        """Splits with something to test on: validation serves where there is no test."""
        if "test" in own or "val" not in own:
            return dict(own)
        self.remarks.append(f"There is no split to test on; {own['val']} serves.")
        return {"test" if split == "val" else split: name for split, name in own.items()}

    def not_known(self, names: Iterable[str]) -> set[str]:
        """Those of the names that stand for nothing."""
        found = {name: count for name, count in Counter(names).most_common() if name and not is_known(name)}
        if found:
            kinds = listed(f"{name!r} ({count})" for name, count in found.items())
            self.remarks.append(f'Taken for "not known": {kinds}; such pictures have the coarser label.')
        return set(found)

    def in_one_spelling(
        self, labels: Sequence[LabelPath], unknown: Iterable[str] = ()
    ) -> tuple[list[LabelPath], dict[str, str]]:
        """Labels as the given tree has them, or in one spelling; and what names became, ``{Big_Tit: Big Tit}``.

        Where a label is no path in the tree, its finest name alone says the node. What is `unknown` becomes nothing.
        """
        names, tree = dict.fromkeys(sorted(unknown), ""), self.options.taxonomy
        names |= self._renamings(Counter(name for label in labels for name in label if name not in names))
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

    def _renamings(self, counts: Mapping[str, int]) -> dict[str, str]:
        """What the tree is to call each name that the data spell in several ways, so many times each.

        Case, blanks, underscores, hyphens and Unicode forms do not tell names apart. Of several spellings the given
        tree's own counts, else the commonest that has blanks, else the commonest.
        """
        tree = self.options.taxonomy
        own = _grouped_by_words(dict.fromkeys(tree.names)) if tree else {}
        changed: dict[str, str] = {}
        for key, group in _grouped_by_words(counts).items():
            clean: Counter[str] = Counter()
            for name in group:
                clean[clean_name(name)] += counts[name]
            mains = own.get(key, []) if tree else [max(clean, key=lambda name: (" " in name, clean[name], name))]
            if len(mains) != 1:
                continue
            changed |= {name: mains[0] for name in group if clean_name(name) != clean_name(mains[0])}
            if len(group) > len(clean):
                self.remarks.append(f"{mains[0]!r} is written in {len(group)} ways that look alike; it is one class.")
        if changed:
            shown = listed(f"{old} = {new}" for old, new in changed.items())
            self.remarks.append(f"Taken for one class each, renamed under `names`: {shown}.")
        return changed

    def keep(self, rows: Iterable[Row]) -> None:
        """Takes pictures that are known one by one, as far as they are in a split that is used, and makes the tree."""
        means = {name: split for split, name in self.splits.items()}
        self.samples = [(key, label, means.get(own or "", "")) for key, label, own in rows if not means or own in means]
        self.grow(label for _, label, _ in self.samples)
        if self.layout:
            self.layout |= self.draw

    def grow(self, labels: Iterable[LabelPath]) -> None:
        """Makes the tree of labels, some of which may be inner nodes of others; or takes the one that the user gave.

        Raises:
            UserError: The names cannot be names of nodes, or the levels given are not as many as the tree has.
        """
        nodes = {label[:depth] for label in set(labels) for depth in range(1, len(label) + 1)}
        tree = self.options.taxonomy
        depth = tree.num_levels if tree else max(map(len, nodes), default=0)
        usual = ("group", "class") if depth == 2 else (*(f"level{i}" for i in range(1, depth)), "class")
        known = tree.levels if tree else self.levels if len(self.levels) == depth else usual
        levels = self.options.levels or known
        if len(levels) != depth:
            hint = f"Name {depth}, coarse to fine, divided by commas."
            raise UserError(f"--levels names {len(levels)} levels, but the labels are {depth} deep", hint=hint)
        leaves = sorted(nodes - {node[:-1] for node in nodes})
        self.taxonomy = Taxonomy(tree.names, levels, tree.parent) if tree else Taxonomy.from_paths(leaves, levels)


def _grouped_by_words(names: Iterable[str]) -> Mapping[str, list[str]]:
    """Names that differ in spelling only."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[re.sub(r"[\s_\-‐‑’']+", " ", clean_name(name).casefold()).strip()].append(name)
    return groups


def is_known(name: str) -> bool:
    """Whether a cell or folder names something, and is no ``not_classified``, ``NA``, ``incertae sedis`` or ``-``."""
    return name not in ("-1", "-9999") and re.search(r"[^\W_]", name) is not None and not placeholder(name)


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
