"""What a reader is told, what it takes a file for, and what the file says of a tree, sound or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Literal

from hierfit.taxonomy import build
from hierfit.taxonomy.build import Draft
from hierfit.taxonomy.checks import Finding, Problems, Where

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
a link in each row, or records with parents or children. ``super-sub``: {super: [sub, …]}. ``ancestors``: {leaf:
[parent, …]}. ``nested``: mappings in mappings, or {name:, children:}. ``node-link``: networkx JSON. ``indices``: whole
numbers, a column for each level. ``ranks``: kingdom … species. ``codes``: codes that begin with their parent's, with
titles. ``newick``. ``outline``: indented text, with or without lines drawn. ``xml``: elements in elements. ``dot``:
Graphviz. ``obo``: an ontology. ``list``: a name a line, a tree of one level."""


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


HINT = "`hierfit taxonomy check FILE` reports everything about a tree, and mends some faults."


def problem(kind: str, text: str, where: str = "") -> Finding:
    """Something in a file that could not be understood."""
    return Finding("problem", kind, text, where)


def remark(kind: str, text: str, details: Sequence[str] = (), advice: str = "") -> Finding:
    """Something a reader has decided or added of its own."""
    return Finding("warning", kind, text, details=tuple(details), advice=advice)


@dataclass(frozen=True)
class Rows:
    """A path of names for each leaf; nodes are told apart by their whole path.

    Attributes:
        rows: Names from root to leaf.
        where: Place of a row in the file.
        levels: Level names, coarse to fine; None where the file has none.
        findings: What could not be understood, with its place, and what the reader decided.
        whole: All cells of each row, those that are not read included; None where there are no others.
    """

    rows: Sequence[Sequence[str]]
    where: Where
    levels: Sequence[str] | None = None
    findings: Sequence[Finding] = ()
    whole: Sequence[Sequence[object]] | None = None

    def draft(self, problems: Problems) -> Draft:
        """The nodes, whatever is wrong with them."""
        return build.draft_rows(self.rows, problems, self.whole, inner_rows=True)

    def only(self, kept: Sequence[int]) -> Rows:
        """Some of the rows."""
        where = self.where
        return replace(
            self,
            rows=[self.rows[i] for i in kept],
            where=lambda row: where(kept[row]),
            whole=self.whole and [self.whole[i] for i in kept],
        )

    def above(self, leaves: Collection[str]) -> Rows:
        """The rows that end in one of `leaves`; those that no row ends in become faults."""
        kept = [i for i, row in enumerate(self.rows) if row and row[-1] in leaves]
        missing = set(leaves).difference(self.rows[i][-1] for i in kept)
        return replace(self.only(kept), findings=[*self.findings, *_not_found(missing)])

    def with_first_parents(self) -> Rows:
        """Itself: a node has one parent when it is its path."""
        return self


@dataclass(frozen=True)
class Links:
    """A parent for each node; nodes are told apart by their name, or, with positions for parents, by their place.

    Attributes:
        names: [M] node names, or ids; one listed several times has several parents, and is no tree.
        parents: [M] names or positions of the parents; None or "" for a root.
        where: Place of a link in the file.
        labels: What a node is called, where its name is only an id; siblings of one label get the id behind it.
        levels: Level names, coarse to fine; None where the file has none.
        findings: What could not be understood, with its place, and what the reader decided.
    """

    names: Sequence[str]
    parents: Sequence[str | int | None]
    where: Where
    labels: Mapping[str, str] = field(default_factory=dict)
    levels: Sequence[str] | None = None
    findings: Sequence[Finding] = ()

    @property
    def by_position(self) -> bool:
        """Whether parents are positions."""
        return not any(isinstance(parent, str) for parent in self.parents)

    def draft(self, problems: Problems) -> Draft:
        """The nodes, whatever is wrong with them; labels in the place of ids."""
        draft = build.draft_links(self.names, self.parents, problems)
        if not self.labels:
            return draft
        for link, name in enumerate(self.names):
            if name in self.labels:
                problems.check_name(link, self.labels[name])
        return draft._replace(names=self._told_apart(draft.names, draft.parents))

    def _told_apart(self, names: Sequence[str], parents: Sequence[int]) -> list[str]:
        """The labels of nodes; siblings of one label (WordNet knows two kinds of "food") get their id behind it."""
        labels = [self.label(name) for name in names]
        count = Counter(zip(parents, labels, strict=True))
        return [
            label if count[parent, label] == 1 else f"{label} ({name})"
            for parent, label, name in zip(parents, labels, names, strict=True)
        ]

    def label(self, name: str) -> str:
        """What a node is called."""
        return self.labels.get(name, name)

    def above(self, leaves: Collection[str]) -> Links:
        """The links of `leaves` and of everything above them; leaves that are not there become faults."""
        by_position = self.by_position
        links: dict[str | int, list[int]] = {}
        for link, name in enumerate(self.names):
            links.setdefault(link if by_position else name, []).append(link)
        kept: set[int] = set()
        known = {self.label(name): name for name in self.names} | {name: name for name in self.names}
        missing = {leaf for leaf in leaves if leaf not in known}
        wanted = {known[leaf] for leaf in leaves if leaf in known}
        queue = [link for link, name in enumerate(self.names) if name in wanted]
        while queue:
            link = queue.pop()
            if link not in kept:
                kept.add(link)
                parent = self.parents[link]
                queue += links.get(parent, ()) if parent is not None else ()
        return replace(self.only(sorted(kept)), findings=[*self.findings, *_not_found(missing)])

    def with_first_parents(self) -> Links:
        """Of a node listed several times, the first link only."""
        first: dict[str, int] = {}
        for link, name in enumerate(self.names):
            first.setdefault(name, link)
        return self if self.by_position else self.only(list(first.values()))

    def only(self, kept: Sequence[int]) -> Links:
        """Some of the links."""
        place = {link: i for i, link in enumerate(kept)}
        where = self.where
        parents = [self.parents[i] for i in kept]
        return replace(
            self,
            names=[self.names[i] for i in kept],
            parents=[place.get(p) if isinstance(p, int) and p >= 0 else p for p in parents],
            where=lambda number: where(kept[number]),
        )


Form = Rows | Links


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


@dataclass(frozen=True)
class Given:
    """A tree as a file gives it, with how it was read.

    Attributes:
        source: The file, as shown in messages.
        format: Name of the reader, see `hierfit.taxonomy.readers.FORMATS`.
        why: What was recognised, and by what.
        against: What would contradict it.
        form: What it says.
    """

    source: str
    format: str
    why: str
    against: str
    form: Form

    def draft(self) -> tuple[Draft, Problems]:
        """Its nodes, with everything that keeps them from being a tree (cycles and level names aside)."""
        problems = Problems(self.source, self.form.where, HINT)
        problems += [finding for finding in self.form.findings if finding.severity == "problem"]
        return self.form.draft(problems), problems

    def plan(self) -> build.Plan:
        """Names and links in canonical order; raises `UserError` with everything that is wrong."""
        draft, problems = self.draft()
        plan = build.finish(draft, self.form.levels, problems)
        return plan._replace(names=tuple(map(str, plan.names)), levels=tuple(map(str, plan.levels)))


def _not_found(names: Collection[str]) -> list[Finding]:
    return [problem("missing-leaf", f"the leaf {name!r} is not in the file") for name in sorted(names)]
