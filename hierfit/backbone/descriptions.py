"""Sentences that describe a class, beside its templates (CuPL, Pratt et al., ICCV 2023)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hierfit.taxonomy import Taxonomy

Descriptions = Mapping[str, Mapping[str, Sequence[str]]]
"""Level name to class name to sentences. A class is named as in the tree, in any case, with blanks or underscores; or
by its path with "/", where several nodes of the level have its name."""


@dataclass(frozen=True)
class Described:
    """Which node each description is for.

    Attributes:
        sentences: Of each node ``[N]``, empty where it has none.
        missing: Nodes without a description, by described level.
        surplus: Descriptions whose name no node of the level has, by described level.
    """

    sentences: list[list[str]]
    missing: dict[str, list[int]]
    surplus: dict[str, list[str]]

    def problems(self, taxonomy: Taxonomy) -> list[str]:
        """Names that fit no node, on levels where nodes go without; a file may describe more than a tree has."""
        found = []
        for level, names in self.surplus.items():
            lacking = {_plain(taxonomy.names[node]): taxonomy.full_name(node) for node in self.missing[level]}
            for name in names if lacking else ():
                close = get_close_matches(_plain(name), lacking, n=1)
                guess = f"; did you mean {lacking[close[0]]!r}?" if close else ""
                found.append(f"{level}: {name!r} is described, but no node of this level has the name{guess}")
        return found


def match_descriptions(taxonomy: Taxonomy, descriptions: Descriptions) -> Described:
    """Find the node of each description.

    Args:
        taxonomy: The tree.
        descriptions: Of its levels; other levels are ignored.
    """
    described = Described([[] for _ in taxonomy.names], {}, {})
    for level, part in zip(taxonomy.levels, taxonomy.level_slices, strict=True):
        if level not in descriptions:
            continue
        nodes = range(part.start, part.stop)
        bearers: dict[str, list[int]] = defaultdict(list)
        for node in nodes:
            for name in {_plain(taxonomy.names[node]), _plain(taxonomy.full_name(node))}:
                bearers[name].append(node)
        described.surplus[level] = [name for name in descriptions[level] if _plain(name) not in bearers]
        for name, sentences in descriptions[level].items():
            for node in bearers.get(_plain(name), ()):
                described.sentences[node] += sentences
        described.missing[level] = [node for node in nodes if not described.sentences[node]]
    return described


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()
