"""What a file says of a tree, before anyone asks whether it is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hierfit.taxonomy import build, checks
from hierfit.taxonomy.checks import Problems, Where

HINT = "`hierfit taxonomy check FILE` reports everything about a tree, and mends some faults."


@dataclass(frozen=True)
class Rows:
    """A path of names for each leaf; nodes are told apart by their whole path.

    Attributes:
        rows: Names from root to leaf.
        where: Place of a row in the file.
        levels: Level names, coarse to fine; None where the file has none.
        faults: What could not be understood, with its place.
    """

    rows: Sequence[Sequence[str]]
    where: Where
    levels: Sequence[str] | None = None
    faults: Sequence[str] = ()

    def plan(self, source: str) -> build.Plan:
        """Names and links in canonical order; raises `UserError` with everything that is wrong."""
        problems = Problems(source, self.where, HINT)
        problems += self.faults
        return build.from_rows(self.rows, self.levels, problems)

    def above(self, leaves: Collection[str]) -> Rows:
        """The rows that end in one of `leaves`; those that no row ends in become faults."""
        kept = [i for i, row in enumerate(self.rows) if row and row[-1] in leaves]
        missing = set(leaves).difference(self.rows[i][-1] for i in kept)
        where = self.where
        return replace(
            self,
            rows=[self.rows[i] for i in kept],
            where=lambda number: where(kept[number]),
            faults=[*self.faults, *_not_found(missing)],
        )

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
        faults: What could not be understood, with its place.
        remarks: What the reader has added of its own.
    """

    names: Sequence[str]
    parents: Sequence[str | int | None]
    where: Where
    labels: Mapping[str, str] = field(default_factory=dict)
    levels: Sequence[str] | None = None
    faults: Sequence[str] = ()
    remarks: Sequence[str] = ()

    @property
    def by_position(self) -> bool:
        """Whether parents are positions."""
        return not any(isinstance(parent, str) for parent in self.parents)

    def plan(self, source: str) -> build.Plan:
        """Names and links in canonical order; raises `UserError` with everything that is wrong."""
        problems = Problems(source, self.where, HINT)
        problems += self.faults
        if not self.labels:
            return build.from_links(self.names, self.parents, self.levels, problems)
        for node, name in enumerate(self.names):
            if name in self.labels and (problem := checks.name_problem(self.labels[name])):
                problems.at(node, problem)
        plan = build.from_links(self.names, self.parents, self.levels, problems)
        return plan._replace(names=tuple(self.told_apart(plan.names, plan.parent.tolist())))

    def told_apart(self, names: Sequence[str], parents: Sequence[int]) -> list[str]:
        """The labels of nodes; siblings of one label (WordNet knows two kinds of "food") get their id behind it.

        Args:
            names: [N] the nodes.
            parents: [N] positions of their parents.
        """
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
        return replace(self._only(sorted(kept)), faults=[*self.faults, *_not_found(missing)])

    def with_first_parents(self) -> Links:
        """Of a node listed several times, the first link only."""
        first: dict[str, int] = {}
        for link, name in enumerate(self.names):
            first.setdefault(name, link)
        return self if self.by_position else self._only(list(first.values()))

    def _only(self, kept: Sequence[int]) -> Links:
        place = {link: i for i, link in enumerate(kept)}
        where = self.where
        parents = [self.parents[i] for i in kept]
        return replace(
            self,
            names=[self.names[i] for i in kept],
            parents=[place[p] if isinstance(p, int) and p >= 0 else p for p in parents],
            where=lambda number: where(kept[number]),
        )


Form = Rows | Links


@dataclass(frozen=True)
class Given:
    """A tree as a file gives it, with how it was read.

    Attributes:
        source: The file, as shown in messages.
        format: Name of the reader, see `hierfit.taxonomy.readers.FORMATS`.
        why: One line: what was recognised, and by what.
        form: What it says.
    """

    source: str
    format: str
    why: str
    form: Form

    def plan(self) -> build.Plan:
        """Names and links in canonical order; raises `UserError` with everything that is wrong."""
        plan = self.form.plan(self.source)
        return plan._replace(names=tuple(map(str, plan.names)), levels=tuple(map(str, plan.levels)))


def _not_found(names: Collection[str]) -> list[str]:
    return [f"the leaf {name!r} is not in the file" for name in sorted(names)]
