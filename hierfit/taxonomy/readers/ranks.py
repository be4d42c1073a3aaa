"""Biology's ranks, kingdom to species: tables, and records of JSON as iNaturalist gives them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hierfit.taxonomy.checks import Where
from hierfit.taxonomy.readers.document import Pairs, place_of
from hierfit.taxonomy.readers.given import Rows
from hierfit.taxonomy.readers.nested import as_name
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import RANKS

_EPITHET = re.compile(r"[a-z][a-zäëïöü-]*")
_RECORD_LISTS = ("categories", "species", "taxa", "records")


def ranks_in(keys: Iterable[object]) -> tuple[str, ...]:
    """Ranks among some column names, coarse to fine; those too few to tell (below 4) are none."""
    words = {str(key).strip().casefold() for key in keys}
    found = tuple(rank for rank in RANKS if rank in words)
    return found if len(found) >= 4 else ()


def records_of(value: Any) -> list[Any] | None:
    """The list of records in a document, or below a key such as ``categories``; None when there is none."""
    if isinstance(value, Pairs):
        value = next((v for key, v in value if key in _RECORD_LISTS and isinstance(v, list)), None)
    good = isinstance(value, list) and value and all(isinstance(entry, Pairs) for entry in value)
    return value if good and ranks_in(value[0].names()) else None


def read_records(value: Any) -> Rows:
    """The rows of JSON records; other keys than ranks are left alone."""
    records = records_of(value) or []
    ranks = ranks_in(records[0].names()) if records else ()
    faults: list[str] = []
    cells, kept = [], []
    for number, record in enumerate(records):
        lower: Mapping[str, Any] = {str(key).casefold(): entry for key, entry in record}
        missing = [rank for rank in ranks if rank not in lower]
        if missing:
            faults.append(f"record {number + 1}: there is no {', '.join(missing)}")
            continue
        cells.append([as_name(lower[r], faults) if lower[r] is not None else "" for r in ranks])
        kept.append(number)
    where: Where = lambda row: f"{place_of(*cells[row][::-1])} (record {kept[row] + 1})"  # noqa: E731
    return _rows(cells, ranks, where, faults)


def read_rank_table(source: Source) -> Rows:
    """The rows of a table with ranks for column names, in any order; other columns are left alone."""
    header = [cell.strip().casefold() for cell in source.table.rows[0]]
    table = source.table.below_header()
    ranks = tuple(rank for rank in RANKS if rank in header)
    columns = [header.index(rank) for rank in ranks]
    rows = [[row[c].strip() if c < len(row) else "" for c in columns] for row in table.rows]
    return _rows(rows, ranks, table.where, [])


def _rows(rows: list[list[str]], ranks: Sequence[str], where: Where, faults: list[str]) -> Rows:
    if ranks[-2:] == ("genus", "species"):
        genera: dict[str, set[str]] = {}
        for row in rows:
            genera.setdefault(row[-1], set()).add(row[-2])
        # An epithet alone ("vulgaris") names a species in its genus only.
        repeated = {name for name, of in genera.items() if len(of) > 1 and _EPITHET.fullmatch(name)}
        rows = [[*row[:-1], f"{row[-2]} {row[-1]}"] if row[-1] in repeated else row for row in rows]
    return Rows(rows, where, ranks, faults)
