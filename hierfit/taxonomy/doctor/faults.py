"""What is wrong: what keeps a file from being a tree, and what a tree says that can hardly be meant."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from hierfit.errors import UserError
from hierfit.taxonomy.doctor.finding import Finding
from hierfit.taxonomy.readers.given import Given, Rows
from hierfit.taxonomy.readers.table import order_of_columns

MAJORITY = 0.75
"""Share of its leaves from which one of a name's several places is taken for the true one."""

_LISTED = 4
_MEND = "--fix OUT mends it"
# How the reader words it, what it is, what to do, whether `mend` knows a remedy.
_KINDS = (
    ("cycle, each the child", "cycle", "Take one of these links out.", False),
    (" has several parents: ", "several-parents", "A tree has room for one: --fix OUT keeps the first.", True),
    (" is listed ", "repeated", _MEND, True),
    ("the same leaf is given", "repeated", _MEND, True),
    (" are named ", "repeated", _MEND, True),
    ("but it has children", "leaf-and-inner", "Take the row out (--fix OUT does), or give its leaf a name.", True),
    (" is not among the names", "unknown-parent", "List it as a node of its own; --fix OUT makes it a root.", True),
    ("begins or ends with a blank", "name", _MEND, True),
    ("cannot be seen", "name", _MEND, True),
    ("the name is empty", "name", "", False),
    ("gap before", "gap", "Fill the cell, or move what follows to the left.", False),
    ("the level name", "levels", "", False),
    ("level names are given", "levels", "", False),
    ("no node lies in level", "levels", "", False),
)


def tree_faults(given: Given) -> list[Finding]:
    """Whatever the reader refuses, one finding each."""
    try:
        given.plan()
    except UserError as error:
        return [_of_text(text) for text in error.problems or (error.summary,)]
    return []


def _of_text(text: str) -> Finding:
    for words, kind, advice, mended in _KINDS:
        if words in text:
            return Finding("problem", kind, text, advice=advice, mended=mended)
    return Finding("problem", "unreadable", text)


Place = tuple[int, tuple[str, ...]]


def full_rows(form: Rows) -> list[tuple[str, ...]]:
    """The rows, empty cells at their ends cut off."""
    rows = []
    for row in form.rows:
        stop = len(row)
        while stop and row[stop - 1] == "":
            stop -= 1
        rows.append(tuple(row[:stop]))
    return rows


def places(form: Rows) -> dict[str, dict[Place, list[int]]]:
    """For each inner name its places in the tree, as depth and names above, with the rows that pass there."""
    found: dict[str, dict[Place, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, row in enumerate(full_rows(form)):
        for depth, name in enumerate(row[:-1]):
            found[name][depth, row[:depth]].append(number)
    return {name: dict(where) for name, where in found.items() if len(where) > 1}


def usual(where: dict[Place, list[int]]) -> Place | None:
    """The place that most rows give, if they are most by far."""
    best = max(where, key=lambda place: len(where[place]))
    share = len(where[best]) / sum(map(len, where.values()))
    return best if share >= MAJORITY else None


def misplaced(form: Rows) -> dict[str, Finding]:
    """Inner names that nearly all rows put in one place, and a few in another; by name."""
    rows = full_rows(form)
    found = {}
    for name, where in places(form).items():
        right = usual(where)
        depths = {depth for depth, _ in where}
        # A family named like its order ("Avocado" is an Avocado) is one below the other, and no fault.
        if right is None or any(name in above for _, above in where):
            continue
        total = sum(map(len, where.values()))
        details = []
        for (depth, above), numbers in sorted(where.items(), key=lambda item: -len(item[1])):
            detail = f"under {' / '.join(above) or 'nothing'}: {len(numbers)} of {total} rows"
            if (depth, above) != right:
                detail += ": " + ", ".join(f"{rows[i][-1]} ({form.where(i)})" for i in numbers[:_LISTED])
                detail += ", …" if len(numbers) > _LISTED else ""
            details.append(detail)
        several = f"stands on {len(depths)} levels" if len(depths) > 1 else "has several parents"
        kind = "level-order" if len(depths) > 1 else "several-parents"
        advice = f"--fix OUT puts it under {' / '.join(right[1]) or 'nothing'} everywhere."
        found[name] = Finding("problem", kind, f"{name!r} {several}", tuple(details), advice, mended=True)
    return found


def levels_out_of_order(given: Given) -> list[Finding]:
    """Level names whose usual order is another."""
    known = order_of_columns(given.form.levels or ())
    if all(a <= b for (_, a), (_, b) in pairwise(known)):
        return []
    text = f"the levels run {', '.join(name for name, _ in known)}: coarse to fine that is not the usual order"
    usually = ", ".join(name for name, _ in sorted(known, key=lambda column: column[1]))
    return [Finding("problem", "level-order", text, advice=f"Usual is {usually}: --columns picks the order.")]
