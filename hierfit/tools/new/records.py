"""Tables of pictures in whatever file people have them, as columns of text.

Text in columns, workbooks, and JSON: COCO (and Roboflow, iNaturalist, LVIS), Label Studio, CoOp, what pandas writes,
lists of records wrapped or not, and mappings of pictures.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hierfit.data.images import EXTENSIONS, UNREAD
from hierfit.errors import UserError
from hierfit.streams import as_text, is_text
from hierfit.taxonomy.checks import counted, listed
from hierfit.taxonomy.readers.document import read_json
from hierfit.taxonomy.readers.source import Content
from hierfit.tools.new.found import split_of

LINES = (".jsonl", ".ndjson")
TABLES = (".csv", ".tsv", ".txt", ".json", *LINES, ".xlsx")
JOIN = "\x1f"
"""Between the names of a path that is a list in the document."""

_ENDING = re.compile(rf"\.(?:{'|'.join(e[1:] for e in sorted(EXTENSIONS | UNREAD))})(?:$|\?)", re.IGNORECASE)
_CHOICES = ("choices", "taxonomy", "rectanglelabels", "labels")  # of Label Studio's controls

TextColumns = dict[str, list[str]]
Record = dict[str, str]


@dataclass(frozen=True)
class Records:
    """One table: a file's cells by the name of their column, all of one length."""

    path: Path
    columns: TextColumns
    splits: Sequence[str] | None = None  # of each row by its own name, where the file groups rows by split
    has_header: bool = True
    remarks: list[str] = field(default_factory=list)

    @property
    def names_pictures(self) -> bool:
        """Whether some column holds names of pictures."""
        return any(any(map(names_picture, cells)) for cells in self.columns.values())


def names_picture(cell: object) -> bool:
    """Whether a cell ends as the name of a picture does."""
    return isinstance(cell, str) and bool(_ENDING.search(cell))


def read_records(path: Path) -> Records:
    """The rows of a file.

    Raises:
        UserError: It cannot be read, or is no table.
    """
    source = Content.of(path, select=0)
    remarks = [f"{path.name}: {finding}." for finding in source.findings]
    if path.suffix.lower() in (".json", *LINES):
        document = read_json(source.text, str(path), objects=dict)
        lone = isinstance(document, dict) and path.suffix.lower() in LINES
        try:
            rows, splits = _rows_of([document] if lone else document, remarks)
        except RecursionError as error:
            raise UserError(f"{path}: cannot be read: it is nested too deep") from error
        if not rows:
            hint = "COCO, Label Studio and CoOp are; and lists of records, and {picture: label}."
            raise UserError(f"{path} is no list of pictures that is known here", hint=hint)
        if garbled := next((cell for row in rows for cell in (*row, *row.values()) if not is_text(cell)), None):
            raise UserError(f"{path}: cannot be read: {as_text(garbled)} is no text")
        names = list(dict.fromkeys(name for row in rows for name in row))
        return Records(path, {name: [row.get(name, "") for row in rows] for name in names}, splits, True, remarks)
    cells = [[str(cell).strip() for cell in row] for row in source.table.rows]
    if source.table.width < 2 and source.sheet is None:
        raise UserError(f"{path} is no table: its lines have no columns in common", hint="Divide columns by commas.")
    while len(cells) > 1 and sum(map(bool, cells[0])) < 2 <= sum(map(bool, cells[1] if any(cells[1]) else cells[-1])):
        cells.pop(0)  # a title above the table
    has_header = not any(map(names_picture, cells[0]))
    header = cells.pop(0) if has_header else [f"column{i + 1}" for i in range(len(cells[0]))]
    unique = [name if header.count(name) == 1 else f"{name}#{i + 1}" for i, name in enumerate(header)]
    whole = [row for row in cells if len(row) == len(header)]
    if odd := len(cells) - len(whole):
        lines = counted(odd, f"line of {path.name} has", f"lines of {path.name} have")
        remarks.append(f"{lines} not {len(header)} cells; left out.")
    columns = {name: [row[i] for row in whole] for i, name in enumerate(unique)}
    columns = {name: found for name, found in columns.items() if any(found) or "#" not in name}
    return Records(path, columns, None, has_header, remarks)


def _rows_of(document: Any, remarks: list[str]) -> tuple[list[Record], list[str] | None]:
    """The rows of a document, none where its form is not known; and their splits, where it groups them so."""
    if isinstance(document, list):
        if all(isinstance(entry, dict) and isinstance(entry.get("data"), dict) for entry in document):
            return _label_studio(document, remarks), None
        return ([_flat(entry) for entry in document] if all(isinstance(e, dict) for e in document) else []), None
    if not isinstance(document, dict):
        return [], None
    if all(isinstance(document.get(key), list) for key in ("images", "annotations", "categories")):
        return _coco(document, remarks), None
    own = set(split_of(document).values())
    if own and own == {key for key, part in document.items() if isinstance(part, list | dict)}:
        parts = {name: _part(document[name], remarks) for name in document if name in own}
        if all(rows or not document[name] for name, rows in parts.items()):
            return [row for rows in parts.values() for row in rows], [n for n, rows in parts.items() for _ in rows]
    lists = [part for part in document.values() if isinstance(part, list) and part and isinstance(part[0], dict)]
    return _rows_of(max(lists, key=len), remarks) if lists else (_mapping(document), None)


def _part(part: Any, remarks: list[str]) -> list[Record]:
    """The rows of one split: CoOp's ``[path, number, class]``, records, or a mapping of pictures."""
    if isinstance(part, dict):
        return _mapping(part)
    if all(isinstance(row, list) and len(row) in (2, 3) for row in part):
        names = {2: ("path", "class"), 3: ("path", "number", "class")}
        return [dict(zip(names[len(row)], map(_cell, row), strict=True)) for row in part]
    return _rows_of(part, remarks)[0]


def _mapping(document: Mapping[str, Any]) -> list[Record]:
    """``{picture: label}``, ``{picture: record}``, ``{label: [pictures]}``, or the columns that pandas writes."""
    if all(map(names_picture, document)):
        return [{"path": key, **_flat(entry if isinstance(entry, dict) else {"label": entry})}
                for key, entry in document.items()]  # fmt: skip
    lists = {key: entry for key, entry in document.items() if isinstance(entry, list)}
    if lists and all(names_picture(name) for entry in lists.values() for name in entry):
        return [{"path": name, "label": key} for key, entry in lists.items() for name in entry]
    columns = [list(entry.values()) if isinstance(entry, dict) and all(map(str.isdecimal, entry)) else entry
               for entry in document.values()]  # fmt: skip
    if all(isinstance(cells, list) for cells in columns) and len({*map(len, columns)}) == 1:
        return [dict(zip(document, map(_cell, cells), strict=True)) for cells in zip(*columns, strict=True)]
    return []


def _flat(entry: Mapping[str, Any], before: str = "") -> Record:
    """A record as cells: nested keys are joined by dots, a list of names is one path."""
    row: Record = {}
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
        return _cell(value) if isinstance(value, list | str) else text
    return text


def _coco(document: Mapping[str, Any], remarks: list[str]) -> list[Record]:
    """A row an image: its own facts and those of its category."""
    # By their repr, as anything may stand where an id should.
    categories = {repr(entry.get("id")): entry for entry in _dicts(document["categories"])}
    labels: dict[str, set[str]] = {}
    for entry in _dicts(document["annotations"]):
        if (category := repr(entry.get("category_id"))) in categories:
            labels.setdefault(repr(entry.get("image_id")), set()).add(category)
    rows, several = [], 0
    for image in _dicts(document["images"]):
        own = labels.get(repr(image.get("id")), set())
        several += len(own) > 1
        facts = {key: cell for key, cell in _flat(image).items() if key not in ("id", "license", "width", "height")}
        label = _flat(categories[next(iter(own))], "category.") if len(own) == 1 else {}
        label.pop("category.id", None)
        rows.append({"file_name": "", **facts, **label})
    remarks.append("Images, annotations and categories: the form of COCO.")
    if several:
        images = counted(several, "image shows", "images show")
        remarks.append(f"{images} things of several categories: left out, without one label.")
    used = {key for own in labels.values() for key in own}
    if unused := sorted(str(entry.get("name")) for key, entry in categories.items() if key not in used):
        remarks.append(f"Categories without an image: {listed(unused, 10)}.")
    return rows


def _label_studio(tasks: list[dict[str, Any]], remarks: list[str]) -> list[Record]:
    """A row a task: its data, and a column for each control's choice."""
    rows, several = [], 0
    for task in tasks:
        chosen: dict[str, set[str]] = {}
        for name, cell in _choices(task):
            chosen.setdefault(name, set()).add(cell)
        several += any(len(cells) > 1 for cells in chosen.values())
        single = {name: cells.pop() if len(cells) == 1 else "" for name, cells in chosen.items()}
        rows.append({**_flat(task["data"]), **single})
    remarks.append("Tasks with data and annotations: an export of Label Studio.")
    if several:
        tasks_have = counted(several, "task has", "tasks have")
        remarks.append(f"{tasks_have} several choices of one kind: left out, without one label.")
    return rows


def _choices(task: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for annotation in _dicts(task.get("annotations") or task.get("completions")):
        for result in _dicts(None if annotation.get("was_cancelled") else annotation.get("result")):
            value: dict[str, Any] = next(_dicts([result.get("value")]), {})
            for kind in _CHOICES:
                found = value.get(kind)
                for chosen in found if isinstance(found, list) else ():
                    yield str(result.get("from_name") or kind), _cell(chosen)


def _dicts(entries: Iterable[Any] | None) -> Iterator[dict[str, Any]]:
    return (entry for entry in (entries if isinstance(entries, Iterable) else ()) if isinstance(entry, dict))
