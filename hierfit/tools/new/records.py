"""Tables of pictures in whatever file people have them, as columns of text.

Text in columns, workbooks, and JSON: COCO (and Roboflow, iNaturalist, LVIS), Label Studio, CoOp, what pandas writes,
lists of records wrapped or not, and mappings of pictures.
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
from hierfit.data.records import JSON_LINES
from hierfit.errors import UserError
from hierfit.streams import as_text, is_text
from hierfit.taxonomy.checks import counted, listed
from hierfit.taxonomy.readers.document import read_json
from hierfit.taxonomy.readers.source import Content
from hierfit.tools.new.found import split_of

TABLES = (".csv", ".tsv", ".txt", ".json", *JSON_LINES, ".xlsx")
JOIN = "\x1f"
"""Between the names of a path that is a list in the document."""

_PICTURE = re.compile(rf"\.(?:{'|'.join(e[1:] for e in sorted(EXTENSIONS | UNREAD))})(?:$|\?)", re.IGNORECASE)
_CHOICES = ("choices", "taxonomy", "rectanglelabels", "labels")  # of Label Studio's controls

TextColumns = dict[str, list[str]]
Record = dict[str, str]


@dataclass(frozen=True)
class Records:
    """One table: a file's cells by the name of their column, all of one length; and the sign between them, if any."""

    path: Path
    columns: TextColumns
    sign: str = ""
    has_header: bool = True
    remarks: list[str] = field(default_factory=list)

    @property
    def names_pictures(self) -> bool:
        """Whether some column holds names of pictures."""
        return any(any(map(names_picture, cells)) for cells in self.columns.values())


def names_picture(cell: object) -> bool:
    """Whether a cell ends as the name of a picture does."""
    return isinstance(cell, str) and bool(_PICTURE.search(cell))


def read_records(path: Path) -> Records:
    """The rows of a file, columns without a cell left out; raises `UserError` where it cannot be read."""
    source = Content.of(path, select=0)
    remarks = [f"{path.name}: {finding}." for finding in source.findings]
    if path.suffix.lower() in (".json", *JSON_LINES):
        return _of_document(path, source.text, remarks)
    table = source.table
    top = next((i for i, row in enumerate(table.rows) if sum(map(bool, row)) > 1), 0)  # below a title
    table = table.part(range(top, len(table.rows)))
    table = table.headed(not any(map(names_picture, table.rows[0])), str(path))
    header = [*table.header] if table.header else [f"column{i + 1}" for i in range(table.width)]
    whole = [i for i, row in enumerate(table.rows) if len(row) <= len(header)]
    if odd := len(table.rows) - len(whole):
        lines = counted(odd, f"line of {path.name} has", f"lines of {path.name} have")
        remarks.append(f"{lines} more than {len(header)} cells; left out.")
        table = table.part(whole)
    unique = [name if header.count(name) == 1 else f"{name}#{i + 1}" for i, name in enumerate(header)]
    columns = {name: [str(cell).strip() for cell in table.column(i)] for i, name in enumerate(unique)}
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    return Records(path, columns, table.sign, table.header is not None, remarks)


def _of_document(path: Path, text: str, remarks: list[str]) -> Records:
    lines = path.suffix.lower() in JSON_LINES
    document = read_json(text, str(path), objects=dict)
    try:
        rows = _in_rows([document] if lines and isinstance(document, dict) else document, remarks)
    except RecursionError as error:
        raise UserError(f"{path}: cannot be read: it is nested too deep") from error
    if not rows:
        hint = "COCO, Label Studio and CoOp are; and lists of records, and {picture: label}."
        raise UserError(f"{path} is no list of pictures that is known here", hint=hint)
    if garbled := next((cell for row in rows for cell in (*row, *row.values()) if not is_text(cell)), None):
        raise UserError(f"{path}: cannot be read: {as_text(garbled)} is no text")
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name, "") for row in rows] for name in names}
    return Records(path, columns, "," if lines else "", True, remarks)


def _in_rows(document: Any, remarks: list[str]) -> list[Record]:
    """The rows of a document, none where its form is not known; where it groups them by split, that is a column."""
    if isinstance(document, list):
        if document and all(isinstance(row, list) and len(row) in (2, 3) for row in document):  # CoOp's
            names = {2: ("path", "class"), 3: ("path", "number", "class")}
            return [dict(zip(names[len(row)], map(_as_cell, row), strict=True)) for row in document]
        if not all(isinstance(entry, dict) for entry in document):
            return []
        studio = all(isinstance(entry.get("data"), dict) for entry in document)
        return _label_studio(document, remarks) if studio else [_flattened(entry) for entry in document]
    if not isinstance(document, dict):
        return []
    if all(isinstance(document.get(key), list) for key in ("images", "annotations", "categories")):
        return _coco(document, remarks)
    own = split_of(document).values()
    if own and set(own) == {key for key, part in document.items() if isinstance(part, list | dict)}:
        return [{**row, "split": name} for name in own for row in _in_rows(document[name], remarks)]
    lists = [part for part in document.values() if isinstance(part, list) and part and isinstance(part[0], dict)]
    if lists:
        return _in_rows(max(lists, key=len), remarks)
    if all(map(names_picture, document)):  # {picture: label} and {picture: record}
        return [{"path": key, **_flattened(entry if isinstance(entry, dict) else {"label": entry})}
                for key, entry in document.items()]  # fmt: skip
    cells = {key: [*entry.values()] if isinstance(entry, dict) and all(map(str.isdecimal, entry)) else entry
             for key, entry in document.items()}  # fmt: skip
    of_lists = {key: entry for key, entry in cells.items() if isinstance(entry, list)}
    if of_lists and all(names_picture(name) for entry in of_lists.values() for name in entry):
        return [{"path": name, "label": key} for key, entry in of_lists.items() for name in entry]
    if len(of_lists) < len(cells) or len({*map(len, of_lists.values())}) != 1:
        return []
    return [dict(zip(cells, map(_as_cell, row), strict=True)) for row in zip(*cells.values(), strict=True)]  # pandas'


def _flattened(entry: Mapping[str, Any], before: str = "") -> Record:
    """A record as cells: nested keys are joined by dots, a list of names is one path."""
    row: Record = {}
    for key, value in entry.items():
        row |= _flattened(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": _as_cell(value)}
    return row


def _as_cell(value: Any) -> str:
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, list):
        inner = value[0] if len(value) == 1 and isinstance(value[0], list) else value
        return "" if any(isinstance(entry, list | dict) for entry in inner) else JOIN.join(map(_as_cell, inner))
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def list_cell(text: str) -> str:
    """A list or mapping in JSON or Python's form as the path of names that it holds; other text as it is."""
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict):
            value = next(iter(value.values())) if len(value) == 1 else None
        return _as_cell(value) if isinstance(value, list | str) else text
    return text


def _coco(document: Mapping[str, Any], remarks: list[str]) -> list[Record]:
    """A row an image: its own facts and those of its category."""
    # By their repr, as anything may stand where an id should.
    categories = {repr(entry.get("id")): _flattened(entry, "category.") for entry in _dicts(document["categories"])}
    labels: dict[str, set[str]] = {}
    for entry in _dicts(document["annotations"]):
        if (category := repr(entry.get("category_id"))) in categories:
            labels.setdefault(repr(entry.get("image_id")), set()).add(category)
    images = [(labels.get(repr(image.get("id")), set()), image) for image in _dicts(document["images"])]
    remarks.append("Images, annotations and categories: the form of COCO.")
    if several := sum(len(own) > 1 for own, _ in images):
        shown = counted(several, "image shows", "images show")
        remarks.append(f"{shown} things of several categories: left out, without one label.")
    if unused := categories.keys() - set().union(*labels.values()):
        unseen = sorted(categories[key].get("category.name", key) for key in unused)
        remarks.append(f"Categories without an image: {listed(unseen, 10)}.")
    return [_flattened(image) | (categories[next(iter(own))] if len(own) == 1 else {}) for own, image in images]


def _label_studio(tasks: list[dict[str, Any]], remarks: list[str]) -> list[Record]:
    """A row a task: its data, and a column for each control's choice."""
    rows, several = [], 0
    for task in tasks:
        chosen: dict[str, set[str]] = {}
        for annotation in _dicts(task.get("annotations") or task.get("completions")):
            for result in _dicts(None if annotation.get("was_cancelled") else annotation.get("result")):
                value = next(_dicts([result.get("value")]), {})
                for kind in _CHOICES:
                    if isinstance(found := value.get(kind), list):
                        chosen.setdefault(str(result.get("from_name") or kind), set()).update(map(_as_cell, found))
        several += any(len(cells) > 1 for cells in chosen.values())
        single = {name: cells.pop() for name, cells in chosen.items() if len(cells) == 1}
        rows.append(_flattened(task["data"]) | single)
    remarks.append("Tasks with data and annotations: an export of Label Studio.")
    if several:
        tasks_have = counted(several, "task has", "tasks have")
        remarks.append(f"{tasks_have} several choices of one kind: left out, without one label.")
    return rows


def _dicts(entries: Any) -> Iterator[dict[str, Any]]:
    return (entry for entry in (entries if isinstance(entries, list) else ()) if isinstance(entry, dict))
