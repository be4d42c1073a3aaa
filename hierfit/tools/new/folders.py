"""Folders of pictures whose nesting is the tree."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile
from pathlib import Path

from hierfit.data.images import passed_over, passed_over_text, pictures_below
from hierfit.data.names import respelled
from hierfit.errors import UserError
from hierfit.streams import as_text, is_text
from hierfit.taxonomy.checks import counted, listed
from hierfit.tools.new.found import Found, LabelPath, Row, is_known, split_of, split_word

_SAYING_NOTHING = """image images img imgs jpegimages picture pictures photo photos data dataset raw files labels
    annotations __macosx"""
_PLAIN_FOLDERS = frozenset(_SAYING_NOTHING.split())
"""Folders that are no class."""
_A_FILE_EACH = {".txt": "YOLO", ".json": "LabelMe", ".xml": "Pascal VOC"}


def from_folders(found: Found) -> None:
    """``root/<split>/<label>/…``, ``root/<label>/<split>/…`` or ``root/<label>/…``.

    Raises:
        UserError: There are no pictures, or none in a folder of its own.
    """
    root = found.root
    if unread := passed_over(root):
        found.remarks.append(passed_over_text(unread) + ".")
    paths = [path.relative_to(root) for path in pictures_below(root)]
    if not paths:
        hint = "Give the folder that holds the folders of classes."
        raise UserError(f"{root} holds no picture, and no table of pictures", found.remarks, hint)
    if odd := [path.as_posix() for path in paths if not is_text(str(path))]:
        what = f"{counted(len(odd), 'picture')} of {root} cannot be written into a card: the name is not UTF-8"
        raise UserError(what, [*map(as_text, odd[:5])], "Rename them: convmv -r -f cp1252 -t utf8 --notest FOLDER.")
    places = {path.as_posix(): path.parent.parts for path in paths}
    if within := _splits_within(root, set(places.values())):
        rows: list[Row] = [(key, (*names[:depth], *names[depth + 1 :]), split_word(names[depth]))
                           for key, names in places.items() if (depth := within.get(names))]  # fmt: skip
        found.remarks.append("Each folder of a class holds folders of splits.")
        if len(rows) < len(places):
            found.remarks.append(f"Not used: {counted(len(places) - len(rows), 'picture')} in no folder of a split.")
        found.settle({split: split for split in split_of(str(own) for *_, own in rows)})
    else:
        rows = _below_splits(found, places)
    _take(found, rows)


def _below_splits(found: Found, places: dict[str, LabelPath]) -> list[Row]:
    """Pictures below folders of splits, or below the root or a folder that says nothing; and the layout of both."""
    own = _splits_on_top(found, places.values())
    found.settle(own if len(own) > 1 or own.keys() & {"train", "test"} else {}, "There are no folders of splits")
    inside = () if found.splits else tuple(own.values()) or _wrapped(found.root, set(places.values()))
    tops = set(found.splits.values()) or set(inside[:1])
    if empty := _empty(found.root, tops):
        of = counted(len(empty), "folder holds", "folders hold")
        found.remarks.append(f"{of} no picture that can be read, and no class is made of it: {listed(empty)}.")
    found.layout = {"name": "image_folder"}
    if found.splits:
        found.remarks.append(f"Splits are the folders {', '.join(found.splits.values())}.")
        if folders := {split: name for split, name in found.splits.items() if split != name}:
            found.layout["folders"] = folders
        return [(key, names[1:], names[0]) for key, names in places.items() if names and names[0] in tops]
    if inside:
        found.layout["folders"] = {"all": "/".join(inside)}
    return [(key, names[len(inside) :], None) for key, names in places.items() if names[: len(inside)] == inside]


def _take(found: Found, rows: Sequence[Row]) -> None:
    """Makes samples of pictures by the folders they lie in."""
    # A folder on top is a class whatever it is called; below one, "unknown" says that no more is known.
    unknown = found.not_known(name for _, label, _ in rows for name in label[1:])
    nodes, names = found.in_one_spelling([label for _, label, _ in rows], unknown)
    found.left_out = {key: "in no folder of a class" for (key, *_), node in zip(rows, nodes, strict=True) if not node}
    labelled = [(key, node, split) for (key, _, split), node in zip(rows, nodes, strict=True) if node]
    if {name.casefold() for _, node, _ in labelled for name in node} <= _PLAIN_FOLDERS:
        raise UserError(f"no picture of {found.root} lies in the folder of a class", hint=_instead(found.root))
    found.layout |= {"names": names} if found.layout and names else {}
    if any(respelled(label, names) != node for (_, label, _), node in zip(rows, nodes, strict=True)):
        found.layout |= {"labels": "name"} if found.layout else {}
        found.remarks.append("Folders do not nest as the tree does: the innermost one's name is the class, wherever it "
                             "stands.")  # fmt: skip
    elif found.options.taxonomy is None and all(len(node) == 1 for _, node, _ in labelled):
        found.remarks.append("The folders of classes do not nest, so there is no tree yet. --taxonomy FILE gives one.")
    inner = {node[:depth] for _, node, _ in labelled for depth in range(1, len(node))}
    if coarse := sum(node in inner for _, node, _ in labelled):
        lie = counted(coarse, "picture lies", "pictures lie")
        found.remarks.append(f"{lie} beside folders of finer classes: labelled with the coarser class.")
    found.keep(labelled)


def _instead(root: Path) -> str:
    """The way out where folders say no class, by what lies beside the pictures."""
    stems = {path.stem for path in pictures_below(root)}
    files = Counter(path.suffix for path in root.rglob("*") if path.suffix in _A_FILE_EACH and path.stem in stems)
    for ending, count in files.most_common(1):
        return (f"{counted(count, 'file')} {ending}, one for each picture, as of {_A_FILE_EACH[ending]}: those are not "
                "read. Export them as COCO JSON, or write a table of path and label.")  # fmt: skip
    return "Put each class's pictures into a folder of its name, or write a table: path,label."


def _splits_within(root: Path, places: Collection[LabelPath]) -> dict[LabelPath, int]:
    """At which depth folders are those of splits, where these lie in several; raises `UserError` if they lie in one:
    the root is too high up."""
    children: dict[LabelPath, set[str]] = {}
    for names in places:
        for depth in range(1, len(names)):
            children.setdefault(names[:depth], set()).add(names[depth])
    above = {place: own for place, below in sorted(children.items()) if len(own := split_of(sorted(below))) > 1
             and "train" in own}  # fmt: skip
    if len(above) == 1:
        ((place, own),) = above.items()
        folder = root.joinpath(*place)
        what = f"the splits {', '.join(own.values())} lie deeper, in {folder}"
        raise UserError(what, hint=f"hierfit data new {folder}")
    return {names: depth for names in places for depth in range(1, len(names))
            if names[:depth] in above and split_word(names[depth])}  # fmt: skip


def _splits_on_top(found: Found, places: Iterable[LabelPath]) -> dict[str, str]:
    """The folders that are splits, where there is one to train on and another, or where all are."""
    tops = Counter(names[0] for names in places if names)
    own = split_of(tops)
    has_classes = {split: _has_classes({names[1:] for names in places if names[:1] == (name,)})
                   for split, name in own.items()}  # fmt: skip
    for split in [split for split in own if not has_classes[split] and any(has_classes.values())]:
        name = own.pop(split)
        pictures = counted(tops.pop(name), "picture lies", "pictures lie")
        found.remarks.append(f"Not used: {pictures} in {name}, in no folder of a class.")
    others = [name for name in tops if name not in own.values()]
    if "train" not in own or len(own) < 2:
        return {} if others else own
    if others:
        found.remarks.append(f"Not used, for they are no splits: {', '.join(others)}.")
    return own


def _has_classes(labels: set[LabelPath]) -> bool:
    """Whether pictures lie in folders of classes, not in one that says nothing, as ``test/test``, ``test/unknown``."""
    named = {label for label in labels if label}
    if len(named) == 1 and len(only := min(named)) == 1:
        return is_known(only[0]) and not split_word(only[0]) and only[0].casefold() not in _PLAIN_FOLDERS
    return bool(named)


def _wrapped(root: Path, places: Collection[LabelPath]) -> LabelPath:
    """Folders that hold all the others and say nothing: ``data/images``, or one named like the root."""
    common = takewhile(lambda names: len({*names}) == 1, zip(*places, strict=False))
    inside = tuple(names[0] for names in common)[: max(map(len, places)) - 1]  # the innermost one may be a class
    named = (i for i, name in enumerate(inside) if name.casefold() not in _PLAIN_FOLDERS and name != root.name)
    return inside[: next(named, len(inside))]


def _empty(root: Path, tops: Iterable[str]) -> list[str]:
    """Folders of classes below which there is no picture."""
    empty = []
    for top in [root / name for name in sorted(tops)] or [root]:
        for where, folders, _ in os.walk(top):
            folders[:] = sorted(n for n in folders if not n.startswith(".") and n.casefold() not in _PLAIN_FOLDERS)
            if not folders and Path(where) != top and not any(pictures_below(Path(where))):
                empty.append(Path(where).name)
    return empty
