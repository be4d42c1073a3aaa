"""From leaf rows or parent links, in any order, to names and links in canonical order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hierfit.taxonomy import checks
from hierfit.taxonomy.checks import Problems, Where
from hierfit.taxonomy.index import Ints, level_bounds
from hierfit.taxonomy.spelling import Speller


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
    return finish(draft_links(names, parents, problems), levels, problems)


def draft_rows(
    rows: Iterable[Sequence[str]],
    problems: Problems,
    whole: Sequence[Sequence[object]] | None = None,
    inner_rows: bool = False,
) -> Draft:
    """The nodes of leaf rows, each told apart by its whole path; a faulty row brings none. O(names in all rows).

    Args:
        rows: Names from root to leaf.
        problems: Knows the place of each row, and gains what is wrong.
        whole: All cells of each row, where not all are names.
        inner_rows: Whether a row may end at a node that others pass through.
    """
    names: list[str] = []
    parents: list[int] = []
    first_row: list[int] = []
    ends: list[int] = []
    roots: dict[str, int] = {}
    children: list[dict[str, int]] = []

    for number, row in enumerate(rows):
        depth = len(row)
        while depth and row[depth - 1] == "":
            depth -= 1
        path = row[:depth]
        if not path or "" in path or isinstance(path, str):
            checks.check_row(path, number, problems)
            ends.append(-1)
            continue
        node, below = -1, roots
        for name in path:
            known = below.get(name)
            if known is None:
                problems.check_name(number, name)
                known = below[name] = len(names)
                names.append(name)
                parents.append(node)
                first_row.append(number)
                children.append({})
            node, below = known, children[known]
        ends.append(node)
    if len(set(ends)) < len(ends) or not set(parents).isdisjoint(ends):
        checks.check_leaves(ends, names, parents, first_row, problems, whole, inner_rows)
    return Draft(names, parents, lambda node: problems.where(first_row[node]))


def draft_links(names: Sequence[str], parents: Sequence[Any], problems: Problems) -> Draft:
    """The nodes of links by name or by position.

    Args:
        names: [M] node names.
        parents: [M] names or positions of the parents.
        problems: Knows the place of each link, and gains what is wrong.
    """
    for link, name in enumerate(names):
        problems.check_name(link, name)
    if any(isinstance(parent, str) for parent in parents):
        return _by_name(names, parents, problems)
    return _by_position(names, parents, problems)


def _by_name(names: Sequence[str], parents: Sequence[Any], problems: Problems) -> Draft:
    place: dict[str, int] = {}
    first: list[int] = []
    for link, name in enumerate(names):
        if name not in place:
            place[name] = len(place)
            first.append(link)
    if len(first) < len(names):
        checks.check_repeated_links(names, parents, problems)
    nodes = list(place)
    place |= {"": -1}
    above = [-1 if parent is None else place.get(parent, -2) for parent in parents]
    unknown = [link for link, node in enumerate(above) if node == -2]
    if unknown:
        speller = Speller(place)
        for link in unknown:
            above[link] = -1
            parent = parents[link]
            guess = speller.did_you_mean(parent) if isinstance(parent, str) else ""
            kind = "misspelt-parent" if guess else "unknown-parent"
            problems.at(link, kind, f"the parent {parent!r} of {names[link]!r} is not among the names{guess}")
    return Draft(nodes, [above[link] for link in first], lambda node: problems.where(first[node]))


def _by_position(names: Sequence[str], parents: Sequence[Any], problems: Problems) -> Draft:
    links = [-1 if parent is None else parent for parent in parents]
    for node, parent in enumerate(links):
        if not isinstance(parent, int | np.integer) or not -1 <= parent < len(names):
            links[node] = -1
            text = f"the parent of {names[node]!r} is {parent!r}, not a position among {len(names)} names"
            problems.at(node, "unknown-parent", text)
    if len(set(names)) < len(names):
        checks.check_siblings(names, links, problems)
    return Draft(names, links, problems.where)


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
    order = breadth_first(links)
    if len(order) < len(links):
        checks.check_cycles(draft.names, links.tolist(), draft.where, problems)
    place = np.full(len(links) + 1, -1)  # the last entry is where a root's −1 leads
    place[order] = np.arange(len(order))
    return tuple(draft.names[node] for node in order.tolist()), place[links[order]], order


def breadth_first(links: Ints) -> Ints:
    """Nodes coarse to fine, children of one parent together and in given order; none on or under a cycle."""
    by_parent = np.argsort(links, kind="stable")
    starts = np.searchsorted(links[by_parent], np.arange(-1, len(links) + 1)).tolist()
    nodes = by_parent.tolist()
    queue = nodes[: starts[1]]
    for node in queue:
        queue.extend(nodes[starts[node + 1] : starts[node + 2]])
    return np.array(queue, dtype=np.int64)
