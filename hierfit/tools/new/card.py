"""A card that is not sure yet: written for what was found, tried on the data, mended."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import wrap

import torch

from hierfit.data.card import DataCard, load_card
from hierfit.data.home import Home
from hierfit.data.names import readable
from hierfit.data.samples import Label, names_of, nodes_of
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.checks import counted, listed
from hierfit.taxonomy.readers import read_taxonomy
from hierfit.taxonomy.writers import write_csv
from hierfit.tools.check.audit import Audit, audit
from hierfit.tools.new.found import Found, Options, tree_of

_WIDTH = 110
_BARE = re.compile(r"[A-Za-z](?:[A-Za-z0-9_./ -]*[A-Za-z0-9_])?")
_QUOTED = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
_PROMPTS = """What a text tower reads of each node: {name}, {parent} and {path} are filled in; several are averaged.
Say what the pictures show ("…, a kind of bird."): it helps. `hierfit data prompts` shows the outcome."""


@dataclass
class CardDraft:
    """A card in a folder of its own, for what was found.

    Attributes:
        kind: What all classes are a kind of, for the prompts.
        left_out: Pictures that are not used, and why.
        splits: What each split must hold.
    """

    path: Path
    found: Found
    kind: str | None
    left_out: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.left_out = self.found.unlabelled
        self.splits = {"test": {}} if self.found.test_only else {}

    @property
    def files(self) -> tuple[Path, ...]:
        """The card, its tree, and perhaps a table of samples."""
        samples = [self.path.with_name(f"{self.path.stem}_samples.csv")] if "samples" in self.found.layout else []
        return (self.path, self.path.with_suffix(".csv"), *samples)

    def choose_layout(self) -> None:
        """The data's own table stays the data's, if the layout reads it as it is meant; else a table is written."""
        found = self.found
        if not found.samples or (found.layout and _reads(self.card(), found)):
            return
        remark = "No layout reads this as it is: what was read of it is in a table beside this card."
        layout = {**found.otherwise, "samples": f"{self.path.stem}_samples.csv"}
        self.found = replace(found, layout=layout, remarks=[*found.remarks, remark])

    def card(self) -> DataCard:
        """Writes it as it is now, and reads it."""
        found, tree = self.found, self.found.taxonomy
        _, file, *samples = self.files
        tree.to_csv(file)
        if samples:
            label = found.otherwise["label"]
            levels = label if isinstance(label, list) else [label]
            by_split = any(split for *_, split in found.samples)
            rows = ([path, *label, *[""] * (len(levels) - len(label)), *([split] if by_split else [])]
                    for path, label, split in found.samples)  # fmt: skip
            write_csv(samples[0], ["path", *levels, *(["split"] if by_split else [])], rows)
        self.path.write_text(self._text(file), encoding="utf-8")
        return load_card(str(self.path))

    def audited(self, workers: int, pictures: bool, seen: Audit | None = None) -> Audit:
        """What the card finds as it is now."""
        return audit(self.card(), str(self.found.root.absolute()), workers, pictures, seen)

    def drop_empty(self, first: Audit, options: Options) -> None:
        """Takes classes without a picture out of the tree that was made of the labels."""
        tree = first.card.tree
        nodes = sorted({node for key, (_, node) in first.places.items() if node >= 0 and key not in self.left_out})
        if first.pictures is None or not nodes or options.taxonomy is not None:
            return
        labels = list(names_of(tree, torch.tensor(nodes)))
        used = {label[:depth] for label in labels for depth in range(1, len(label) + 1)}
        empty = [" / ".join(path) for path in names_of(tree, tree.leaves) if path not in used]
        if empty:
            classes = counted(len(empty), "class is", "classes are")
            remark = f"{classes} not in the tree, for want of a picture that can be used: {listed(empty)}."
            same = max(map(len, labels)) == tree.num_levels
            rest = tree_of(labels, replace(options, levels=tree.levels if same else None))
            self.found = replace(self.found, taxonomy=rest, remarks=[*self.found.remarks, remark])

    def _text(self, file: Path) -> str:
        """YAML that `load_card` reads, with a word on each key for who will mend it."""
        name, found, tree = self.path.stem, self.found, self.found.taxonomy
        template = f"a photo of a {{name}}, a kind of {self.kind}." if self.kind else "a photo of a {name}."
        try:  # names that are numbers may look like another format
            plain = read_taxonomy(file).levels == tree.levels
        except UserError:
            plain = False
        taxonomy = file.name if plain else {"file": file.name, "format": "paths", "header": True}
        blocks: list[tuple[str, str, Mapping[str, object]]] = [
            ("splits", "What each split must hold; `hierfit data check` counts.", self.splits),
            ("templates", _PROMPTS, {level: [template] for level in tree.levels}),
            ("names", "What classes are called in prompts and reports, if not as in the data.", _names(tree)),
            ("leave_out", "Not used, and why.", self.left_out),
        ]  # fmt: skip
        lines = [
            "# Written by `hierfit data new`. Everything here may be changed;",
            "# `hierfit data check` says whether it still fits the data.",
            f"name: {_flow(name)} # the same as this file's",
            "version: 1 # raise it whenever the data or the tree come to mean something else",
            f"title: {_flow(name.replace('_', ' '))}",
            'citation: "" # whom to cite',
            'licence: "" # terms of the data',
            'obtain: "" # how to get the data; shown to who does not have them',
            f"root: {_flow(str(found.root.absolute()))} # where they lie on this machine; data.root goes before it",
            "",
            "# The tree: a row for each leaf. A node is its whole path: equal names in two branches are two nodes.",
            f"taxonomy: {_flow(taxonomy)}",
            f"levels: {_flow(dict(zip(tree.levels, tree.level_sizes, strict=True)))}"
            " # coarse to fine, with their numbers of nodes",
            "",
            *(f"# {line}" for remark in found.remarks for line in wrap(remark, _WIDTH)),
            *_block("layout", found.layout),
        ]
        for key, comment, entries in blocks:
            lines += ["", *(f"# {line}" for line in comment.split("\n")), *_block(key, entries)] if entries else []
        return "\n".join(lines) + "\n"


def _reads(card: DataCard, found: Found) -> bool:
    """Whether the layout gives just the samples that were found."""
    base = found.layout.get("images", ".")  # keys start from there
    before = "" if base in (".", None) else f"{base}/"
    home = Home(card, found.root, [])
    try:
        read = [(f"{before}{sample.key}", sample.split, sample.label)
                for sample in card.layout.function(home, **card.layout.options)]  # fmt: skip
    except UserError:
        return False

    def placed(samples: Sequence[tuple[str, str, Label]]) -> list[tuple[str, str, int]]:
        nodes = nodes_of(card.tree, "", [label for *_, label in samples], home.problems).tolist()
        return sorted((path, split or "train", node) for (path, split, _), node in zip(samples, nodes, strict=True))

    meant = [(path, split, label) for path, label, split in found.samples]
    return placed(read) == placed(meant) and not home.problems


def _names(tree: Taxonomy) -> dict[str, str]:
    """Names for people, where underscores are not all there is to it, and no two siblings come to share one."""
    names = {
        name: better for name in tree.names if (better := readable(name)) != " ".join(name.replace("_", " ").split())
    }
    families: dict[int, list[str]] = {}
    for name, parent in zip(tree.names, tree.parent.tolist(), strict=True):
        families.setdefault(parent, []).append(name)
    taken = {""}
    while taken:  # what is taken back may be another's new name
        taken = set()
        for siblings in families.values():
            counts = Counter(names.get(name, name) for name in siblings)
            taken.update(name for name in siblings if counts[names.get(name, name)] > 1)
        names = {old: new for old, new in names.items() if old not in taken}
    return names


def _block(key: str, entries: Mapping[str, object]) -> list[str]:
    return [f"{key}:", *(f"  {_flow(name)}: {_flow(value)}" for name, value in entries.items())]


def _flow(value: object) -> str:
    """A value on one line. A word that YAML reads as this text stays bare; all else is quoted as in JSON."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and _BARE.fullmatch(value) and value.casefold() not in _QUOTED:
        return value
    # Not ASCII only: names stay readable, and JSON's escapes of pairs of surrogates are none in YAML.
    return json.dumps(value, ensure_ascii=False)
