"""From leaf rows or parent links, in any order, to names and links in canonical order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hierfit.taxonomy import checks
from hierfit.taxonomy.checks import Problems
from hierfit.taxonomy.index import Ints, level_bounds
from hierfit.taxonomy.spelling import Speller


class Plan(NamedTuple):
    """What a `Taxonomy` is made of: names [N], level names [L], canonical parent links [N]."""

    names: tuple[str, ...]
    levels: tuple[str, ...]
    parent: Ints


def from_rows(rows: Iterable[Sequence[str]], levels: Sequence[str] | None, problems: Problems | None = None) -> Plan:
    """Grow the tree row by row.

    Args:
        rows: Names from root to leaf.
        levels: Level names, or None for `level0`, `level1`, …
        problems: Knows the place of each row, and may gain some while rows are read.
    """
    if problems is None:
        hint = "Give one row for each leaf, its names coarse to fine."
        problems = Problems("rows", "rows[{}]".format, hint)
    grown = grow(rows, problems)
    if len(set(grown.ends)) < len(grown.ends) or not set(grown.parents).isdisjoint(grown.ends):
        problems += checks.leaf_problems(*grown, problems.where)
    return _arrange(grown.names, np.array(grown.parents, dtype=np.int64), levels, problems)


class Grown(NamedTuple):
    """Nodes of leaf rows, each told apart by its whole path: see `checks.leaf_problems`."""

    ends: list[int]
    names: list[str]
    parents: list[int]
    first_row: list[int]


def grow(rows: Iterable[Sequence[str]], problems: Problems) -> Grown:
    """The nodes of rows, as they first come; a faulty row becomes a problem and brings none. O(names in all rows).

    Args:
        rows: Names from root to leaf.
        problems: Knows the place of each row.
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
            problems.at(number, checks.row_problem(path))
            ends.append(-1)
            continue
        node, below = -1, roots
        for name in path:
            known = below.get(name)
            if known is None:
                if problem := checks.name_problem(name):
                    problems.at(number, problem)
                known = below[name] = len(names)
                names.append(name)
                parents.append(node)
                first_row.append(number)
                children.append({})
            node, below = known, children[known]
        ends.append(node)
    return Grown(ends, names, parents, first_row)


def from_links(
    names: Sequence[str],
    parents: Sequence[Any],
    levels: Sequence[str] | None,
    problems: Problems | None = None,
) -> Plan:
    """Order nodes that are given by their parents.

    Args:
        names: [N] node names.
        parents: [N] names or positions of the parents.
        levels: Level names, or None for `level0`, `level1`, …
        problems: Knows the place of each node, and may hold some already.
    """
    if problems is None:
        hint = "List each node once, with one parent, None for a root; a tree with equal names needs leaf rows."
        problems = Problems("parent links", "names[{}]".format, hint)
    if len(names) != len(parents):
        problems.append(f"{len(names)} names, but {len(parents)} parents")
        problems.raise_if_any()
    for node, name in enumerate(names):
        if problem := checks.name_problem(name):
            problems.at(node, problem)
    by_name = any(isinstance(parent, str) for parent in parents)
    links = (_links_by_name if by_name else _links_by_position)(names, parents, problems)
    return _arrange(names, np.array(links, dtype=np.int64), levels, problems)


def _links_by_name(names: Sequence[str], parents: Sequence[Any], problems: Problems) -> list[int]:
    position: dict[str, int] = {}
    for node, name in enumerate(names):
        position.setdefault(name, node)
    if len(position) < len(names):
        problems += checks.repeated_node_problems(names, parents, problems.where)
    position |= {"": -1}
    links = [-1 if parent is None else position.get(parent, -2) for parent in parents]
    unknown = [node for node, link in enumerate(links) if link == -2]
    if unknown:
        speller = Speller(position)
        for node in unknown:
            links[node] = -1
            parent = parents[node]
            guess = speller.did_you_mean(parent) if isinstance(parent, str) else ""
            problems.at(node, f"the parent {parent!r} of {names[node]!r} is not among the names{guess}")
    return links


def _links_by_position(names: Sequence[str], parents: Sequence[Any], problems: Problems) -> list[int]:
    links = [-1 if parent is None else parent for parent in parents]
    for node, parent in enumerate(links):
        if not isinstance(parent, int | np.integer) or not -1 <= parent < len(names):
            links[node] = -1
            problems.at(node, f"the parent of {names[node]!r} is {parent!r}, not a position among {len(names)} names")
    if len(set(names)) < len(names):
        problems += checks.sibling_problems(names, links, problems.where)
    return links


def _arrange(names: Sequence[str], links: Ints, levels: Sequence[str] | None, problems: Problems) -> Plan:
    order = breadth_first(links)
    if len(order) < len(links):
        problems += checks.cycle_problems(names, links.tolist(), problems.where)
    if not len(links) and not problems:
        problems.append("there is no node")
    if problems:
        problems.check_levels(() if levels is None else levels, None)
        problems.raise_if_any()

    place = np.full(len(links) + 1, -1)  # the last entry is where a root's −1 leads
    place[order] = np.arange(len(order))
    parent = place[links[order]]
    depth = len(level_bounds(parent)) - 1
    if levels is None:
        levels = [f"level{i}" for i in range(depth)]
    problems.check_levels(levels, depth)
    problems.raise_if_any()
    return Plan(tuple(names[node] for node in order.tolist()), tuple(levels), parent)


def breadth_first(links: Ints) -> Ints:
    """Nodes coarse to fine, children of one parent together and in given order; none on or under a cycle."""
    by_parent = np.argsort(links, kind="stable")
    starts = np.searchsorted(links[by_parent], np.arange(-1, len(links) + 1)).tolist()
    nodes = by_parent.tolist()
    queue = nodes[: starts[1]]
    for node in queue:
        queue.extend(nodes[starts[node + 1] : starts[node + 2]])
    return np.array(queue, dtype=np.int64)
