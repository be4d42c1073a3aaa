"""What a reader may be told where a file does not say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Format = Literal[
    "paths",
    "leaf-first",
    "child-parent",
    "parent-child",
    "super-sub",
    "ancestors",
    "nested",
    "node-link",
    "indices",
    "ranks",
    "newick",
    "outline",
    "list",
]
"""``paths``: a row for each leaf, root first. ``leaf-first``: the same, leaf first. ``child-parent``, ``parent-child``:
a link in each row. ``super-sub``: JSON or YAML {super: [sub, …]}. ``ancestors``: {leaf: [parent, …]}. ``nested``:
mappings in mappings, or {name:, children:}. ``node-link``: networkx JSON. ``indices``: whole numbers, a column for each
level. ``ranks``: kingdom … species. ``newick``. ``outline``: indented text, with or without lines drawn. ``list``: a
name a line, a tree of one level."""


@dataclass(frozen=True)
class Reading:
    """How to read a taxonomy file; whatever is not said is found out from its content.

    Attributes:
        file: The file.
        format: See `Format`.
        select: Which of several data sets, or variables, in the file.
        header: Whether the first line of a table names its columns.
        columns: Columns of a table to read, coarse to fine, counted from 1.
        levels: Level names, coarse to fine.
        names: A file of names for ids or indices; for indices, one for each level, coarse to fine.
        leaves: A file that lists the leaves to keep; whatever is not above one is left out.
        parents: ``first`` keeps the first parent of a node that has several, as WordNet's do.
    """

    file: str
    format: Format | None = None
    select: str | None = None
    header: bool | None = None
    columns: tuple[int, ...] = ()
    levels: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    leaves: str | None = None
    parents: Literal["one", "first"] = "one"
