"""Tables of paths as people have them: merged cells, placeholders, empty columns and gaps, by stated rules."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from hierfit.taxonomy.checks import Finding, Where
from hierfit.taxonomy.readers.given import Rows, remark

_UNKNOWN = frozenset({
    "na", "n a", "nan", "not classified", "unclassified", "not assigned", "unassigned", "not identified",
    "unidentified", "undetermined", "not determined", "indet", "incertae sedis", "not available", "not applicable",
    "no rank", "not known",
})  # fmt: skip
_PERHAPS_UNKNOWN = frozenset({"unknown", "none", "null", "?", "??", "-", "--", "–", "—", "."})
_INITIALS = frozenset(word[0] for word in {*_UNKNOWN, *_PERHAPS_UNKNOWN}) | {"_", "(", "[", "<"}
_LONGEST = max(map(len, _UNKNOWN)) + 4
RANK_PREFIX = re.compile(r"[dkpcofgst]__")
_LISTED = 4


def tidy(
    rows: Sequence[Sequence[str]],
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
    cells: Sequence[Sequence[str]] = rows
    found = list(findings)
    if rows and rows[0] and all(RANK_PREFIX.match(cell) for row in rows for cell in row if cell):
        cells = [[RANK_PREFIX.sub("", cell.strip(), count=1) for cell in row] for row in rows]
    unknown: set[int] = set()
    if levels is not None and len(levels) > 1:
        before, cells = cells, _without_placeholders(cells, where, ranks, found)
        unknown = {i for i, (a, b) in enumerate(zip(before, cells, strict=True)) if a is not b}
        used = [column for column in range(len(levels)) if any(column < len(row) and row[column] for row in cells)]
        if used and len(used) < len(levels) and used != [*range(len(used))]:
            empty = ", ".join(repr(levels[c]) for c in range(len(levels)) if c not in used)
            found.append(remark("empty-level", f"the level {empty} is empty in every row and left out"))
            cells = [[row[c] for c in used if c < len(row)] for row in cells]
            levels = [levels[c] for c in used]
        elif used and ranks:
            levels = levels[: used[-1] + 1]
    cells = _filled_down(cells, where, found)
    if levels is not None:
        cells = _without_gaps(cells, levels, where, found)
    tidied = Rows(cells, where, levels, found, whole)
    return tidied.only(_once(cells, unknown)) if unknown else tidied


def _once(rows: Sequence[Sequence[str]], unknown: Collection[int]) -> list[int]:
    """All rows but those that say no more than another once their placeholders are gone."""
    known = {tuple(_without_end(row)) for number, row in enumerate(rows) if number not in unknown}
    kept = []
    for number, row in enumerate(rows):
        path = tuple(_without_end(row))
        if number not in unknown or path not in known:
            kept.append(number)
            known.add(path)
    return kept


def _without_placeholders(
    rows: Sequence[Sequence[str]], where: Where, ranks: bool, found: list[Finding]
) -> Sequence[Sequence[str]]:
    words: dict[str, bool] = {}  # whether a placeholder is one wherever it stands
    for cell in {cell for row in rows for cell in row if len(cell) <= _LONGEST}:
        if cell[0:1].casefold() not in _INITIALS:
            continue
        folded = " ".join(re.sub(r"[\W_]+", " ", cell.casefold()).split()) or cell.strip()
        if folded in _UNKNOWN or folded in _PERHAPS_UNKNOWN:
            words[cell] = ranks or folded in _UNKNOWN
    if open_words := {cell for cell, sure in words.items() if not sure}:
        above: dict[str, set[tuple[str, ...]]] = {}
        for row in rows:
            for depth, cell in enumerate(row):
                if cell in open_words and depth:
                    above.setdefault(cell, set()).add(tuple(row[:depth]))
        words = {cell: sure or len(above.get(cell, ())) > 1 for cell, sure in words.items()}
    placeholders = {cell for cell, sure in words.items() if sure}
    if not placeholders:
        return rows
    counts = Counter(cell for row in rows for cell in row if cell in placeholders)
    first = next(number for number, row in enumerate(rows) if not placeholders.isdisjoint(row))
    listed = ", ".join(f"{cell!r} ({count} times)" for cell, count in counts.most_common(_LISTED))
    text = f"{listed}: taken for not known, not for a class; first in {where(first)}"
    advice = "If it is the name of a class: --format paths --header takes every cell as it stands."
    found.append(remark("placeholder", text, advice=advice))
    return [
        row if placeholders.isdisjoint(row) else ["" if cell in placeholders else cell for cell in row] for row in rows
    ]


def _filled_down(rows: Sequence[Sequence[str]], where: Where, found: list[Finding]) -> Sequence[Sequence[str]]:
    """Merged cells: every row goes on without a gap once it has begun, and what begins a row does not come twice."""
    if not any(row and row[0] == "" for row in rows) or not rows[0] or rows[0][0] == "":
        return rows
    full = [_without_end(row) for row in rows]
    starts = [next((i for i, cell in enumerate(row) if cell), 0) for row in full]
    above: Sequence[str] = ()
    filled, count = [], 0
    for row, start in zip(full, starts, strict=True):
        if "" in row[start:] or start > len(above) or (start == 0 and row[:1] == above[:1]):
            return rows
        filled.append([*above[:start], *row[start:]])
        count += start if row else 0
        above = filled[-1]
    first = next(number for number, start in enumerate(starts) if start)
    text = f"{count} cells, empty on the left of their row, are filled from the row above, as of merged cells"
    found.append(remark("merged-cells", text, [f"{where(first)}: {' / '.join(filled[first])}"]))
    return filled


def _without_gaps(
    rows: Sequence[Sequence[str]], levels: Sequence[str], where: Where, found: list[Finding]
) -> Sequence[Sequence[str]]:
    filled: list[Sequence[str]] = []
    made: Counter[str] = Counter()
    places: dict[str, str] = {}
    for number, row in enumerate(rows):
        if "" not in row or "" not in (path := _without_end(row)):
            filled.append(row)
            continue
        path = list(path)
        parent = ""
        for depth, cell in enumerate(path):
            if cell == "":
                level = levels[depth] if depth < len(levels) else f"level {depth + 1}"
                path[depth] = f"({parent}, {level} not given)" if parent else f"({level} not given)"
                made[path[depth]] += 1
                places.setdefault(path[depth], where(number))
            else:
                parent = cell
        filled.append(path)
    if made:
        count = sum(made.values())
        text = (
            f"{count} {'cell' if count == 1 else 'cells'} between names are empty; {len(made)} nodes stand in for them"
        )
        details = [f"{name!r}: {n} rows, first {places[name]}" for name, n in made.most_common(_LISTED)]
        details += [f"… {len(made) - _LISTED} more"] if len(made) > _LISTED else []
        found.append(remark("gap", text, details, "Fill the cells if you know what belongs there."))
    return filled


def _without_end(row: Sequence[str]) -> Sequence[str]:
    """The row, empty cells at its end cut off."""
    stop = len(row)
    while stop and row[stop - 1] == "":
        stop -= 1
    return row[:stop]
