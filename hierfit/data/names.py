"""Names for people where the data have names for machines: ``BlueJay`` is a blue jay."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from hierfit.data.samples import SampleLabel
from hierfit.errors import UserError, nearest
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.checks import name_problem

_HUMP = re.compile(r"(?<=[a-z])(?<!\bMc)(?<!\bMac)(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_HYPHEN = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")
_LEADING_NUMBER = re.compile(r"^\d+[._\s-]+(?=\D)")


def renamed(taxonomy: Taxonomy, names: Mapping[str, str]) -> Taxonomy:
    """The same tree with new names by old ones, on any level, or by paths with "/", which go first; node ids stay.

    Raises:
        UserError: Lists old names that no node has, and new ones that cannot be names or that siblings would share.
    """
    known = {*taxonomy.names}
    paths = list(taxonomy.names)
    if any("/" in old for old in names):
        paths = [taxonomy.full_name(node) for node in range(taxonomy.num_nodes)]
        known |= set(paths)
    problems = [f"names: no node is called {old!r}{nearest(old, known)}" for old in names if old not in known]
    problems += [f"names: {old!r}: {problem}" for old, new in names.items() if (problem := name_problem(new))]
    called = tuple(names.get(path, names.get(name, name)) for path, name in zip(paths, taxonomy.names, strict=True))
    first: dict[tuple[int, str], int] = {}
    for node, key in enumerate(zip(taxonomy.parent.tolist(), called, strict=True)):
        other = first.setdefault(key, node)
        if other != node:
            a, b = taxonomy.full_name(other), taxonomy.full_name(node)
            problems.append(f"names: {a!r} and {b!r} would both be called {key[1]!r}")
    if problems:
        raise UserError("the names cannot be used", problems)
    return Taxonomy(called, taxonomy.levels, taxonomy.parent)


def clean_name(name: str) -> str:
    """A name without what nobody sees: one Unicode spelling (NFC), single blanks, none around it, nothing invisible."""
    text = unicodedata.normalize("NFC", name)
    return " ".join("".join(c for c in text if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf")).split())


def respelled(
    label: Sequence[str], names: Mapping[str, str], known: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """A label as the tree spells it.

    Args:
        names: What the tree calls a class that the data call otherwise; an empty text for what is not known. Names that
            are not known at the end of a label are left away.
        known: The tree's names by their clean form; see `clean_name`.
    """
    found = []
    for name in label:
        clean = clean_name(name)
        found.append(names.get(name, names.get(clean, (known or {}).get(clean, clean))))
    while found and not found[-1]:
        found.pop()
    return tuple(new or old for new, old in zip(found, label, strict=False))


def readable(name: str) -> str:
    """A folder's name as people write it: ``003.BlueJay``, ``blue_jay`` and ``Blue-Jay`` become words.

    A name with blanks was written by people: only its underscores and a number before it go. A hyphen stays beside
    underscores (``black-footed_albatross``) and at a digit (``737-200``). Capitals stay.
    """
    bare = _LEADING_NUMBER.sub("", name)
    if " " not in bare:
        bare = _HUMP.sub(" ", bare if "_" in bare else _HYPHEN.sub(" ", bare))
    return " ".join(bare.replace("_", " ").split()) or name


def speller(taxonomy: Taxonomy, names: Mapping[str, str]) -> Callable[[SampleLabel], SampleLabel]:
    """Gives a label as the tree spells it.

    A text that is no leaf's name is first looked up in ``names``. Else it is a leaf's name in another spelling, where
    it holds the same words as one leaf does: case, punctuation, order and a number before it do not count, since a data
    set's own files and its users write ``british_shorthair``, ``2012 Tesla Model S Sedan`` and ``070.Green_Violetear``
    as they please. Other labels stay as they are.
    """
    leaves = {taxonomy.names[leaf] for leaf in taxonomy.leaves.tolist()}
    by_words: dict[str, str | None] = {}
    for leaf in sorted(leaves):
        by_words[words(leaf)] = None if words(leaf) in by_words else leaf

    @cache
    def spelled(label: SampleLabel) -> SampleLabel:
        if not isinstance(label, str) or label in leaves:
            return label
        forms = (words(label), words(_LEADING_NUMBER.sub("", label)))
        return names.get(label) or next(filter(None, map(by_words.get, forms)), label)

    return spelled


def words(name: str) -> str:
    """The words of a name, in lower case and alphabetical order: ``Tesla_Model-S`` is ``model s tesla``."""
    return " ".join(sorted(re.findall(r"[^\W_]+", name.casefold())))
