"""JSON that names pictures, as annotation tools and benchmarks write it: rows of text out of documents.

COCO (and Roboflow, iNaturalist, LVIS), Label Studio, CoOp, lists of records wrapped or not, and mappings of pictures.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hierfit.data.images import EXTENSIONS, UNREAD
from hierfit.tools.lines import counted
from hierfit.tools.new.found import split_of

JOIN = "\x1f"
"""Between the names of a path that is a list in the document."""

_ENDING = re.compile(rf"\.(?:{'|'.join(e[1:] for e in sorted(EXTENSIONS | UNREAD))})(?:$|\?)", re.IGNORECASE)

Row = dict[str, str]


@dataclass(frozen=True)
class Export:
    """Rows of pictures.

    Attributes:
        rows: Cells by column.
        splits: The split of each, where the document groups them so.
        remarks: What was found out.
    """

    rows: list[Row]
    splits: list[str] | None = None
    remarks: list[str] = field(default_factory=list)


def names_picture(cell: object) -> bool:
    """Whether a cell ends as the name of a picture does."""
    return isinstance(cell, str) and bool(_ENDING.search(cell))


def records_of(document: Any) -> Export | None:
    """The rows of a document; None where its form is not known."""
    if isinstance(document, list):
        if not document or not all(isinstance(entry, dict) for entry in document):
            return None
        if all(isinstance(entry.get("data"), dict) for entry in document):
            return _label_studio(document)
        return Export([_flat(entry) for entry in document])
    if not isinstance(document, dict):
        return None
    if all(isinstance(document.get(key), list) for key in ("images", "annotations", "categories")):
        return _coco(document)
    own = split_of(document)
    if own and set(own.values()) == {key for key, part in document.items() if isinstance(part, list | dict)}:
        parts = {name: _part(document[name]) for name in own.values()}
        if all(part is not None for part in parts.values()):
            named = [(name, row) for name, part in parts.items() for row in part or ()]
            return Export([row for _, row in named], [name for name, _ in named])
    lists = [part for part in document.values() if isinstance(part, list) and part and isinstance(part[0], dict)]
    if lists:  # a list of records in a wrapper
        return records_of(max(lists, key=len))
    rows = _mapping(document)
    return None if rows is None else Export(rows)


def _part(part: Any) -> list[Row] | None:
    """The rows of one split: CoOp's ``[path, number, class]``, records, or a mapping of pictures."""
    if isinstance(part, dict):
        return _mapping(part)
    if all(isinstance(row, list) and len(row) in (2, 3) for row in part):
        names = ("path", "number", "class")
        return [{name: _cell(cell) for name, cell in zip((names[0], *names[-len(row) + 1 :]), row, strict=True)}
                for row in part]  # fmt: skip
    export = records_of(part)
    return None if export is None else export.rows


def _mapping(document: Mapping[str, Any]) -> list[Row] | None:
    """``{picture: label}``, ``{picture: record}`` or ``{label: [pictures]}``."""
    if all(map(names_picture, document)) and document:
        return [
            {"path": key, **(_flat(entry) if isinstance(entry, dict) else {"label": _cell(entry)})}
            for key, entry in document.items()
        ]
    lists = {key: entry for key, entry in document.items() if isinstance(entry, list)}
    if lists and all(names_picture(name) for entry in lists.values() for name in entry):
        return [{"path": name, "label": key} for key, entry in lists.items() for name in entry]
    return None


def _flat(entry: Mapping[str, Any], before: str = "") -> Row:
    """A record as cells: nested keys are joined by dots, a list of names is one path."""
    row: Row = {}
    for key, value in entry.items():
        if isinstance(value, dict):
            row |= _flat(value, f"{before}{key}.")
        else:
            row[f"{before}{key}"] = _cell(value)
    return row


def _cell(value: Any) -> str:
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, list):
        inner = value[0] if len(value) == 1 and isinstance(value[0], list) else value
        return "" if any(isinstance(entry, list | dict) for entry in inner) else JOIN.join(map(_cell, inner))
    return str(value).strip()


def list_cell(text: str) -> str:
    """A list or mapping in JSON or Python's form as the path of names that it holds; other text as it is."""
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict):
            value = next(iter(value.values())) if len(value) == 1 else None
        return _cell(value) if isinstance(value, list) else text
    return text


def _coco(document: Mapping[str, Any]) -> Export:
    """A row an image: its own facts and those of its category."""
    remarks = ["Images, annotations and categories: the form of COCO."]
    categories = {entry.get("id"): entry for entry in document["categories"] if isinstance(entry, dict)}
    labels: dict[Any, set[Any]] = {}
    for entry in document["annotations"]:
        if isinstance(entry, dict) and entry.get("category_id") in categories:
            labels.setdefault(_key(entry.get("image_id")), set()).add(entry["category_id"])
    rows, several = [], 0
    for image in document["images"]:
        if not isinstance(image, dict):
            continue
        own = labels.get(_key(image.get("id")), set())
        several += len(own) > 1
        facts = {key: cell for key, cell in _flat(image).items() if key not in ("id", "license", "width", "height")}
        category = _flat(categories[next(iter(own))]) if len(own) == 1 else {}
        category = {key: cell for key, cell in category.items() if key != "id"}
        rows.append({"file_name": "", **facts, **{f"category.{key}": cell for key, cell in category.items()}})
    if several:
        remarks.append(f"{counted(several, 'image')} with things of several categories: left out, without one label.")
    used = {key for own in labels.values() for key in own}
    if unused := [str(entry.get("name")) for key, entry in categories.items() if key not in used]:
        remarks.append(f"Categories without an image: {', '.join(sorted(unused)[:10])}.")
    return Export(rows, None, remarks)


def _key(value: Any) -> Any:
    return value if isinstance(value, int | str) else repr(value)


def _label_studio(tasks: list[dict[str, Any]]) -> Export:
    """A row a task: its data, and a column for each control's choice."""
    rows, several = [], 0
    for task in tasks:
        row = _flat(task["data"])
        chosen: dict[str, set[str]] = {}
        for name, cell in _choices(task):
            chosen.setdefault(name, set()).add(cell)
        several += any(len(cells) > 1 for cells in chosen.values())
        rows.append({**row, **{name: cells.pop() if len(cells) == 1 else "" for name, cells in chosen.items()}})
    remarks = ["Tasks with data and annotations: an export of Label Studio."]
    if several:
        remarks.append(f"{counted(several, 'task')} with several choices of one kind: they count as not labelled.")
    return Export(rows, None, remarks)


def _choices(task: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for annotation in task.get("annotations") or task.get("completions") or ():
        if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
            continue
        for result in annotation.get("result") or ():
            value = result.get("value") if isinstance(result, dict) else None
            for kind in ("choices", "taxonomy", "rectanglelabels", "labels"):
                for chosen in (value or {}).get(kind) or () if isinstance(value, dict) else ():
                    yield str(result.get("from_name") or kind), _cell(chosen)
