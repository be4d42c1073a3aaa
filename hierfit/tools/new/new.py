"""From a folder to a card that loads and fits: find what lies there, try a card on it, write what has passed."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from hierfit.atomic import whole_file
from hierfit.data.card import DataCard, load_card
from hierfit.data.home import Home
from hierfit.data.names import readable
from hierfit.data.samples import SPLITS, Label, names_of, nodes_of
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.readers import read_taxonomy
from hierfit.taxonomy.writers import write_csv
from hierfit.tools.check.audit import UNREADABLE, Audit, audit
from hierfit.tools.check.repeats import on_one_path
from hierfit.tools.new.card_text import card_text
from hierfit.tools.new.find import find
from hierfit.tools.new.found import Found, Options, tree_of
from hierfit.tools.printing import counted, listed


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        files: The card, its tree, and perhaps a table of samples.
        found: What was concluded.
        audit: What the data are like, with the card as written.
        left_out: Samples it leaves out, and why.
    """

    files: tuple[Path, ...]
    found: Found
    audit: Audit
    left_out: Mapping[str, str]

    @property
    def path(self) -> Path:
        """The card."""
        return self.files[0]


def new_card(
    root: Path,
    out: Path | None,
    options: Options,
    kind: str | None = None,
    workers: int = 1,
    pictures: bool = True,
    force: bool = False,
) -> Written:
    """Writes a data card and its tree, and a table of samples where the data's own is not plain.

    Pictures that cannot be used are left out; so are the copies of one picture that would stand in two splits or under
    two labels, and classes that have no picture then. Nothing is written unless the card reads the data without a
    problem.

    Args:
        root: A folder of pictures, a table of them, or a file of features.
        out: The card; ``<folder>.yaml`` in ``data_cards`` or here if None.
        options: What the user said.
        kind: What all classes are a kind of, for the prompts.
        workers: Processes that decode pictures.
        pictures: Whether to decode them.
        force: Whether to overwrite.

    Raises:
        UserError: There is nothing to make a card of, the outcome would not fit the data, or a file is there already.
    """
    root = root.expanduser()
    path = _place(root, out)
    found = find(root, options)
    with tempfile.TemporaryDirectory() as scratch:
        draft = _Draft(Path(scratch) / path.name, found, kind)
        draft.choose_layout()
        files = tuple(path.with_name(file.name) for file in draft.files)
        there = [str(file) for file in files if file.exists()]
        if there and not force:
            hint = "Name another with --out, or add --force."
            raise UserError(f"{' and '.join(there)} would be overwritten", hint=hint)
        first = draft.audited(workers, pictures)
        draft.left_out = found.unlabelled | _left_out(first)
        draft.drop_empty(first, options)
        left = draft.audited(workers, pictures=False)
        draft.splits = {n: {"images": x.images, "leaves": x.leaves} for n, x in left.splits.items() if x.images}
        last = draft.audited(workers, pictures, first)
        if last.problems:
            raise UserError(f"no card can be made of {root} as it is", last.problems, "Mend this, then try again.")
        path.parent.mkdir(parents=True, exist_ok=True)
        for file in reversed(files):  # the card last: it needs the others
            with whole_file(file) as partial:
                shutil.copyfile(draft.path.with_name(file.name), partial)
    return Written(files, draft.found, last, draft.left_out)


@dataclass
class _Draft:
    """A card that is not sure yet, in a folder of its own."""

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
        remark = "Its own table is not plain: what was read of it is in a table beside this card."
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
        template = f"a photo of a {{name}}, a kind of {self.kind}." if self.kind else "a photo of a {name}."
        text = card_text(
            name=self.path.stem,
            root=str(found.root.absolute()),
            taxonomy=file.name if _is_plain(file, tree) else {"file": file.name, "format": "paths", "header": True},
            levels=dict(zip(tree.levels, tree.level_sizes, strict=True)),
            remarks=found.remarks,
            layout=found.layout,
            splits=self.splits,
            templates={level: [template] for level in tree.levels},
            names=_names(tree),
            leave_out=self.left_out,
        )
        self.path.write_text(text, encoding="utf-8")
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
            kept = tree_of(labels, replace(options, levels=tree.levels if same else None))
            self.found = replace(self.found, taxonomy=kept, remarks=[*self.found.remarks, remark])


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
    meant = [(path, split or "train", label) for path, label, split in found.samples]

    def placed(samples: Sequence[tuple[str, str, Label]]) -> list[tuple[str, str, int]]:
        nodes = nodes_of(card.tree, "", [label for *_, label in samples], home.problems).tolist()
        return sorted((path, split, node) for (path, split, _), node in zip(samples, nodes, strict=True))

    return placed(read) == placed(meant) and not home.problems


def _place(root: Path, out: Path | None) -> Path:
    if out is None:
        stem = root.absolute().resolve().stem if root.is_file() else root.absolute().resolve().name
        name = "".join(c if c.isalnum() or c in "_-" else "_" for c in stem).strip("_").casefold() or "my_data"
        out = (Path("data_cards") if Path("data_cards").is_dir() else Path()) / f"{name}.yaml"
    if out.suffix not in (".yaml", ".yml"):
        raise UserError(f"--out {out}: a card is a .yaml file")
    return out


def _is_plain(file: Path, tree: Taxonomy) -> bool:
    """Whether a file that holds a tree is read as that; names that are numbers may look like another format."""
    try:
        return read_taxonomy(file).levels == tree.levels
    except UserError:
        return False


def _names(tree: Taxonomy) -> dict[str, str]:
    """Names for people, where underscores are not all there is to it, and no two siblings come to share one."""
    names = {}
    for name in dict.fromkeys(tree.names):
        if (better := readable(name)) != " ".join(name.replace("_", " ").split()):
            names[name] = better
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


def _left_out(first: Audit) -> dict[str, str]:
    """Pictures that spoil the data: unreadable, without a label, or copies of another."""
    out = dict.fromkeys(first.unreadable, UNREADABLE)
    for group in first.exact:
        keys = [key for key in group if key not in out]
        labels = [first.places[key][1] for key in keys]
        if first.taxonomy is not None and not on_one_path(first.taxonomy, labels):
            for key in keys:
                out[key] = f"the same picture has two labels: {next(other for other in keys if other != key)}"
            continue
        # What is tested stays: of equal pictures the one in the latest split.
        keep = max(keys, key=lambda key: (SPLITS.index(first.places[key][0]), -keys.index(key)), default="")
        out |= {key: f"the same as {keep}" for key in keys if key != keep}
    return out
