"""Folders of pictures whose nesting is the tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hierfit.data.layouts.image_folder import pictures_below
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.tools.new.found import Found, Wishes, split_of, tested, tree_of


def from_folders(root: Path, wishes: Wishes) -> Found:
    """``root/<split>/<label>/…`` where the folders of the root are splits, else ``root/<label>/…``.

    Raises:
        UserError: There are no pictures, or none in a folder of its own.
    """
    remarks: list[str] = []
    pictures = pictures_below(root)
    if not pictures:
        raise UserError(
            f"{root} holds no picture, and no table of pictures",
            hint="Give the folder that holds the folders of classes.",
        )
    parts = [path.relative_to(root).parent.parts for path in pictures]
    _refuse_splits_below(root, parts)
    counts = Counter(path[0] for path in parts if path)
    own = split_of(list(counts))
    others = [name for name in counts if name not in own.values()]
    if {"train", "test"} <= own.keys() or {"train", "val"} <= own.keys():
        if others:
            remarks.append(f"Not used, for they are no splits: {', '.join(others)}.")
        own = tested(own, remarks)
        order = [split for split in ("train", "val", "test") if split in own]
        remarks.append("Splits are the folders " + ", ".join(own[split] for split in order) + ".")
        used = [bool(path) and path[0] in own.values() for path in parts]
        folders = {split: own[split] for split in order if own[split] != split}
        layout: dict[str, object] = {"name": "image_folder", **({"folders": folders} if folders else {})}
    else:
        within = next(iter(own.values())) if len(counts) == 1 and own else None
        used = [bool(path) or not within for path in parts]
        layout = {"name": "image_folder", **({"folders": {"all": within}} if within else {}), "draw": wishes.draw}
        remarks.append(
            "There are no folders of splits; they are drawn in each class, by a hash of each picture's path."
        )
    skip = 0 if "draw" in layout and "folders" not in layout else 1
    labels = [path[skip:] for path, use in zip(parts, used, strict=True) if use]
    strays = {
        picture.relative_to(root).as_posix(): "in no folder of a class"
        for picture, path, use in zip(pictures, parts, used, strict=True)
        if use and not path[skip:]
    }
    labelled = sorted({path for path in labels if path})
    if not labelled:
        raise UserError(
            f"no picture of {root} lies in the folder of a class",
            hint="Put each class's pictures into a folder of its name, or write a table of path and label.",
        )
    if wishes.taxonomy is not None:
        _name_innermost(layout, labelled, wishes.taxonomy, remarks)
    elif all(len(path) == 1 for path in labelled):
        remarks.append("The folders of classes do not nest: this is no tree yet. --taxonomy FILE gives one.")
    inner = {path[:depth] for path in labelled for depth in range(1, len(path))}
    if coarse := sum(path in inner for path in labels):
        remarks.append(
            f"{coarse} pictures lie beside folders of finer classes: they are labelled with the coarser class."
        )
    return Found(layout, tree_of(labelled, wishes), remarks, strays)


def _name_innermost(
    layout: dict[str, object], labelled: Sequence[tuple[str, ...]], tree: Taxonomy, remarks: list[str]
) -> None:
    """Where folders do not nest as the tree does, the innermost one's name is looked for in all of it."""
    if not {path[0] for path in labelled}.isdisjoint(tree.names[: tree.level_sizes[0]]):
        return
    layout["labels"] = "name"
    remarks.append("Folders do not nest as the tree does: the innermost one's name is the class, wherever it stands.")


def _refuse_splits_below(root: Path, parts: Sequence[tuple[str, ...]]) -> None:
    """A root too high up would make classes of train and test."""
    children: dict[tuple[str, ...], set[str]] = {}
    for path in parts:
        for depth in range(1, len(path)):
            children.setdefault(path[:depth], set()).add(path[depth])
    for above, names in sorted(children.items()):
        if {"train", "test"} <= (own := split_of(sorted(names))).keys():
            folder = root.joinpath(*above)
            raise UserError(
                f"the splits {', '.join(own.values())} lie deeper, in {folder}", hint=f"hierfit data new {folder}"
            )
