"""What a reader may be told where a file does not say it, and what a reader says of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from hierfit.taxonomy.readers.given import Form

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
    "codes",
    "newick",
    "outline",
    "xml",
    "dot",
    "obo",
    "list",
]
"""``paths``: a row for each leaf, root first. ``leaf-first``: the same, leaf first. ``child-parent``, ``parent-child``:
a link in each row, or records with parents or children. ``super-sub``: {super: [sub, …]}. ``ancestors``: {leaf: [parent,
…]}. ``nested``: mappings in mappings, or {name:, children:}. ``node-link``: networkx JSON. ``indices``: whole numbers, a
column for each level. ``ranks``: kingdom … species. ``codes``: codes that begin with their parent's, with titles.
``newick``. ``outline``: indented text, with or without lines drawn. ``xml``: elements in elements. ``dot``: Graphviz.
``obo``: an ontology. ``list``: a name a line, a tree of one level."""


@dataclass(frozen=True)
class Reading:
    """How to read a taxonomy file; whatever is not said is found out from its content.

    Attributes:
        file: The file.
        format: See `Format`.
        select: Which of several data sets, variables, sheets or lists of records in the file.
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


class Score(IntEnum):
    """How well a file speaks for a format."""

    POSSIBLE = 1
    """It can be read so, but nothing shows that it is meant so: read on request only."""
    LIKELY = 2
    """Its content bears it out."""
    CERTAIN = 3
    """It says so itself, by a signature or by the names of its columns or keys."""


@dataclass(frozen=True)
class Claim:
    """What a reader takes a file for.

    Attributes:
        format: See `Format`.
        score: How well the file speaks for it.
        why: By what it is recognised.
        against: What would contradict it.
        meaning: What ``--format`` would say by it, for the question when nothing is certain.
        read: Reads it.
    """

    format: Format
    score: Score
    why: str
    against: str
    meaning: str
    read: Callable[[], Form]
