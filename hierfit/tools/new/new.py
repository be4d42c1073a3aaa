"""From a folder to a card that loads and fits."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from hierfit.atomic import whole_file
from hierfit.data.card import load_card
from hierfit.data.names import readable, renamed
from hierfit.data.table import SPLITS
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.tools.check.audit import Audit, audit, on_one_path
from hierfit.tools.new.folders import from_folders
from hierfit.tools.new.found import Found, Wishes
from hierfit.tools.new.hub import from_hub, is_hub
from hierfit.tools.new.table import SUFFIXES, from_tables, tables_of
from hierfit.tools.new.write import card_text


@dataclass(frozen=True)
class Written:
    """A card that was written.

    Attributes:
        path: The card.
        root: What `data.root` must be.
        found: What was concluded.
        audit: What the data are like, with the card as written.
        left_out: Samples it leaves out, and why.
    """

    path: Path
    root: Path
    found: Found
    audit: Audit
    left_out: Mapping[str, str]


def new_card(
    root: Path,
    out: Path | None,
    wishes: Wishes,
    kind: str | None = None,
    workers: int = 1,
    pictures: bool = True,
    force: bool = False,
) -> Written:
    """Write a data card and its tree.

    Pictures that cannot be used are left out; so are the copies of one picture that would stand in two splits or under
    two labels. Nothing is written unless the card reads the data without a problem.

    Args:
        root: A folder of pictures, or a table of them.
        out: The card; ``<folder>.yaml`` in ``data_cards`` or here if None.
        wishes: What the user said.
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
    path = _place(root, out, force)
    base, found = _find(root, wishes)
    templates = _templates(found.taxonomy, kind)
    names = _names(found.taxonomy)
    shown = str(base.absolute())
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch) / path.name
        found.taxonomy.to_csv(draft.with_suffix(".csv"))
        strays = found.strays
        draft.write_text(card_text(path.stem, shown, found, {}, templates, names, strays), encoding="utf-8")
        first = audit(load_card(str(draft)), shown, workers, pictures)
        left_out = strays | _left_out(first)
        counts = {}
        if left_out or first.problems:
            draft.write_text(card_text(path.stem, shown, found, {}, templates, names, left_out), encoding="utf-8")
            first = _stated(audit(load_card(str(draft)), shown, workers, pictures=False), first)
        counts = {name: {"images": x.images, "leaves": x.leaves} for name, x in first.splits.items() if x.images}
        draft.write_text(card_text(path.stem, shown, found, counts, templates, names, left_out), encoding="utf-8")
        last = audit(load_card(str(draft)), shown, workers, pictures=False)
        if last.problems:
            raise UserError(f"no card can be made of {root} as it is", last.problems, "Mend this, then try again.")
        path.parent.mkdir(parents=True, exist_ok=True)
        for source, target in ((draft.with_suffix(".csv"), path.with_suffix(".csv")), (draft, path)):
            with whole_file(target) as partial:
                shutil.copyfile(source, partial)
    return Written(path, base, found, _stated(last, first), left_out)


def _place(root: Path, out: Path | None, force: bool) -> Path:
    if out is None:
        stem = root.absolute().resolve().stem if root.is_file() else root.absolute().resolve().name
        name = "".join(c if c.isalnum() or c in "_-" else "_" for c in stem).strip("_").casefold() or "my_data"
        out = (Path("data_cards") if Path("data_cards").is_dir() else Path()) / f"{name}.yaml"
    if out.suffix not in (".yaml", ".yml"):
        raise UserError(f"--out {out}: a card is a .yaml file")
    there = [str(path) for path in (out, out.with_suffix(".csv")) if path.exists()]
    if there and not force:
        raise UserError(f"{' and '.join(there)} would be overwritten", hint="Name another with --out, or add --force.")
    return out


def _find(root: Path, wishes: Wishes) -> tuple[Path, Found]:
    """The root of the data, and what was found there: a table before a hub's folder before plain folders."""
    if root.is_file():
        if root.suffix.lower() not in SUFFIXES:
            raise UserError(f"{root} is neither a folder nor a table ({', '.join(SUFFIXES)})")
        return root.parent, from_tables(root.parent, {"": root}, wishes)
    if is_hub(root):
        return root, from_hub(root, wishes)
    if tables := tables_of(root):
        return root, from_tables(root, tables, wishes)
    return root, from_folders(root, wishes)


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
    out = {key: "cannot be read" for key in first.unreadable}
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
