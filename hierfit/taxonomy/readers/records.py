"""Tables of the records in a document."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hierfit.taxonomy.readers.columns import speaks_of_columns
from hierfit.taxonomy.readers.document import Pairs
from hierfit.taxonomy.readers.table import Table

_DEEPEST = 6  # wrappings around records


def record_tables(value: Any, language: str) -> dict[str, Table]:
    """Tables of the records in a document, by the keys that lead to them; lists along the way are gone through.

    Records are mappings in a list; mappings below different names that have their keys in common (then their name is
    their ``key``); or a list of cells below each column's name, as pandas and plotly write tables.
    """
    found: dict[str, list[Pairs]] = {}
    stack: list[tuple[str, Any, int]] = [("", value, 0)] if isinstance(value, list) else []
    while stack:
        at, here, depth = stack.pop()
        below = [(f"{at}.{key}".strip("."), entry) for key, entry in here] if isinstance(here, Pairs) else [
            (at, entry) for entry in here]  # fmt: skip
        if isinstance(here, Pairs):
            records = _columns(here)
            if not records and _are_alike([entry for _, entry in here]):
                records = [Pairs([("key", key), *entry]) for key, entry in here]
        else:
            records = here if all(isinstance(entry, Pairs) for entry in here) else []
        if records:
            found.setdefault(at, []).extend(records)
        stack += [(key, entry, depth + 1) for key, entry in reversed(below)
                  if isinstance(entry, list) and depth < _DEEPEST]  # fmt: skip
    return {at: _table_of(records, f"{language} records") for at, records in found.items()}


def _are_alike(entries: Sequence[Any]) -> bool:
    """Whether mappings have most of their keys in common, two at least."""
    if len(entries) < 2 or not all(isinstance(entry, Pairs) and entry for entry in entries):
        return False
    counts = Counter(key for entry in entries for key in dict.fromkeys(entry.names()))
    return sum(2 * count > len(entries) for count in counts.values()) >= 2 and 2 * len(counts) <= sum(counts.values())


def _columns(value: Pairs) -> list[Pairs]:
    """Records out of {column: [cell, …]} or {columns: […], data: [[…], …]}; none where it is no such thing."""
    by_key: dict[str, Any] = dict(value)
    names, rows = by_key.get("columns"), by_key.get("data")
    if not (isinstance(names, list) and isinstance(rows, list)):
        names = [re.sub(r"s$", "", str(key)) for key in by_key]
        lists = [*by_key.values()]
        if not 1 < len(lists) < 40 or not all(isinstance(cells, list) for cells in lists):
            return []
        if not speaks_of_columns(names) or len({*map(len, lists)}) > 1:
            return []
        lists = [[cell for _, cell in cells] if isinstance(cells, Pairs) else cells for cells in lists]
        rows = [*map(list, zip(*lists, strict=True))]
    if isinstance(names, Pairs) or not all(isinstance(row, list) and not isinstance(row, Pairs) for row in rows):
        return []
    return [Pairs(zip(map(str, names), row, strict=False)) for row in rows]


def _table_of(records: Sequence[Pairs], what: str) -> Table:
    header: dict[str, int] = {}
    rows: list[list[Any]] = []
    for record in records:
        row: list[Any] = [""] * len(header)
        for key, value in record:
            column = header.setdefault(str(key), len(header))
            row += [""] * (column + 1 - len(row))
            row[column] = _cell_of(value)
        rows.append(row)
    return Table(rows, range(1, len(rows) + 1), what, True, "record", tuple(header)).without_floats()


def _cell_of(value: Any) -> Any:
    """A value as a cell: text, or a tuple of texts for a list; a mapping is its id or name, or its text in English."""
    if isinstance(value, str):
        return value
    if isinstance(value, Pairs):
        own = next((entry for key, entry in value if key in ("id", "@id", "name", "@value")), None)
        texts = value if all(isinstance(entry, str) for _, entry in value) else ()
        english = sorted(texts, key=lambda pair: not pair[0].startswith("en"))[:1]
        return str(own if own is not None else english[0][1] if english else "")
    if isinstance(value, list):
        return tuple(str(_cell_of(entry)) for entry in value)
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
