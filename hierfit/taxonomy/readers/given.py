"""What a reader is asked for, what it takes a file for, and what the file says of a tree, sound or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hierfit.taxonomy import build
from hierfit.taxonomy.checks import Finding, Problems, Where, problem

Format = Literal[
    "paths", "leaf-first", "child-parent", "parent-child", "super-sub", "ancestors", "nested", "node-link", "indices",
    "ranks", "codes", "newick", "outline", "xml", "dot", "obo", "list",
]  # fmt: skip
FORMATS: Mapping[str, tuple[str, str]] = {
    "paths": ("rows from the root", "a name that stands under several others"),
    "leaf-first": ("rows from the leaf", "a name that stands under several others"),
    "child-parent": ("the child on the left, or records with parents or children", "a parent that no row is about"),
    "parent-child": ("the parent on the left", "a parent that no row is about"),
    "super-sub": ("{super: [sub, …]}", "items that come again below other names"),
    "ancestors": ("{leaf: [parent, …]}", "a first parent that stands under several others"),
    "nested": ("nodes where they stand, nested", "keys that name parts of a record"),
    "node-link": ("networkx's nodes and links", "links that do not run between the nodes"),
    "indices": ("whole numbers, a column for each level", "a column that is not counted through from 0 or 1"),
    "ranks": ("kingdom … species, a column each", "a name of one rank that stands under several of the rank above"),
    "codes": ("codes that begin with their parent's, with titles", "codes that only count"),
    "newick": ("a tree in brackets", "text behind the ';'"),
    "outline": ("indented text, a node in each line", "an indent that none above has"),
    "xml": ("elements in elements", "names in other elements"),
    "dot": ("a Graphviz graph", "edges without a direction"),
    "obo": ("an ontology in OBO", "terms without is_a"),
    "list": ("a name in each line, a tree of one level", "a sign that divides levels"),
}
"""Of each format what ``--format`` means by it, and what would contradict it."""


@dataclass(frozen=True)
class Reading:
    """How to read a taxonomy file; whatever is not said is found out from its content.

    Attributes:
        file: The file.
        format: See `FORMATS`.
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


@dataclass(frozen=True)
class Rows:
    """Names from root to leaf for each leaf; nodes are told apart by their whole path.

    `where` is the place of a row, `findings` what was not understood and what was decided; `whole` has all cells of
    each row where some are not read.
    """

    rows: Sequence[Sequence[str]]
    where: Where
    levels: Sequence[str] | None = None
    findings: Sequence[Finding] = ()
    whole: Sequence[Sequence[object]] | None = None

    def draft(self, problems: Problems) -> build.Draft:
        """The nodes, whatever is wrong with them."""
        return build.draft_rows(self.rows, problems, self.whole, inner_rows=True)

    def only(self, kept: Sequence[int]) -> Rows:
        """Some of the rows."""
        if len(kept) == len(self.rows):
            return self
        where, whole = self.where, self.whole and [self.whole[i] for i in kept]
        return replace(self, rows=[self.rows[i] for i in kept], where=lambda row: where(kept[row]), whole=whole)

    def above(self, leaves: Collection[str]) -> Rows:
        """The rows that end in one of `leaves`; those that no row ends in become faults."""
        kept = [i for i, row in enumerate(self.rows) if row and row[-1] in leaves]
        missing = set(leaves).difference(self.rows[i][-1] for i in kept)
        return replace(self.only(kept), findings=[*self.findings, *_not_found(missing)])


@dataclass(frozen=True)
class Links:
    """A parent for each node: [M] names or ids, and [M] parents, by name or by position; None or "" for a root.

    `where` is the place of a link, `findings` what was not understood and what was decided. A name with several links
    has several parents, and makes no tree. `labels` says what a node is called whose name is only an id; siblings of
    one label get the id behind it.
    """

    names: Sequence[str]
    parents: Sequence[Any]
    where: Where
    labels: Mapping[str, str] = field(default_factory=dict)
    levels: Sequence[str] | None = None
    findings: Sequence[Finding] = ()
    by_name: bool = True

    def draft(self, problems: Problems) -> build.Draft:
        """The nodes, whatever is wrong with them; labels in the place of ids."""
        draft = build.draft_links(self.names, self.parents, self.by_name, problems)
        if not self.labels:
            return draft
        for link, name in enumerate(self.names):
            if name in self.labels:
                problems.check_name(link, self.labels[name])
        # Siblings of one label (WordNet knows two kinds of "food") get their id behind it.
        keys = [(p, self.labels.get(name, name)) for p, name in zip(draft.parents, draft.names, strict=True)]
        count = Counter(keys)
        names = zip(keys, draft.names, strict=True)
        return draft._replace(names=[key[1] if count[key] == 1 else f"{key[1]} ({name})" for key, name in names])

    def only(self, kept: Sequence[int]) -> Links:
        """Some of the links."""
        where, parents = self.where, [self.parents[i] for i in kept]
        if not self.by_name:
            place = {link: i for i, link in enumerate(kept)}
            parents = [place.get(parent) for parent in parents]
        names = [self.names[i] for i in kept]
        return replace(self, names=names, parents=parents, where=lambda number: where(kept[number]))

    def above(self, leaves: Collection[str]) -> Links:
        """The links of `leaves` and of everything above them; leaves that are not there become faults."""
        links: dict[str | int, list[int]] = {}
        for link, name in enumerate(self.names):
            links.setdefault(name if self.by_name else link, []).append(link)
        known = {self.labels.get(name, name): name for name in self.names} | {name: name for name in self.names}
        wanted = {known[leaf] for leaf in leaves if leaf in known}
        kept: set[int] = set()
        queue = [link for link, name in enumerate(self.names) if name in wanted]
        while queue:
            link = queue.pop()
            if link not in kept:
                kept.add(link)
                queue += links.get(self.parents[link], ())
        return replace(self.only(sorted(kept)), findings=[*self.findings, *_not_found(set(leaves) - known.keys())])

    def with_first_parents(self) -> Links:
        """Of a node listed several times, the first link only."""
        first: dict[str, int] = {}
        for link, name in enumerate(self.names):
            first.setdefault(name, link)
        return self.only(list(first.values())) if self.by_name else self


Form = Rows | Links


def _not_found(names: Collection[str]) -> list[Finding]:
    return [problem("missing-leaf", f"the leaf {name!r} is not in the file") for name in sorted(names)]


@dataclass(frozen=True)
class Guess:
    """What a file may be: a format, what speaks for it, how to read it so, and what speaks against it.

    All readers are judged by one rule: what the file says itself, by a signature or by the names of its columns or
    keys, goes before what its content bears out, and what has anything against it is read on request alone.
    """

    format: Format
    why: str
    read: Callable[[], Form]
    said: bool = False
    doubt: str = ""

    @property
    def score(self) -> int:
        """2 where the file says so itself, 1 where nothing speaks against it, else 0."""
        return 0 if self.doubt else 1 + self.said

    def __str__(self) -> str:
        return f"{self.why}; but {self.doubt}" if self.doubt else self.why


@dataclass(frozen=True)
class Given:
    """A tree as a file gives it: the file as messages call it, its format, what spoke for that, and what it says."""

    source: str
    format: str
    why: str
    form: Form

    def draft(self) -> tuple[build.Draft, Problems]:
        """Its nodes, with everything that keeps them from being a tree (cycles and level names aside)."""
        hint = "`hierfit taxonomy check FILE` reports everything about a tree, and mends some faults."
        problems = Problems(self.source, self.form.where, hint)
        problems += [finding for finding in self.form.findings if finding.severity == "problem"]
        return self.form.draft(problems), problems

    def plan(self) -> build.Plan:
        """Names and links in canonical order; raises `UserError` with everything that is wrong."""
        draft, problems = self.draft()
        plan = build.finish(draft, self.form.levels, problems)
        return plan._replace(names=tuple(map(str, plan.names)), levels=tuple(map(str, plan.levels)))
