"""From a folder to a card that loads and fits."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import torch

from hierfit.atomic import whole_file
from hierfit.data.card import load_card
from hierfit.data.names import readable, renamed
from hierfit.data.table import SPLITS, names_of
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.readers import read_taxonomy
from hierfit.taxonomy.writers import write_csv as write_table
from hierfit.tools.check.audit import UNREADABLE, audit
from hierfit.tools.check.leaks import on_one_path
from hierfit.tools.check.result import Audit
from hierfit.tools.new.bundle import from_bundle
from hierfit.tools.new.folders import from_folders
from hierfit.tools.new.found import Found, Options, tree_of
from hierfit.tools.new.hub import from_hub, is_hub
from hierfit.tools.new.records import TABLES
from hierfit.tools.new.sources import tables_of
from hierfit.tools.new.spelling import classes_text
from hierfit.tools.new.table import from_tables
from hierfit.tools.new.write import card_text, samples_file


@dataclass(frozen=True)
class Written:
    """A card that was written.

    Attributes:
        path: The card.
        found: What was concluded.
        audit: What the data are like, with the card as written.
        left_out: Samples it leaves out, and why.
    """

    path: Path
    found: Found
    audit: Audit
    left_out: Mapping[str, str]


def new_card(
    root: Path,
    out: Path | None,
    options: Options,
    kind: str | None = None,
    workers: int = 1,
    pictures: bool = True,
    force: bool = False,
) -> Written:
    """Write a data card and its tree, and a table of samples where the data's own is not plain.

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
    if not root.exists():
        raise UserError(f"there is no folder {root.absolute()}")
    path = _place(root, out)
    found = _find(root, options)
    files = [path, path.with_suffix(".csv"), *([path.with_name(samples_file(path.stem))] if found.samples else [])]
    there = [str(file) for file in files if file.exists()]
    if there and not force:
        raise UserError(f"{' and '.join(there)} would be overwritten", hint="Name another with --out, or add --force.")
    with tempfile.TemporaryDirectory() as scratch:
        draft = _Draft(Path(scratch) / path.name, found, kind)
        first = draft.audited({}, found.unlabelled, workers, pictures)
        left_out = found.unlabelled | _left_out(first)
        if draft.drop_empty(first, left_out, options) or left_out or first.problems:
            first = _stated(draft.audited({}, left_out, workers, False), first)
        counts = {name: {"images": x.images, "leaves": x.leaves} for name, x in first.splits.items() if x.images}
        last = draft.audited(counts, left_out, workers, False)
        if last.problems:
            raise UserError(f"no card can be made of {root} as it is", last.problems, "Mend this, then try again.")
        path.parent.mkdir(parents=True, exist_ok=True)
        for target in reversed(files):
            with whole_file(target) as partial:
                shutil.copyfile(draft.path.with_name(target.name), partial)
    return Written(path, draft.found, _stated(last, first), left_out)


@dataclass
class _Draft:
    """A card that is not sure yet, in a folder of its own."""

    path: Path
    found: Found
    kind: str | None

    def audited(
        self, counts: Mapping[str, Mapping[str, int]], left_out: Mapping[str, str], workers: int, pictures: bool
    ) -> Audit:
        """What the card finds as it is written now."""
        found, name = self.found, self.path.stem
        file = self.path.with_suffix(".csv")
        found.taxonomy.to_csv(file)
        if found.samples is not None:
            write_table(self.path.with_name(samples_file(name)), found.samples[0], found.samples[1:])
        counts = counts or ({"test": {}} if found.test_only else {})
        root = str(found.root.absolute())
        templates = _templates(found.taxonomy, self.kind)
        text = card_text(
            name, root, found, counts, templates, _names(found.taxonomy), left_out, _is_plain(file, found.taxonomy)
        )
        self.path.write_text(text, encoding="utf-8")
        return audit(load_card(str(self.path)), root, workers, pictures)

    def drop_empty(self, first: Audit, left_out: Mapping[str, str], options: Options) -> bool:
        """Takes classes without a picture out of the tree that was made of the labels; whether there were any."""
        tree = load_card(str(self.path)).tree
        nodes = sorted({node for key, (_, node) in first.places.items() if node >= 0 and key not in left_out})
        if not nodes or options.taxonomy is not None:
            return False
        labels = list(names_of(tree, torch.tensor(nodes)))
        used = {label[:depth] for label in labels for depth in range(1, len(label) + 1)}
        empty = [path for path in names_of(tree, tree.leaves) if path not in used]
        if empty:
            shown = classes_text([" / ".join(path) for path in empty])
            remark = f"No picture that can be used is of {shown}: not in the tree."
            same = max(map(len, labels)) == tree.num_levels
            kept = tree_of(labels, replace(options, levels=tree.levels if same else None))
            self.found = replace(self.found, taxonomy=kept, remarks=[*self.found.remarks, remark])
        return bool(empty)


def _is_plain(file: Path, tree: Taxonomy) -> bool:
    """Whether a file that holds a tree is read as that; names that are numbers may look like another format."""
    try:
        return read_taxonomy(file).levels == tree.levels
    except UserError:
        return False


def _place(root: Path, out: Path | None) -> Path:
    if out is None:
        stem = root.absolute().resolve().stem if root.is_file() else root.absolute().resolve().name
        name = "".join(c if c.isalnum() or c in "_-" else "_" for c in stem).strip("_").casefold() or "my_data"
        out = (Path("data_cards") if Path("data_cards").is_dir() else Path()) / f"{name}.yaml"
    if out.suffix not in (".yaml", ".yml"):
        raise UserError(f"--out {out}: a card is a .yaml file")
    return out


def _find(root: Path, options: Options) -> Found:
    """What was found: a table before a hub's folder before plain folders."""
    if root.is_file():
        if root.suffix.lower() == ".safetensors":
            return from_bundle(root, options)
        if root.suffix.lower() not in TABLES:
            kinds = ", ".join(TABLES)
            raise UserError(f"{root} is neither a folder nor a table ({kinds}) nor a file of features (.safetensors)")
        return from_tables(root.parent, {"": root}, options)
    if is_hub(root):
        return from_hub(root, options)
    if tables := tables_of(root):
        return from_tables(root, tables, options)
    return from_folders(root, options)


def _templates(tree: Taxonomy, kind: str | None) -> dict[str, list[str]]:
    return {
        level: [f"a photo of a {{name}}, a kind of {kind}." if kind else "a photo of a {name}."]
        for level in tree.levels
    }


def _names(tree: Taxonomy) -> dict[str, str]:
    """Names for people, where underscores are not all there is to it, and no two siblings come to share one."""
    names = {}
    for name in dict.fromkeys(tree.names):
        if (better := readable(name)) != " ".join(name.replace("_", " ").split()):
            names[name] = better
    while True:
        try:
            renamed(tree, names)
        except UserError:
            taken = [
                {a, b}
                for nodes in _families(tree)
                for a, b in combinations({tree.names[v] for v in nodes}, 2)
                if names.get(a, a) == names.get(b, b)
            ]
            names = {old: new for old, new in names.items() if not any(old in pair for pair in taken)}
        else:
            return names


def _families(tree: Taxonomy) -> list[list[int]]:
    families: dict[int, list[int]] = {}
    for node, parent in enumerate(tree.parent.tolist()):
        families.setdefault(parent, []).append(node)
    return list(families.values())


def _left_out(first: Audit) -> dict[str, str]:
    """Pictures that spoil the data: unreadable, without a label, or copies of another."""
    out = dict.fromkeys(first.unreadable, UNREADABLE)
    for group in first.exact:
        keys = [key for key in group if key not in out]
        splits = {key: first.places[key][0] for key in keys}
        labels = {key: first.places[key][1] for key in keys}
        if first.taxonomy is not None and not on_one_path(first.taxonomy, labels.values()):
            out |= {key: f"the same picture has two labels: {_other(keys, key)}" for key in keys}
            continue
        # What is tested stays: of equal pictures the one in the latest split.
        keep = max(keys, key=lambda key: (SPLITS.index(splits[key]), -keys.index(key)), default="")
        out |= {key: f"the same as {keep}" for key in keys if key != keep}
    return out


def _other(keys: list[str], key: str) -> str:
    return next(other for other in keys if other != key)


def _stated(counted: Audit, seen: Audit) -> Audit:
    """Counts of the one, what was seen of the pictures by the other."""
    counted.looked_at, counted.seconds, counted.kinds, counted.sizes = (
        seen.looked_at,
        seen.seconds,
        seen.kinds,
        seen.sizes,
    )
    counted.unreadable, counted.exact, counted.near = seen.unreadable, seen.exact, seen.near
    return counted
