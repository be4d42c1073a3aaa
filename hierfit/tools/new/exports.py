"""JSON that names pictures, as annotation tools and benchmarks write it: rows of text out of documents.

COCO (and Roboflow, iNaturalist, LVIS), Label Studio, CoOp, lists of records wrapped or not, and mappings of pictures.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hierfit.data.images import EXTENSIONS, UNREAD
from hierfit.errors import UserError
from hierfit.tools.new.found import split_of
from hierfit.tools.printing import counted, listed

LINES = (".jsonl", ".ndjson")
JOIN = "\x1f"
"""Between the names of a path that is a list in the document."""

_ENDING = re.compile(rf"\.(?:{'|'.join(e[1:] for e in sorted(EXTENSIONS | UNREAD))})(?:$|\?)", re.IGNORECASE)

Row = dict[str, str]


@dataclass(frozen=True)
class Export:
    """Cells by column of each row; the split of each, where the document groups them so; what was found out."""

    rows: list[Row]
    splits: list[str] | None = None
    remarks: list[str] = field(default_factory=list)


def names_picture(cell: object) -> bool:
    """Whether a cell ends as the name of a picture does."""
    return isinstance(cell, str) and bool(_ENDING.search(cell))


def read_export(path: Path, text: str) -> Export:
    """The rows of a JSON document, or of JSON lines.

    Raises:
        UserError: It is neither, or of no form that is known here.
    """
    in_lines = path.suffix.lower() in LINES and not text.lstrip().startswith("[")
    lines = text.split("\n") if in_lines else [text]
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found += [json.loads(line)] if line.strip() else []
        except (ValueError, RecursionError) as error:
            where = f"{path}: line {number}" if in_lines else str(path)
            raise UserError(f"{where}: cannot be read: {error}") from error
    try:
        export = _rows_of(found if in_lines else found[0])
    except RecursionError as error:
        raise UserError(f"{path}: cannot be read: it is nested too deep") from error
    if export is None:
        raise UserError(
            f"{path} is no list of pictures that is known here",
            hint="COCO, Label Studio and CoOp are; and lists of records, and {picture: label}.",
        )
    return export


def _rows_of(document: Any) -> Export | None:
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
    own = set(split_of(document).values())
    if own and own == {key for key, part in document.items() if isinstance(part, list | dict)}:
        parts = {name: _part(document[name]) for name in document if name in own}
        if all(part is not None for part in parts.values()):
            named = [(name, row) for name, part in parts.items() for row in part or ()]
            return Export([row for _, row in named], [name for name, _ in named])
    lists = [part for part in document.values() if isinstance(part, list) and part and isinstance(part[0], dict)]
    if lists:  # a list of records in a wrapper
        return _rows_of(max(lists, key=len))
    rows = _mapping(document)
    return None if rows is None else Export(rows)


def _part(part: Any) -> list[Row] | None:
    """The rows of one split: CoOp's ``[path, number, class]``, records, or a mapping of pictures."""
    if isinstance(part, dict):
        return _mapping(part)
    if all(isinstance(row, list) and len(row) in (2, 3) for row in part):
        names = {2: ("path", "class"), 3: ("path", "number", "class")}
        return [dict(zip(names[len(row)], map(_cell, row), strict=True)) for row in part]
    export = _rows_of(part)
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
        row |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": _cell(value)}
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
    # By their repr, as anything may stand where an id should.
    categories = {repr(entry.get("id")): entry for entry in document["categories"] if isinstance(entry, dict)}
    labels: dict[str, set[str]] = {}
    for entry in document["annotations"]:
        if isinstance(entry, dict) and (category := repr(entry.get("category_id"))) in categories:
            labels.setdefault(repr(entry.get("image_id")), set()).add(category)
    rows, several = [], 0
    for image in document["images"]:
        if not isinstance(image, dict):
            continue
        own = labels.get(repr(image.get("id")), set())
        several += len(own) > 1
        facts = {key: cell for key, cell in _flat(image).items() if key not in ("id", "license", "width", "height")}
        label = _flat(categories[next(iter(own))], "category.") if len(own) == 1 else {}
        rows.append({"file_name": "", **facts, **{k: cell for k, cell in label.items() if k != "category.id"}})
    if several:
        images = counted(several, "image shows", "images show")
        remarks.append(f"{images} things of several categories: left out, without one label.")
    used = {key for own in labels.values() for key in own}
    if unused := sorted(str(entry.get("name")) for key, entry in categories.items() if key not in used):
        remarks.append(f"Categories without an image: {listed(unused, 10)}.")
    return Export(rows, None, remarks)


def _label_studio(tasks: list[dict[str, Any]]) -> Export:
    """A row a task: its data, and a column for each control's choice."""
    rows, several = [], 0
    for task in tasks:
        chosen: dict[str, set[str]] = {}
        for name, cell in _choices(task):
            chosen.setdefault(name, set()).add(cell)
        several += any(len(cells) > 1 for cells in chosen.values())
        single = {name: cells.pop() if len(cells) == 1 else "" for name, cells in chosen.items()}
        rows.append({**_flat(task["data"]), **single})
    remarks = ["Tasks with data and annotations: an export of Label Studio."]
    if several:
        tasks_have = counted(several, "task has", "tasks have")
        remarks.append(f"{tasks_have} several choices of one kind: left out, without one label.")
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
