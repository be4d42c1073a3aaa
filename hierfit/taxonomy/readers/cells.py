"""What cells of a table mean: what is not known, ids that became floats, epithets, paths, merged cells and gaps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from hierfit.errors import folded
from hierfit.taxonomy.build import without_end
from hierfit.taxonomy.checks import Finding, Where, counted, remark
from hierfit.taxonomy.readers.given import Rows

JOINTS = (" > ", " -> ", " → ", " » ", " › ", "::", " >> ")
"""Signs between names of a path that hardly stand in a name."""
RANK_PREFIX = re.compile(r"[dkpcofgst]__")

_BARS = (" / ", " | ", "|", "/", "\\")
_WEAK_JOINTS = (" / ", " | ", "|", ">", "->", "→", "»", "\\", "/", ";", " - ", "--", ":", "~", ".")
_NOT_KNOWN = re.compile(
    r"na|nan|unclassified|undefined|unidentified|undetermined|unspecified|unlabell?ed|unassigned|unplaced|nodata|norank"
    r"|not(?:classified|available|applicable|known|assigned|identified|determined)|indet|.*incertaesedis|tba|tbd"
)
_PERHAPS_NOT_KNOWN = frozenset({"unknown", "unk", "none", "null", "nil", "missing", "unsure", "sp", "spp"})
_ONLY_SIGNS = re.compile(r"[\s?.\-–—_/\\*#]+")
_INITIALS = frozenset("nuitms_([<?.-–—/\\*#NUITMS")  # of placeholders: most names need no closer look
_MOST_SHOWN = 4
_EPITHET = re.compile(r"[a-z][a-zäëïöü-]*(?: [a-z][a-zäëïöü-]*)?")
_FLOAT, _INT = re.compile(r"-?\d+\.0+"), re.compile(r"-?\d+")

Cells = Sequence[Sequence[str]]


def placeholder(cell: str) -> str:
    """``sure`` for ``not_classified``, ``NA``, ``incertae sedis``; ``perhaps`` for ``unknown``, ``-``; else nothing."""
    bare = folded(cell)
    if _NOT_KNOWN.fullmatch(bare):
        return "sure"
    return "perhaps" if bare in _PERHAPS_NOT_KNOWN or _ONLY_SIGNS.fullmatch(cell) else ""


def are_floats(cells: Iterable[object]) -> bool:
    """Whether cells that are not empty are whole numbers, as pandas writes ids where one is missing: 3.0 is 3."""
    return all(isinstance(cell, str) and (not cell or _FLOAT.fullmatch(cell)) for cell in cells)


def in_numbers(cells: Iterable[str]) -> bool:
    """Whether all are whole numbers."""
    return all(map(_INT.fullmatch, cells))


def with_genus(genera: Sequence[str], cells: Sequence[str]) -> list[str] | None:
    """``Quercus robur`` for each ``robur``, where nine tenths of the cells are such epithets."""
    filled = [cell for cell in cells if cell]
    if not filled or sum(_EPITHET.fullmatch(cell) is not None for cell in filled) < 0.9 * len(filled):
        return None
    return [f"{genus} {cell}".strip() if cell else "" for genus, cell in zip(genera, cells, strict=True)]


def joint(cells: Iterable[str]) -> tuple[str, bool] | None:
    """The sign that joins the names of paths, and whether it hardly stands in names.

    Half of the texts hold it. One that names may hold has to part them into beginnings that come again, or that are
    texts themselves; a bar or slash may also stand in all of them.
    """
    distinct = {cell.strip() for cell in cells if cell.strip()}
    for sign in (*JOINTS, *_WEAK_JOINTS):
        holding = [cell for cell in distinct if sign in cell]
        if not holding or 2 * len(holding) < len(distinct):
            continue
        if sign in JOINTS:
            return sign, True
        rest, firsts = distinct.difference(holding), {cell.split(sign)[0].strip() for cell in holding}
        nested = 2 * len(distinct & {cell.rsplit(sign, 1)[0].strip() for cell in holding}) >= len(holding)
        again = sign != "." and rest <= firsts and len(firsts) < len(holding)
        if nested or (again and (not rest or sign in (*_BARS, ">", "->", "→", "»"))) or (not rest and sign in _BARS):
            return sign, False
    return None


def tidy(
    rows: Cells, where: Where, levels: Sequence[str] | None, ranks: bool = False,
    whole: Sequence[Sequence[object]] | None = None, findings: Sequence[Finding] = (),
) -> Rows:  # fmt: skip
    """Rows with one rule for each way in which tables leave cells out; whatever is done becomes a finding.

    Where levels have names, a placeholder such as ``NA`` or ``incertae sedis`` is an empty cell, and so is one such as
    ``unknown`` that stands under several parents. A level that is empty in every row is left out. Cells empty on the
    left, where the rows above begin with names that are never repeated, are merged cells: they hold what stands above
    them. A cell still empty before the last name of its row gets a node of its own, ``(PARENT, LEVEL not given)``: what
    stood side by side below the parent still does. Among biology's `ranks` ``unknown`` is no name either.
    """
    cells, found = rows, list(findings)
    if rows and rows[0] and all(RANK_PREFIX.match(cell) for row in rows for cell in row if cell):
        cells = [[RANK_PREFIX.sub("", cell.strip(), count=1) for cell in row] for row in rows]
    unknown: set[int] = set()
    if levels is not None and len(levels) > 1:
        cells, unknown = _without_placeholders(cells, where, ranks, found)
        used = [column for column in range(len(levels)) if any(column < len(row) and row[column] for row in cells)]
        if used and used != [*range(len(used))]:
            empty = ", ".join(repr(levels[c]) for c in range(len(levels)) if c not in used)
            found.append(remark("empty-level", f"the level {empty} is empty in every row and left out"))
            cells = [[row[c] for c in used if c < len(row)] for row in cells]
            levels = [levels[c] for c in used]
        elif used and ranks:
            levels = levels[: used[-1] + 1]
    cells = filled_down(cells, where, found)
    if levels is not None:
        cells = without_gaps(cells, levels, where, found)
    tidied = Rows(cells, where, levels, found, whole)
    if not unknown:
        return tidied
    # Rows that say no more than another once their placeholders are gone are left out.
    paths = [tuple(without_end(row)) for row in cells]
    known = {path for number, path in enumerate(paths) if number not in unknown}
    first = {path: number for number, path in reversed([*enumerate(paths)])}
    return tidied.only([i for i, path in enumerate(paths)
                        if i not in unknown or (path not in known and first[path] == i)])  # fmt: skip


def _without_placeholders(rows: Cells, where: Where, ranks: bool, found: list[Finding]) -> tuple[Cells, set[int]]:
    """The rows with empty cells for placeholders, and which rows have some."""
    kinds: dict[str, str] = {}
    for start in range(0, len(rows), 10_000):
        for cell in set().union(*rows[start : start + 10_000]):
            short = len(cell) <= 20 and cell[:1] in _INITIALS and cell and not cell[-1].isdigit()
            if (short or cell.endswith("sedis")) and (kind := placeholder(cell)):
                kinds[cell] = kind
    # What may be a name is none where it stands under several others.
    unsure = [cell for cell, kind in kinds.items() if kind == "perhaps" and not ranks]
    above: dict[str, set[tuple[str, ...]]] = {cell: set() for cell in unsure}
    for row in rows if above else ():
        for depth, cell in enumerate(row):
            if depth and cell in above:
                above[cell].add(tuple(row[:depth]))
    sure = {cell for cell in kinds if cell not in above or len(above[cell]) > 1}
    affected = {number for number, row in enumerate(rows) if not sure.isdisjoint(row)} if sure else set()
    if not affected:
        return rows, affected
    counts = Counter(cell for row in rows for cell in row if cell in sure)
    listed = ", ".join(f"{cell!r} ({count} times)" for cell, count in counts.most_common(_MOST_SHOWN))
    text = f"{listed}: taken for not known, not for a class; first in {where(min(affected))}"
    advice = "If it is the name of a class: --format paths --header takes every cell as it stands."
    found.append(remark("placeholder", text, advice=advice))
    return [["" if cell in sure else cell for cell in row] if number in affected else row
            for number, row in enumerate(rows)], affected  # fmt: skip


def filled_down(rows: Cells, where: Where, found: list[Finding]) -> Cells:
    """Merged cells: every row goes on without a gap once it has begun, and what begins a row does not come twice."""
    if not rows or not rows[0] or rows[0][0] == "" or not any(row and row[0] == "" for row in rows):
        return rows
    above: Sequence[str] = ()
    filled: list[Sequence[str]] = []
    starts = []
    for full in map(without_end, rows):
        start = next((i for i, cell in enumerate(full) if cell), 0)
        if "" in full[start:] or start > len(above) or (start == 0 and full[:1] == above[:1]):
            return rows
        above = [*above[:start], *full[start:]]
        filled.append(above)
        starts.append(start)
    if any(starts):
        first = next(row for row, start in enumerate(starts) if start)
        text = f"{sum(starts)} cells, empty on the left of their row, are filled from the row above, as of merged cells"
        found.append(remark("merged-cells", text, [f"{where(first)}: {' / '.join(filled[first])}"]))
    return filled


def without_gaps(rows: Cells, levels: Sequence[str], where: Where, found: list[Finding]) -> Cells:
    """Rows with a node ``(PARENT, LEVEL not given)`` for each cell that is empty before the last name of its row."""
    filled: list[Sequence[str]] = []
    made: Counter[str] = Counter()
    places: dict[str, str] = {}
    for number, row in enumerate(rows):
        if "" not in row or "" not in (path := without_end(row)):
            filled.append(row)
            continue
        path, parent = list(path), ""
        for depth, cell in enumerate(path):
            if cell:
                parent = cell
                continue
            level = levels[depth] if depth < len(levels) else f"level {depth + 1}"
            path[depth] = f"({parent}, {level} not given)" if parent else f"({level} not given)"
            made[path[depth]] += 1
            places.setdefault(path[depth], where(number))
        filled.append(path)
    if made:
        details = [f"{name!r}: {n} rows, first {places[name]}" for name, n in made.most_common(_MOST_SHOWN)]
        details += [f"… {len(made) - _MOST_SHOWN} more"] if len(made) > _MOST_SHOWN else []
        text = f"{counted(made.total(), 'cell')} between names are empty; {len(made)} nodes stand in for them"
        found.append(remark("gap", text, details, "Fill the cells if you know what belongs there."))
    return filled
