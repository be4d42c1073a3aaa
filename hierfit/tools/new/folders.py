"""Folders of pictures whose nesting is the tree."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from hierfit.data.images import passed_over, passed_over_text
from hierfit.data.layouts.folders import pictures_below
from hierfit.data.names import respelled
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.tools.new.found import TEST_ONLY, Found, Label, Options, split_of, split_word, tested, tree_of
from hierfit.tools.new.spelling import classes_text, is_known, not_known, renamings

_PLAIN = frozenset(("image", "images", "img", "imgs", "pictures", "photos", "data", "dataset", "raw", "files"))
"""Folders that are no class."""


def from_folders(root: Path, options: Options) -> Found:
    """``root/<split>/<label>/…`` where the folders of the root are splits, else ``root/<label>/…``.

    Raises:
        UserError: There are no pictures, or none in a folder of its own.
    """
    remarks: list[str] = []
    unread = passed_over(root)
    pictures = pictures_below(root)
    if not pictures:
        raise UserError(
            f"{root} holds no picture, and no table of pictures",
            [passed_over_text(unread)] if unread else [],
            "Give the folder that holds the folders of classes.",
        )
    if unread:
        remarks.append(passed_over_text(unread) + ".")
    parts = [path.relative_to(root).parent.parts for path in pictures]
    _refuse_splits_below(root, parts)
    own = _splits(parts, remarks)
    layout: dict[str, object] = {"name": "image_folder"}
    test_only = own.keys() == {"test"}
    if "train" in own and len(own) > 1:
        own = tested(own, remarks)
    if len(own) > 1 or test_only:
        order = [split for split in ("train", "val", "test") if split in own]
        remarks.append("Splits are the folders " + ", ".join(own[split] for split in order) + ".")
        if folders := {split: own[split] for split in order if own[split] != split}:
            layout["folders"] = folders
        layout |= options.draw_val(own, remarks)
        remarks += [TEST_ONLY] if test_only else []
        tops = set(own.values())
        above = 1
    else:
        inside = (*own.values(),) or _wrapped(root, parts)
        tops, above = set(inside[:1]), len(inside)
        layout |= {"folders": {"all": "/".join(inside)}} if inside else {}
        layout["draw"] = options.draw
        remarks.append(
            "There are no folders of splits; they are drawn in each class, by a hash of each picture's path."
        )
    used = [not tops or (bool(path) and path[0] in tops) for path in parts]
    labels = [path[above:] for path, use in zip(parts, used, strict=True) if use]
    keys = [path.relative_to(root).as_posix() for path, use in zip(pictures, used, strict=True) if use]
    unlabelled = {key: "in no folder of a class" for key, label in zip(keys, labels, strict=True) if not label}
    # A folder on top is a class whatever it is called; below one, "unknown" says that no more is known.
    unknown = not_known((name for label in labels for name in label[1:]), remarks)
    names: dict[str, str] = dict.fromkeys(sorted(unknown), "")
    names |= renamings((name for label in labels for name in label if name not in unknown), options.taxonomy, remarks)
    spelled = [respelled(label, names) for label in labels]
    labelled = sorted({label for label in spelled if label})
    if not labelled:
        raise UserError(
            f"no picture of {root} lies in the folder of a class",
            hint="Put each class's pictures into a folder of its name, or write a table of path and label.",
        )
    if names:
        layout["names"] = names
    if options.taxonomy is not None:
        _name_innermost(layout, labelled, options.taxonomy, remarks)
    elif all(len(path) == 1 for path in labelled):
        remarks.append("The folders of classes do not nest: this is no tree yet. --taxonomy FILE gives one.")
    inner = {path[:depth] for path in labelled for depth in range(1, len(path))}
    if coarse := sum(path in inner for path in spelled):
        remarks.append(
            f"{coarse} pictures lie beside folders of finer classes: they are labelled with the coarser class."
        )
    if empty := _empty(root, tops):
        remarks.append(f"No picture that can be read is in the folders of {classes_text(empty)}: they are no classes.")
    return Found(root, layout, tree_of(labelled, options), remarks, unlabelled, test_only=test_only)


def _splits(parts: Sequence[Label], remarks: list[str]) -> dict[str, str]:
    """The folders that are splits, where there is one to train on and another, or one alone."""
    tops = Counter(path[0] for path in parts if path)
    own = split_of(tops)
    classes = {name: _has_classes([path[1:] for path in parts if path[:1] == (name,)]) for name in own.values()}
    for split, name in list(own.items()):
        if len(own) > 1 and not classes[name] and any(classes.values()):
            remarks.append(f"Not used: the {tops[name]} pictures in {name} lie in no folder of a class.")
            del own[split], tops[name]
    if "train" in own and len(own) > 1:
        if others := [name for name in tops if name not in own.values()]:
            remarks.append(f"Not used, for they are no splits: {', '.join(others)}.")
        return own
    return own if len(own) == 1 == len(tops) else {}


def _has_classes(labels: Sequence[Label]) -> bool:
    """Whether pictures lie in folders of classes, not in one that says nothing, as ``test/test``, ``test/unknown``."""
    found = {label for label in labels if label}
    if len(found) == 1 and len(only := next(iter(found))) == 1:
        return is_known(only[0]) and not split_word(only[0]) and only[0].casefold() not in _PLAIN
    return bool(found)


def _wrapped(root: Path, parts: Sequence[Label]) -> Label:
    """Folders that hold all the others and say nothing: ``data/images``, or one named like the root."""
    inside: Label = ()
    while True:
        names = {path[len(inside)] if len(path) > len(inside) else "" for path in parts}
        name = names.pop() if len(names) == 1 else ""
        deeper = name and any(len(path) > len(inside) + 1 for path in parts)
        if not deeper or not (name.casefold() in _PLAIN or name == root.name):
            return inside
        inside = (*inside, name)


def _name_innermost(layout: dict[str, object], labelled: Sequence[Label], tree: Taxonomy, remarks: list[str]) -> None:
    """Where folders do not nest as the tree does, the innermost one's name is looked for in all of it."""
    if not {path[0] for path in labelled}.isdisjoint(tree.names[: tree.level_sizes[0]]):
        return
    layout["labels"] = "name"
    remarks.append("Folders do not nest as the tree does: the innermost one's name is the class, wherever it stands.")


def _empty(root: Path, tops: Iterable[str]) -> list[str]:
    """Folders of classes below which there is no picture."""
    empty = []
    for top in [root / name for name in sorted(tops)] or [root]:
        for where, folders, _ in os.walk(top):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if not folders and Path(where) != top and not pictures_below(Path(where)):
                empty.append(Path(where).name)
    return empty


def _refuse_splits_below(root: Path, parts: Sequence[Label]) -> None:
    """A root too high up would make classes of train and test."""
    children: dict[Label, set[str]] = {}
    for path in parts:
        for depth in range(1, len(path)):
            children.setdefault(path[:depth], set()).add(path[depth])
    for above, names in sorted(children.items()):
        own = split_of(sorted(names))
        if "train" in own and len(own) > 1:
            folder = root.joinpath(*above)
            raise UserError(
                f"the splits {', '.join(own.values())} lie deeper, in {folder}", hint=f"hierfit data new {folder}"
            )
