"""Folders of pictures whose nesting is the tree."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hierfit.data.images import passed_over, passed_over_text, pictures_below
from hierfit.data.names import respelled
from hierfit.errors import UserError
from hierfit.streams import as_text, is_text
from hierfit.taxonomy.checks import counted, listed
from hierfit.tools.new import found as finding
from hierfit.tools.new.found import Found, LabelPath, Options

_PLAIN_NAMES = """image images img imgs jpegimages picture pictures photo photos data dataset raw files labels
    annotations __macosx"""
_PLAIN = frozenset(_PLAIN_NAMES.split())
"""Folders that are no class."""
_A_FILE_EACH = {".txt": "YOLO", ".json": "LabelMe", ".xml": "Pascal VOC"}


def from_folders(root: Path, options: Options) -> Found:
    """``root/<split>/<label>/…`` where the folders of the root are splits, else ``root/<label>/…``.

    Raises:
        UserError: There are no pictures, or none in a folder of its own.
    """
    unread = passed_over(root)
    pictures = [path.relative_to(root) for path in pictures_below(root)]
    remarks = [passed_over_text(unread) + "."] if unread else []
    if not pictures:
        hint = "Give the folder that holds the folders of classes."
        what = f"{root} holds no picture, and no table of pictures"
        raise UserError(what, [passed_over_text(unread)] if unread else [], hint)
    if odd := [path.as_posix() for path in pictures if not is_text(str(path))]:
        what = f"{counted(len(odd), 'picture')} of {root} cannot be written into a card: the name is not UTF-8"
        raise UserError(what, [*map(as_text, odd[:5])], "Rename them: convmv -r -f cp1252 -t utf8 --notest FOLDER.")
    parts = [path.parent.parts for path in pictures]
    if below := _splits_below(root, parts):
        return _from_splits_below(root, pictures, below, options, remarks)
    own = _splits(parts, remarks)
    layout: dict[str, object] = {"name": "image_folder"}
    known = own if len(own) > 1 or own.keys() & {"train", "test"} else {}
    splits = finding.settle(known, options, remarks, "There are no folders of splits")
    if splits.own:
        above, tops = 1, set(splits.own.values())
        remarks.append(f"Splits are the folders {', '.join(splits.own.values())}.")
        folders = {split: name for split, name in splits.own.items() if split != name}
    else:
        inside = tuple(own.values()) or _wrapped(root, parts)
        above, tops = len(inside), set(inside[:1])
        folders = {"all": "/".join(inside)} if inside else {}
    layout |= {**({"folders": folders} if folders else {}), **splits.draw}
    labels = {path.as_posix(): names[above:] for path, names in zip(pictures, parts, strict=True)
              if not tops or (names and names[0] in tops)}  # fmt: skip
    unlabelled = {key: "in no folder of a class" for key, label in labels.items() if not label}
    # A folder on top is a class whatever it is called; below one, "unknown" says that no more is known.
    unknown = finding.not_known((name for label in labels.values() for name in label[1:]), remarks)
    names = dict.fromkeys(sorted(unknown), "")
    known_names = (name for label in labels.values() for name in label if name not in unknown)
    names |= finding.renamings(known_names, options.taxonomy, remarks)
    spelled = [respelled(label, names) for label in labels.values()]
    labelled = sorted({label for label in spelled if label})
    if not labelled or ({name.casefold() for label in labelled for name in label} <= _PLAIN):
        raise UserError(f"no picture of {root} lies in the folder of a class", hint=_instead(root, pictures))
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
    return Found(root, layout, finding.tree_of(labelled, options), remarks, unlabelled, test_only=splits.test_only)


def _instead(root: Path, pictures: Sequence[Path]) -> str:
    """The way out where folders say no class, by what lies beside the pictures."""
    stems = {path.stem for path in pictures}
    files = Counter(path.suffix for path in root.rglob("*") if path.suffix in _A_FILE_EACH and path.stem in stems)
    if files:
        (ending, count), *_ = files.most_common()
        return (f"{counted(count, 'file')} {ending}, one for each picture, as of {_A_FILE_EACH[ending]}: those are not "
                "read. Export them as COCO JSON, or write a table of path and label.")  # fmt: skip
    return "Put each class's pictures into a folder of its name, or write a table: path,label."


def _splits(parts: Sequence[LabelPath], remarks: list[str]) -> dict[str, str]:
    """The folders that are splits, where there is one to train on and another, or where all are."""
    tops = Counter(path[0] for path in parts if path)
    own = finding.split_of(tops)
    classes = {name: _has_classes({path[1:] for path in parts if path[:1] == (name,)} - {()}) for name in own.values()}
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


def _has_classes(labels: set[LabelPath]) -> bool:
    """Whether pictures lie in folders of classes, not in one that says nothing, as ``test/test``, ``test/unknown``."""
    if len(labels) == 1 and len(only := next(iter(labels))) == 1:
        return finding.is_known(only[0]) and not finding.split_word(only[0]) and only[0].casefold() not in _PLAIN
    return bool(labels)


def _wrapped(root: Path, parts: Sequence[LabelPath]) -> LabelPath:
    """Folders that hold all the others and say nothing: ``data/images``, or one named like the root."""
    inside: LabelPath = ()
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
            folders[:] = sorted(n for n in folders if not n.startswith(".") and n.casefold() not in _PLAIN)
            if not folders and Path(where) != top and not any(pictures_below(Path(where))):
                empty.append(Path(where).name)
    return empty


def _splits_below(root: Path, parts: Sequence[LabelPath]) -> Mapping[LabelPath, dict[str, str]]:
    """The folders in which there are splits; raises `UserError` if it is one: the root is too high up."""
    children: dict[LabelPath, set[str]] = {}
    for path in parts:
        for depth in range(1, len(path)):
            children.setdefault(path[:depth], set()).add(path[depth])
    below = {above: own for above, names in sorted(children.items()) if len(own := finding.split_of(sorted(names))) > 1
             and "train" in own}  # fmt: skip
    if len(below) == 1:
        ((above, own),) = below.items()
        folder = root.joinpath(*above)
        what = f"the splits {', '.join(own.values())} lie deeper, in {folder}"
        raise UserError(what, hint=f"hierfit data new {folder}")
    return below


def _from_splits_below(
    root: Path,
    pictures: Sequence[Path],
    below: Mapping[LabelPath, dict[str, str]],
    options: Options,
    remarks: list[str],
) -> Found:
    """``root/<label>/<split>/…``: no layout reads this, so a table of the pictures is written."""
    rows: list[finding.Row] = []
    for path in pictures:
        names = path.parent.parts
        for depth in range(1, len(names)):
            if (split := finding.split_word(names[depth])) and names[:depth] in below:
                rows.append((path.as_posix(), (*names[:depth], *names[depth + 1 :]), split))
    remarks.append("Each folder of a class holds folders of splits.")
    if len(rows) < len(pictures):
        remarks.append(f"Not used: {counted(len(pictures) - len(rows), 'picture')} in no folder of a split.")
    spelled = finding.renamings((name for _, label, _ in rows for name in label), options.taxonomy, remarks)
    rows = [(path, respelled(label, spelled), split) for path, label, split in rows]
    own = {split: split for split in finding.split_of({str(split) for *_, split in rows})}
    return finding.found_rows(root, rows, finding.settle(own, options, remarks, ""), options, remarks, {})
