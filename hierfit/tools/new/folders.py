"""Folders of pictures whose nesting is the tree."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from hierfit.data.images import passed_over, passed_over_text, pictures_below
from hierfit.data.names import respelled
from hierfit.errors import UserError
from hierfit.streams import as_text, is_text
from hierfit.taxonomy.checks import counted, listed
from hierfit.tools.new import found as finding
from hierfit.tools.new.found import Found, LabelPath, Options, Row

_SAYING_NOTHING = """image images img imgs jpegimages picture pictures photo photos data dataset raw files labels
    annotations __macosx"""
_NO_CLASS = frozenset(_SAYING_NOTHING.split())
"""Folders that are no class."""
_A_FILE_EACH = {".txt": "YOLO", ".json": "LabelMe", ".xml": "Pascal VOC"}


def from_folders(root: Path, options: Options) -> Found:
    """``root/<split>/<label>/…``, ``root/<label>/<split>/…`` or ``root/<label>/…``.

    Raises:
        UserError: There are no pictures, or none in a folder of its own.
    """
    unread = passed_over(root)
    remarks = [passed_over_text(unread) + "."] if unread else []
    paths = [path.relative_to(root) for path in pictures_below(root)]
    if not paths:
        hint = "Give the folder that holds the folders of classes."
        raise UserError(f"{root} holds no picture, and no table of pictures", remarks, hint)
    if odd := [path.as_posix() for path in paths if not is_text(str(path))]:
        what = f"{counted(len(odd), 'picture')} of {root} cannot be written into a card: the name is not UTF-8"
        raise UserError(what, [*map(as_text, odd[:5])], "Rename them: convmv -r -f cp1252 -t utf8 --notest FOLDER.")
    places = {path.as_posix(): path.parent.parts for path in paths}
    layout: dict[str, object] = {}
    if inner := _splits_within(root, set(places.values())):
        remarks.append("Each folder of a class holds folders of splits.")
        rows: list[Row] = [(key, (*names[:depth], *names[depth + 1 :]), finding.split_word(names[depth]))
                           for key, names in places.items() if (depth := inner.get(names))]  # fmt: skip
        if len(rows) < len(places):
            remarks.append(f"Not used: {counted(len(places) - len(rows), 'picture')} in no folder of a split.")
        splits = finding.settle({split: split for split in finding.split_of(str(row[2]) for row in rows)}, options,
                                remarks, "")  # fmt: skip
        return _of_rows(root, rows, splits, layout, options, remarks)
    own = _splits_on_top(places.values(), remarks)
    known = own if len(own) > 1 or own.keys() & {"train", "test"} else {}
    splits = finding.settle(known, options, remarks, "There are no folders of splits")
    inside = () if splits.own else tuple(own.values()) or _wrapped(root, places.values())
    tops = set(splits.own.values()) or set(inside[:1])
    if splits.own:
        remarks.append(f"Splits are the folders {', '.join(splits.own.values())}.")
        folders = {split: name for split, name in splits.own.items() if split != name}
        rows = [(key, names[1:], names[0]) for key, names in places.items() if names and names[0] in tops]
    else:
        folders = {"all": "/".join(inside)} if inside else {}
        rows = [(key, names[len(inside) :], None) for key, names in places.items() if not tops or names[0] in tops]
    layout = {"name": "image_folder", **({"folders": folders} if folders else {})}
    if empty := _empty(root, tops):
        folders_of = counted(len(empty), "folder holds", "folders hold")
        remarks.append(f"{folders_of} no picture that can be read, and no class is made of it: {listed(empty)}.")
    return _of_rows(root, rows, splits, layout, options, remarks)


def _of_rows(
    root: Path, rows: Sequence[Row], splits: finding.Splits, layout: dict[str, object], options: Options,
    remarks: list[str],
) -> Found:  # fmt: skip
    """What pictures with the folders they lie in are made into."""
    # A folder on top is a class whatever it is called; below one, "unknown" says that no more is known.
    unknown = finding.not_known((name for _, label, _ in rows for name in label[1:]), remarks)
    labels, names = finding.in_one_spelling([label for _, label, _ in rows], options.taxonomy, remarks, unknown)
    unlabelled = {key: "in no folder of a class" for (key, *_), label in zip(rows, labels, strict=True) if not label}
    labelled = [(key, label, split) for (key, _, split), label in zip(rows, labels, strict=True) if label]
    if {name.casefold() for _, label, _ in labelled for name in label} <= _NO_CLASS:
        raise UserError(f"no picture of {root} lies in the folder of a class", hint=_instead(root))
    layout |= {"names": names} if layout and names else {}
    if any(respelled(label, names) != node for (_, label, _), node in zip(rows, labels, strict=True)):
        layout |= {"labels": "name"} if layout else {}
        remarks.append("Folders do not nest as the tree does: the innermost one's name is the class, wherever it "
                       "stands.")  # fmt: skip
    elif options.taxonomy is None and all(len(label) == 1 for _, label, _ in labelled):
        remarks.append("The folders of classes do not nest, so there is no tree yet. --taxonomy FILE gives one.")
    inner = {label[:depth] for _, label, _ in labelled for depth in range(1, len(label))}
    if coarse := sum(label in inner for _, label, _ in labelled):
        lie = counted(coarse, "picture lies", "pictures lie")
        remarks.append(f"{lie} beside folders of finer classes: labelled with the coarser class.")
    return finding.found_rows(root, labelled, splits, options, remarks, layout, unlabelled)


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
    above = {place: own for place, below in sorted(children.items()) if len(own := finding.split_of(sorted(below))) > 1
             and "train" in own}  # fmt: skip
    if len(above) == 1:
        ((place, own),) = above.items()
        folder = root.joinpath(*place)
        what = f"the splits {', '.join(own.values())} lie deeper, in {folder}"
        raise UserError(what, hint=f"hierfit data new {folder}")
    return {names: depth for names in places for depth in range(1, len(names))
            if names[:depth] in above and finding.split_word(names[depth])}  # fmt: skip


def _splits_on_top(places: Iterable[LabelPath], remarks: list[str]) -> dict[str, str]:
    """The folders that are splits, where there is one to train on and another, or where all are."""
    tops = Counter(names[0] for names in places if names)
    own = finding.split_of(tops)
    labels = {split: {names[1:] for names in places if names[:1] == (name,)} for split, name in own.items()}
    for split in [split for split in own if not _has_classes(labels[split])]:
        if len(own) > 1 and any(map(_has_classes, labels.values())):
            name = own.pop(split)
            pictures = counted(tops.pop(name), "picture lies", "pictures lie")
            remarks.append(f"Not used: {pictures} in {name}, in no folder of a class.")
    others = [name for name in tops if name not in own.values()]
    if "train" not in own or len(own) < 2:
        return {} if others else own
    if others:
        remarks.append(f"Not used, for they are no splits: {', '.join(others)}.")
    return own


def _has_classes(labels: Collection[LabelPath]) -> bool:
    """Whether pictures lie in folders of classes, not in one that says nothing, as ``test/test``, ``test/unknown``."""
    named = [label for label in labels if label]
    if len(named) == 1 and len(named[0]) == 1:
        (only,) = named[0]
        return finding.is_known(only) and not finding.split_word(only) and only.casefold() not in _NO_CLASS
    return bool(named)


def _wrapped(root: Path, places: Collection[LabelPath]) -> LabelPath:
    """Folders that hold all the others and say nothing: ``data/images``, or one named like the root."""
    inside: LabelPath = ()
    while len(names := {names[len(inside) : len(inside) + 1] for names in places}) == 1 and any(
        len(names) > len(inside) + 1 for names in places
    ):
        (name,) = names.pop()
        if name.casefold() not in _NO_CLASS and name != root.name:
            break
        inside = (*inside, name)
    return inside


def _empty(root: Path, tops: Iterable[str]) -> list[str]:
    """Folders of classes below which there is no picture."""
    empty = []
    for top in [root / name for name in sorted(tops)] or [root]:
        for where, folders, _ in os.walk(top):
            folders[:] = sorted(n for n in folders if not n.startswith(".") and n.casefold() not in _NO_CLASS)
            if not folders and Path(where) != top and not any(pictures_below(Path(where))):
                empty.append(Path(where).name)
    return empty
