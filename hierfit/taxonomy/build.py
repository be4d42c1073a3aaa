"""From leaf rows or parent links, in any order, to names and links in canonical order, or to all that is wrong."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hierfit.errors import SHOWN
from hierfit.taxonomy.checks import Finding, Problems, Where, listed, path_to
from hierfit.taxonomy.index import Ints, level_bounds

_SHOWN_PLACES = 12  # places of a fault, nodes of a cycle


class Plan(NamedTuple):
    """What a `Taxonomy` is made of: names [N], level names [L], canonical parent links [N]."""

    names: tuple[str, ...]
    levels: tuple[str, ...]
    parent: Ints


class Draft(NamedTuple):
    """Nodes in the order they first come, each with one parent, whatever is wrong with them.

    Of several parents the first counts; a parent that is not there counts as none. There may be cycles.
    """

    names: Sequence[str]
    parents: Sequence[int]
    where: Where


def from_rows(rows: Iterable[Sequence[str]], levels: Sequence[str] | None) -> Plan:
    """Grow a tree from names coarse to fine, a row for each leaf; raises `UserError` with all faults."""
    problems = Problems("rows", "rows[{}]".format, "Give one row for each leaf, its names coarse to fine.")
    return finish(draft_rows(rows, problems), levels, problems)


def from_links(names: Sequence[str], parents: Sequence[Any], levels: Sequence[str] | None) -> Plan:
    """Order nodes that are given by their parents, names or positions; raises `UserError` with all faults."""
    hint = "List each node once, with one parent, None for a root; a tree with equal names needs leaf rows."
    problems = Problems("parent links", "names[{}]".format, hint)
    if len(names) != len(parents):
        problems.add("row", f"{len(names)} names, but {len(parents)} parents")
        problems.raise_if_any()
    by_name = any(isinstance(parent, str) for parent in parents)
    return finish(draft_links(names, parents, by_name, problems), levels, problems)


def finish(draft: Draft, levels: Sequence[str] | None, problems: Problems) -> Plan:
    """The tree in canonical order; raises `UserError` with all problems, cycles and level names included."""
    names, parent, _ = ordered(draft, problems)
    if not names and not problems.faulty:
        problems.add("empty", "there is no node")
    if problems.faulty:
        problems.check_levels(() if levels is None else levels, None)
        problems.raise_if_any()
    depth = len(level_bounds(parent)) - 1
    if levels is None:
        levels = [f"level{i}" for i in range(depth)]
    problems.check_levels(levels, depth)
    problems.raise_if_any()
    return Plan(names, tuple(levels), parent)


def ordered(draft: Draft, problems: Problems) -> tuple[tuple[str, ...], Ints, Ints]:
    """Names and parents in canonical order, and the draft's node of each; cycles become problems and are left out."""
    links = np.array(draft.parents, dtype=np.int64)
    # Nodes coarse to fine, children of one parent together and in given order; none on or under a cycle.
    by_parent = np.argsort(links, kind="stable")
    starts = array("q", np.searchsorted(links[by_parent], np.arange(-1, len(links) + 1)).tobytes())
    nodes = array("q", by_parent.tobytes())
    queue = nodes[: starts[1]]
    for node in queue:
        if starts[node + 1] < starts[node + 2]:
            queue.extend(nodes[starts[node + 1] : starts[node + 2]])
    order = np.array(queue, dtype=np.int64)
    if len(order) < len(links):
        _check_cycles(draft, problems)
    place = np.full(len(links) + 1, -1)  # the last entry is where a root's −1 leads
    place[order] = np.arange(len(order))
    return tuple(map(draft.names.__getitem__, queue)), place[links[order]], order


def _check_cycles(draft: Draft, problems: Problems) -> None:
    """Adds every cycle of the parent links, with the nodes along it. O(N)."""
    walk_of = [-1] * len(draft.parents)
    for start in range(len(walk_of)):
        node, walk = start, []
        while node >= 0 and walk_of[node] < 0:
            walk_of[node] = start
            walk.append(node)
            node = draft.parents[node]
        if node >= 0 and walk_of[node] == start:
            cycle = walk[walk.index(node) :]
            links = [f"{draft.names[v]!r} ({draft.where(v)})" for v in cycle[:_SHOWN_PLACES]]
            if len(cycle) > _SHOWN_PLACES:
                links.append(f"… {len(cycle) - _SHOWN_PLACES} more")
            problems.add("cycle", f"cycle, each the child of the next: {' → '.join(links)} → {draft.names[node]!r}")


# Rows ----------------------------------------------------------------------------------------------------------------


def draft_rows(
    rows: Iterable[Sequence[str]], problems: Problems, whole: Sequence[Sequence[object]] | None = None,
    inner_rows: bool = False,
) -> Draft:  # fmt: skip
    """The nodes of leaf rows, each told apart by its whole path; a faulty row brings none. O(names in all rows).

    `problems` knows the place of each row, and gains what is wrong. Rows of one path that differ in their `whole` cells
    are not the same. With `inner_rows` a row may end at a node that others pass through, and stands for it.
    """
    names: list[str] = []
    parents, first_row, ends = array("q"), array("q"), array("q")
    by_name: dict[str, int] = {}  # the first node of each name; most names have one
    others: dict[tuple[int, str], int] = {}
    above: Sequence[str] = ()  # of the row before
    nodes: list[int] = []  # along it

    def child(parent: int, name: str, number: int) -> int:
        node = by_name.setdefault(name, len(names))
        if node < len(names) and parents[node] != parent:
            node = others.setdefault((parent, name), len(names))
        if node == len(names):
            if type(name) is not str or not name.isprintable() or name[0] == " " or name[-1] == " ":
                problems.check_name(number, name)
            names.append(name)
            parents.append(parent)
            first_row.append(number)
        return node

    for number, row in enumerate(rows):
        path = row if row and row[-1] != "" else without_end(row)
        if not path or "" in path or isinstance(path, str):
            problems.add(*_fault_of_row(path), number)
            ends.append(-1)
            continue
        if path[:-1] != above:  # most rows stand beside their siblings
            here = path[:-1]
            shared = 0
            for old, new in zip(above, here, strict=False):
                if old != new:
                    break
                shared += 1
            del nodes[shared:]
            for name in here[len(nodes) :]:
                nodes.append(child(nodes[-1] if nodes else -1, name, number))
            above = here
        ends.append(child(nodes[-1] if nodes else -1, path[-1], number))
    draft = Draft(names, parents, lambda node: problems.where(first_row[node]))
    has_children = np.zeros(len(names) + 1, dtype=bool)  # the last is nobody's parent
    has_children[np.array(parents, dtype=np.int64)] = True
    last = np.array(ends, dtype=np.int64)
    last = last[last >= 0]
    if (np.bincount(last) > 1).any() or has_children[last].any():
        _check_leaves(ends, draft, problems, whole, inner_rows)
    return draft


def without_end(row: Sequence[str]) -> Sequence[str]:
    """The row, empty cells at its end cut off."""
    stop = len(row)
    while stop and row[stop - 1] == "":
        stop -= 1
    return row if stop == len(row) else row[:stop]


def _fault_of_row(row: Sequence[str]) -> tuple[str, str]:
    if isinstance(row, str):
        return "row", f"a row must be a list of names, not the text {row!r}"
    if not row:
        return "row", "the row holds no name"
    return "gap", f"gap before {row[list(row).index('') + 1]!r}: only cells at the end of a row may be empty"


def _check_leaves(
    ends: Sequence[int], draft: Draft, problems: Problems, whole: Sequence[Sequence[object]] | None, inner_rows: bool
) -> None:
    """Adds rows that repeat another row, and rows that end at a node which other rows pass through."""
    where = problems.where
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row, node in enumerate(ends):
        if node >= 0:
            rows_of[node].append(row)
    first_child: dict[int, int] = {}
    for node, parent in enumerate(draft.parents):
        first_child.setdefault(parent, node)
    inner: list[str] = []
    for node, rows in rows_of.items():
        if node in first_child and inner_rows:
            inner.append(f"{draft.names[node]!r} ({where(rows[0])})")
            continue
        if len(rows) == 1 and node not in first_child:
            continue
        path = " / ".join(map(str, path_to(node, draft.names, draft.parents)))
        if len(rows) > 1:
            kind = "repeated" if whole is None or len({tuple(whole[row]) for row in rows}) == 1 else "same-path"
            problems.add(
                kind, f"{path}: the same leaf is given {len(rows)} times: {listed(map(where, rows), _SHOWN_PLACES)}"
            )
        if node in first_child:
            below = draft.where(first_child[node])
            problems.add("leaf-and-inner", f"{path}: a leaf in {where(rows[0])}, but it has children ({below})")
    if inner:
        total = len(first_child.keys() - {-1})
        what = f"{len(inner)} of {total} inner nodes have a row of their own, which is no leaf"
        severity = "note" if len(inner) * 2 >= total else "warning"
        problems.append(Finding(severity, "inner-rows", what, details=(listed(inner[:4]),)))  # type: ignore[arg-type]


# Links ---------------------------------------------------------------------------------------------------------------


def draft_links(names: Sequence[str], parents: Sequence[Any], by_name: bool, problems: Problems) -> Draft:
    """The nodes of [M] links to parents, given by name or by position; `problems` gains what is wrong with them."""
    for link, name in enumerate(names):
        if type(name) is not str or not name.isprintable() or name[:1] in ("", " ") or name[-1] == " ":
            problems.check_name(link, name)
    return (_by_name if by_name else _by_position)(names, parents, problems)


def _by_name(names: Sequence[str], parents: Sequence[Any], problems: Problems) -> Draft:
    place: dict[str, int] = {}
    links = array("q")  # the first of each node
    for link, name in enumerate(names):
        if place.setdefault(name, len(links)) == len(links):
            links.append(link)
    if len(links) < len(names):
        _check_repeated(names, parents, problems)
    nodes = names if len(links) == len(names) else list(place)
    place[""] = -1
    above = array("q", [-1 if parent is None else place.get(parent, -2) for parent in parents])
    if unknown := [link for link, node in enumerate(above) if node == -2]:
        from hierfit.taxonomy.lookup import did_you_mean

        known = tuple(place)
        for number, link in enumerate(unknown):
            above[link], parent = -1, parents[link]
            guess = did_you_mean(parent, known) if isinstance(parent, str) and number < SHOWN else ""
            text = f"the parent {parent!r} of {names[link]!r} is not among the names{guess}"
            problems.add("misspelt-parent" if guess else "unknown-parent", text, link)
    return Draft(nodes, [above[link] for link in links], lambda node: problems.where(links[node]))


def _by_position(names: Sequence[str], parents: Sequence[Any], problems: Problems) -> Draft:
    links = [-1 if parent is None else parent for parent in parents]
    for node, parent in enumerate(links):
        if not isinstance(parent, int | np.integer) or not -1 <= parent < len(names):
            links[node] = -1
            text = f"the parent of {names[node]!r} is {parent!r}, not a position among {len(names)} names"
            problems.add("unknown-parent", text, node)
    # Nodes that share both name and parent: the same leaf again, or several inner nodes of one name.
    nodes_of = defaultdict(list)
    for node, key in enumerate(zip(links, names, strict=True) if len(set(names)) < len(names) else ()):
        nodes_of[key].append(node)
    inner = set(links)
    for (above, name), nodes in nodes_of.items():
        if len(nodes) > 1:
            what = "roots" if above < 0 else f"children of {names[above]!r}"
            kind = "repeated" if inner.isdisjoint(nodes) else "same-name"
            problems.add(
                kind, f"{len(nodes)} {what} are named {name!r}: " + listed(map(problems.where, nodes), _SHOWN_PLACES)
            )
    return Draft(names, links, problems.where)


def _check_repeated(names: Sequence[str], parents: Sequence[str | None], problems: Problems) -> None:
    """Adds nodes listed more than once in links by name: with several parents, or with the same one."""
    where = problems.where
    links_of = defaultdict(list)
    for link, name in enumerate(names):
        links_of[name].append(link)
    repeated = {name: links for name, links in links_of.items() if len(links) > 1}
    children = defaultdict(list)
    for name, parent in zip(names, parents, strict=True):
        if parent in repeated:
            children[parent].append(name)
    for name, links in repeated.items():
        above = (f"{parents[v]!r} ({where(v)})" if parents[v] else f"none ({where(v)})" for v in links)
        parents_listed = listed(above, _SHOWN_PLACES)
        if len({parents[v] or None for v in links}) == 1:
            problems.add("repeated", f"{name!r} is listed {len(links)} times, with the parent {parents_listed}")
        else:
            below = f"; its children: {listed(map(repr, children[name]), _SHOWN_PLACES)}" if children[name] else ""
            problems.add("several-parents", f"{name!r} has several parents: {parents_listed}{below}")
