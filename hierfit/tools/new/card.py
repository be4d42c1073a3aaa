"""A card that is not sure yet: written for what was found, tried on the data, mended."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import wrap

import torch

from hierfit.data.card import DataCard, load_card
from hierfit.data.home import Home
from hierfit.data.names import readable
from hierfit.data.samples import SampleLabel, names_of, nodes_of
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.checks import counted, listed
from hierfit.taxonomy.readers import read_taxonomy
from hierfit.taxonomy.writers import write_csv
from hierfit.tools.check.audit import Audit, audit
from hierfit.tools.new.found import Found

_BARE = re.compile(
    r"(?!(?:true|false|yes|no|on|off|null|y|n)$)[A-Za-z](?:[A-Za-z0-9_./ -]*[A-Za-z0-9_])?", re.IGNORECASE
)
_CARD = """\
# Written by `hierfit data new`. Everything here may be changed;
# `hierfit data check` says whether it still fits the data.
name: {name} # the same as this file's
version: 1 # raise it whenever the data or the tree come to mean something else
title: {title}
citation: "" # whom to cite
licence: "" # terms of the data
obtain: "" # how to get the data; shown to who does not have them
root: {root} # where they lie on this machine; data.root goes before it

# The tree: a row for each leaf. A node is its whole path: equal names in two branches are two nodes.
taxonomy: {taxonomy}
levels: {levels} # coarse to fine, with their numbers of nodes
"""
_PROMPTS = """What a text tower reads of each node: {name}, {parent} and {path} are filled in; several are averaged.
Say what the pictures show ("…, a kind of bird."): it helps. `hierfit data prompts` shows the outcome."""


@dataclass
class CardDraft:
    """A card in a folder of its own, for what was found.

    Attributes:
        kind: What all classes are a kind of, for the prompts.
        splits: What each split must hold.
    """

    path: Path
    found: Found
    kind: str | None
    splits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The data's own files stay the data's, if the layout reads them as it is meant; else a table is written."""
        found, tree = self.found, self.found.taxonomy
        self.splits = {"test": {}} if found.test_only else {}
        if found.samples and not (found.layout and _reads(self.card(), found)):
            deep = max(len(label) for _, label, _ in found.samples)
            levels = list(tree.levels) if deep == tree.num_levels else [f"label{i + 1}" for i in range(deep)]
            found.remarks.append("No layout reads this as it is: what was read of it is in a table beside this card.")
            found.layout = {"name": "manifest", "samples": f"{self.path.stem}_samples.csv", **found.draw}
            found.layout["label"] = levels if deep > 1 else "label"

    @property
    def files(self) -> tuple[Path, ...]:
        """The card, its tree, and perhaps a table of samples."""
        samples = [self.path.with_name(f"{self.path.stem}_samples.csv")] if "samples" in self.found.layout else []
        return (self.path, self.path.with_suffix(".csv"), *samples)

    def card(self) -> DataCard:
        """Writes it as it is now, and reads it."""
        _, file, *table = self.files
        self.found.taxonomy.to_csv(file)
        if table:
            label, samples = self.found.layout["label"], self.found.samples
            levels = label if isinstance(label, list) else [label]
            split = ["split"] if any(split for *_, split in samples) else []
            rows = ([path, *names, *[""] * (len(levels) - len(names)), *([own] if split else [])]
                    for path, names, own in samples)  # fmt: skip
            write_csv(table[0], ["path", *levels, *split], rows)
        self.path.write_text(self._text(file), encoding="utf-8")
        return load_card(str(self.path))

    def audited(self, workers: int, pictures: bool, seen: Audit | None = None) -> Audit:
        """What the card finds as it is now."""
        return audit(self.card(), str(self.found.root.absolute()), workers, pictures, seen)

    def drop_empty(self, first: Audit) -> None:
        """Takes classes without a picture out of the tree that was made of the labels."""
        tree, found = first.card.tree, self.found
        nodes = sorted({node for key, (_, node) in first.places.items() if node >= 0 and key not in found.left_out})
        if first.pictures is None or not nodes or found.options.taxonomy is not None:
            return
        labels = list(names_of(tree, torch.tensor(nodes)))
        used = {label[:depth] for label in labels for depth in range(1, len(label) + 1)}
        if empty := [" / ".join(path) for path in names_of(tree, tree.leaves) if path not in used]:
            classes = counted(len(empty), "class is", "classes are")
            found.remarks.append(f"{classes} not in the tree, for want of a picture that can be used: {listed(empty)}.")
            found.levels = tree.levels
            found.grow(labels)

    def _text(self, file: Path) -> str:
        """YAML that `load_card` reads, with a word on each key for who will mend it."""
        found, tree = self.found, self.found.taxonomy
        template = f"a photo of a {{name}}, a kind of {self.kind}." if self.kind else "a photo of a {name}."
        try:  # names that are numbers may look like another format
            plain = read_taxonomy(file).levels == tree.levels
        except UserError:
            plain = False
        blocks: dict[str, tuple[str, Mapping[str, object]]] = {
            "layout": ("\n".join(line for remark in found.remarks for line in wrap(remark, 110)), found.layout),
            "splits": ("What each split must hold; `hierfit data check` counts.", self.splits),
            "templates": (_PROMPTS, {level: [template] for level in tree.levels}),
            "names": ("What classes are called in prompts and reports, if not as in the data.", _for_people(tree)),
            "leave_out": ("Not used, and why.", found.left_out),
        }
        text = _CARD.format(
            name=_flow(self.path.stem),
            title=_flow(self.path.stem.replace("_", " ")),
            root=_flow(str(found.root.absolute())),
            taxonomy=_flow(file.name if plain else {"file": file.name, "format": "paths", "header": True}),
            levels=_flow(dict(zip(tree.levels, tree.level_sizes, strict=True))),
        )
        for key, (comment, entries) in blocks.items():
            lines = [*(f"# {line}" for line in comment.splitlines()), f"{key}:"]
            lines += [f"  {_flow(name)}: {_flow(value)}" for name, value in entries.items()]
            text += "\n".join(["", *lines, ""]) if entries else ""
        return text


def _reads(card: DataCard, found: Found) -> bool:
    """Whether the layout gives just the samples that were found."""
    base = found.layout.get("images", ".")  # keys start from there
    before = "" if base in (".", None) else f"{base}/"
    home = Home(card, found.root, [])
    whole = not any(split for *_, split in found.samples)  # splits are drawn

    def placed(samples: Sequence[tuple[str, SampleLabel, str]]) -> list[tuple[str, str, int]]:
        nodes = nodes_of(card.tree, "", [label for _, label, _ in samples], home.problems).tolist()
        return sorted((key, "" if whole else split, v) for (key, _, split), v in zip(samples, nodes, strict=True))

    try:
        read = list(card.layout.function(home, **card.layout.options))
    except UserError:
        return False
    return not home.problems and placed([(before + s.key, s.label, s.split) for s in read]) == placed(found.samples)


def _for_people(tree: Taxonomy) -> dict[str, str]:
    """Names where underscores are not all there is to it, and no two siblings come to share one."""
    names = {name: better for name in tree.names
             if (better := readable(name)) != " ".join(name.replace("_", " ").split())}  # fmt: skip
    while True:  # what is taken back may be another's new name
        called = [(above, names.get(name, name)) for above, name in zip(tree.parent.tolist(), tree.names, strict=True)]
        counts = Counter(called)
        taken = {name for name, own in zip(tree.names, called, strict=True) if counts[own] > 1} & names.keys()
        if not taken:
            break
        names = {old: new for old, new in names.items() if old not in taken}
    return names


def _flow(value: object) -> str:
    """A value on one line. A word that YAML reads as this text stays bare; all else is quoted as in JSON."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    # Not ASCII only: names stay readable, and JSON's escapes of pairs of surrogates are none in YAML.
    return json.dumps(value, ensure_ascii=False)
