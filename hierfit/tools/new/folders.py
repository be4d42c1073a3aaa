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
from hierfit.tools.new.found import Found, Label, Options, settle, split_of, split_word, tree_of
from hierfit.tools.new.spelling import is_known, not_known, renamings
from hierfit.tools.printing import counted, listed

_PLAIN = frozenset(("image", "images", "img", "imgs", "pictures", "photos", "data", "dataset", "raw", "files"))
"""Folders that are no class."""


def from_folders(root: Path, options: Options) -> Found:
    """``root/<split>/<label>/…`` where the folders of the root are splits, else ``root/<label>/…``.

    Raises:
        UserError: There are no pictures, or none in a folder of its own.
    """
    unread = passed_over(root)
    pictures = pictures_below(root)
    remarks = [passed_over_text(unread) + "."] if unread else []
    if not pictures:
        raise UserError(
            f"{root} holds no picture, and no table of pictures",
            [passed_over_text(unread)] if unread else [],
            "Give the folder that holds the folders of classes.",
        )
    parts = [path.relative_to(root).parent.parts for path in pictures]
    _refuse_splits_below(root, parts)
    own = _splits(parts, remarks)
    layout: dict[str, object] = {"name": "image_folder"}
    told = own if len(own) > 1 or "test" in own else {}
    splits = settle(told, options, remarks, "There are no folders of splits")
    if splits.own:
        above, tops = 1, set(splits.own.values())
        remarks.append(f"Splits are the folders {', '.join(splits.own.values())}.")
        folders = {split: name for split, name in splits.own.items() if split != name}
    else:
        inside = tuple(own.values()) or _wrapped(root, parts)
        above, tops = len(inside), set(inside[:1])
        folders = {"all": "/".join(inside)} if inside else {}
    layout |= {**({"folders": folders} if folders else {}), **splits.draw}
    labels = {
        path.relative_to(root).as_posix(): names[above:]
        for path, names in zip(pictures, parts, strict=True)
        if not tops or (names and names[0] in tops)
    }
    unlabelled = {key: "in no folder of a class" for key, label in labels.items() if not label}
    # A folder on top is a class whatever it is called; below one, "unknown" says that no more is known.
    unknown = not_known((name for label in labels.values() for name in label[1:]), remarks)
    names = dict.fromkeys(sorted(unknown), "")
    known = (name for label in labels.values() for name in label if name not in unknown)
    names |= renamings(known, options.taxonomy, remarks)
    spelled = [respelled(label, names) for label in labels.values()]
    labelled = sorted({label for label in spelled if label})
    if not labelled:
        raise UserError(
            f"no picture of {root} lies in the folder of a class",
            hint="Put each class's pictures into a folder of its name, or write a table of path and label.",
        )
    if names:
        layout["names"] = names
    if (tree := options.taxonomy) is not None:
        if {path[0] for path in labelled}.isdisjoint(tree.names[: tree.level_sizes[0]]):
            layout["labels"] = "name"
            remarks.append(
                "Folders do not nest as the tree does: the innermost one's name is the class, wherever it stands."
            )
    elif all(len(path) == 1 for path in labelled):
        remarks.append("The folders of classes do not nest, so there is no tree yet. --taxonomy FILE gives one.")
    inner = {path[:depth] for path in labelled for depth in range(1, len(path))}
    if coarse := sum(path in inner for path in spelled):
        lie = counted(coarse, "picture lies", "pictures lie")
        remarks.append(f"{lie} beside folders of finer classes: labelled with the coarser class.")
    if empty := _empty(root, tops):
        folders_of = counted(len(empty), "folder holds", "folders hold")
        remarks.append(f"{folders_of} no picture that can be read, and no class is made of it: {listed(empty)}.")
    return Found(root, layout, tree_of(labelled, options), remarks, unlabelled, test_only=splits.test_only)


def _splits(parts: Sequence[Label], remarks: list[str]) -> dict[str, str]:
    """The folders that are splits, where there is one to train on and another, or where all are."""
    tops = Counter(path[0] for path in parts if path)
    own = split_of(tops)
    classes = {name: _has_classes([path[1:] for path in parts if path[:1] == (name,)]) for name in own.values()}
    for split, name in list(own.items()):
        if len(own) > 1 and not classes[name] and any(classes.values()):
            pictures, lie = counted(tops[name], "picture"), "lies" if tops[name] == 1 else "lie"
            remarks.append(f"Not used: {pictures} in {name} {lie} in no folder of a class.")
            del own[split], tops[name]
    others = [name for name in tops if name not in own.values()]
    if "train" in own and len(own) > 1:
        if others:
            remarks.append(f"Not used, for they are no splits: {', '.join(others)}.")
        return own
    return {} if others else own


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
