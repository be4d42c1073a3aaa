"""Tables of paths as people have them: merged cells, placeholders, empty columns and gaps, by stated rules."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from hierfit.taxonomy.build import without_end
from hierfit.taxonomy.checks import Finding, Where, counted, remark
from hierfit.taxonomy.readers.given import Rows

_NOT_KNOWN = re.compile(
    r"na|nan|unclassified|undefined|unidentified|undetermined|unspecified|unlabell?ed|unassigned|unplaced|nodata|norank"
    r"|not(?:classified|available|applicable|known|assigned|identified|determined)|indet|.*incertaesedis|tba|tbd"
)
_PERHAPS_NOT_KNOWN = frozenset({"unknown", "unk", "none", "null", "nil", "missing", "unsure", "sp", "spp"})
_SIGNS = re.compile(r"[\s?.\-–—_/\\*#]+")
_INITIALS = frozenset("nuitms_([<?.-–—/\\*#") | frozenset("NUITMS")
_LONGEST = 20
RANK_PREFIX = re.compile(r"[dkpcofgst]__")
_LISTED = 4

Cells = Sequence[Sequence[str]]


def placeholder(cell: str) -> str:
    """``sure`` for ``not_classified``, ``NA``, ``incertae sedis``; ``perhaps`` for ``unknown``, ``-``; else nothing."""
    bare = re.sub(r"[\W_]+", "", cell.casefold())
    if _NOT_KNOWN.fullmatch(bare):
        return "sure"
    return "perhaps" if bare in _PERHAPS_NOT_KNOWN or _SIGNS.fullmatch(cell) else ""


def tidy(
    rows: Cells,
    where: Where,
    levels: Sequence[str] | None,
    ranks: bool = False,
    whole: Sequence[Sequence[object]] | None = None,
    findings: Sequence[Finding] = (),
) -> Rows:
    """Rows with one rule for each way in which tables leave cells out; whatever is done becomes a finding.

    Where levels have names, a placeholder such as ``NA`` or ``incertae sedis`` is an empty cell, and so is one such as
    ``unknown`` that stands under several parents. A level that is empty in every row is left out. Cells empty on the
    left, where the rows above begin with names that are never repeated, are merged cells: they hold what stands above
    them. A cell still empty before the last name of its row gets a node of its own, ``(PARENT, LEVEL not given)``: what
    stood side by side below the parent still does.

    Args:
        rows: Names from root to leaf.
        where: Place of a row.
        levels: Level names; None where the table has none.
        ranks: Whether they are biology's, where ``unknown`` is no name.
        whole: All cells of each row.
        findings: Made before.
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
        cells = _without_gaps(cells, levels, where, found)
    tidied = Rows(cells, where, levels, found, whole)
    if not unknown:
        return tidied
    # Rows that say no more than another once their placeholders are gone are left out.
    known = {tuple(without_end(row)) for number, row in enumerate(cells) if number not in unknown}
    kept = []
    for number, row in enumerate(cells):
        path = tuple(without_end(row))
        if number not in unknown or path not in known:
            kept.append(number)
            known.add(path)
    return tidied.only(kept)


def _without_placeholders(rows: Cells, where: Where, ranks: bool, found: list[Finding]) -> tuple[Cells, set[int]]:
    """The rows with empty cells for placeholders, and which rows have some."""
    sure: set[str] = set()
    unsure: dict[str, set[tuple[str, ...]]] = {}  # what stands above those that may be names
    for start in range(0, len(rows), 10_000):
        for cell in set().union(*rows[start : start + 10_000]):
            short = len(cell) <= _LONGEST and cell[:1] in _INITIALS and cell and not cell[-1].isdigit()
            suspect = short or cell.endswith("sedis")
            if suspect and (kind := placeholder(cell)):
                if kind == "sure" or ranks:
                    sure.add(cell)
                else:
                    unsure[cell] = set()
    for row in rows if unsure else ():
        for depth, cell in enumerate(row):
            if depth and cell in unsure:
                unsure[cell].add(tuple(row[:depth]))
    sure |= {cell for cell, above in unsure.items() if len(above) > 1}
    affected = {number for number, row in enumerate(rows) if not sure.isdisjoint(row)} if sure else set()
    if not affected:
        return rows, affected
    counts = Counter(cell for row in rows for cell in row if cell in sure)
    listed = ", ".join(f"{cell!r} ({count} times)" for cell, count in counts.most_common(_LISTED))
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
    cells, first = 0, None
    for number, full in enumerate(map(without_end, rows)):
        start = next((i for i, cell in enumerate(full) if cell), 0)
        if "" in full[start:] or start > len(above) or (start == 0 and full[:1] == above[:1]):
            return rows
        above = [*above[:start], *full[start:]]
        filled.append(above)
        cells += start
        first = number if start and first is None else first
    if first is not None:
        text = f"{cells} cells, empty on the left of their row, are filled from the row above, as of merged cells"
        found.append(remark("merged-cells", text, [f"{where(first)}: {' / '.join(filled[first])}"]))
    return filled


def _without_gaps(rows: Cells, levels: Sequence[str], where: Where, found: list[Finding]) -> Cells:
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
        details = [f"{name!r}: {n} rows, first {places[name]}" for name, n in made.most_common(_LISTED)]
        details += [f"… {len(made) - _LISTED} more"] if len(made) > _LISTED else []
        text = f"{counted(made.total(), 'cell')} between names are empty; {len(made)} nodes stand in for them"
        found.append(remark("gap", text, details, "Fill the cells if you know what belongs there."))
    return filled
