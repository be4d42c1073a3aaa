"""Prompts for every node of a tree: from templates, and from sentences that describe classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from string import Formatter
from typing import TYPE_CHECKING, NamedTuple

from hierfit.errors import UserError, close_words, folded, nearest
from hierfit.taxonomy.checks import listed

if TYPE_CHECKING:
    from hierfit.taxonomy import Taxonomy

DEFAULT_TEMPLATE = "a photo of a {name}."
"""Used for a level without templates of its own."""

Descriptions = Mapping[str, Mapping[str, Sequence[str]]]
"""Level name to class name to sentences that describe it (CuPL, Pratt et al., ICCV 2023). A class is named as in the
tree, in any case, with blanks or underscores; or by its path with "/", where several of the level have its name."""

_GENUS = "genus"
_NAMING = ("name", "path", "taxonomic", "scientific", "common")


class NodePrompts(NamedTuple):
    """What the nodes of a tree become.

    Attributes:
        texts: Prompts of each node ``[N]``.
        added: Ancestors added to each node's name, because another node would read the same without ``[N]``.
        alike: Nodes that read like another one all the same.
        missing: Nodes without a description, by described level.
    """

    texts: list[list[str]]
    added: list[int]
    alike: list[int]
    missing: dict[str, list[int]]


def node_texts(
    taxonomy: Taxonomy,
    templates: Mapping[str, Sequence[str]],
    descriptions: Descriptions | None = None,
    common: Mapping[str, str] | None = None,
) -> list[list[str]]:
    """N lists of prompts, in node order; see `node_prompts`."""
    return node_prompts(taxonomy, templates, descriptions, common).texts


def node_prompts(
    taxonomy: Taxonomy,
    templates: Mapping[str, Sequence[str]],
    descriptions: Descriptions | None = None,
    common: Mapping[str, str] | None = None,
) -> NodePrompts:
    """Writes the prompts of every node: from the templates of its level, then the sentences that describe it.

    Placeholders: this folder's README. Those by rank are as BioCLIP (Stevens et al., CVPR 2024) was trained.
    In them a name that begins with its parent's goes without it: below Apis, Apis mellifera is mellifera.

    Where two different nodes would get the same text, each gets its ancestry added to its `{name}`, as far as it takes:
    "crane, a kind of bird". A node that only repeats its parent's name is the same thing on a finer level, and keeps
    the same text.

    Args:
        taxonomy: The tree.
        templates: By level; one not named gets `DEFAULT_TEMPLATE`. An empty list is for levels all of whose nodes are
            described.
        descriptions: Sentences by level and class.
        common: Common names by class, named as in descriptions.

    Raises:
        UserError: Unknown levels, unknown or malformed placeholders, descriptions of classes that are not there while
            others go without; all of them at once.
    """
    problems = list[str]()
    sentences, missing = _described(taxonomy, descriptions or {}, problems)
    if problems := [*_template_problems(taxonomy, templates, missing), *problems]:
        placeholders = "{name}, {parent}, {path}, {taxonomic}, {scientific}, {common}, and levels at or above"
        hint = f"Levels are {', '.join(taxonomy.levels)}; placeholders are {placeholders}."
        raise UserError("prompts cannot be used", problems, hint)
    by_level = [list(templates.get(level, [DEFAULT_TEMPLATE])) for level in taxonomy.levels]
    names = [" ".join(name.replace("_", " ").split()) for name in taxonomy.names]
    parents, levels = taxonomy.parent.tolist(), taxonomy.level.tolist()
    ancestors, concept = _ancestry(names, parents)
    short = [  # a name without its parent's in front: mellifera of Apis mellifera
        name[len(names[above]) + 1 :]
        if above >= 0 and name.casefold().startswith(f"{names[above]} ".casefold())
        else name
        for name, above in zip(names, parents, strict=True)
    ]
    called = {folded(name): text for name, text in (common or {}).items()}
    genus = taxonomy.levels.index(_GENUS) if _GENUS in taxonomy.levels else len(taxonomy.levels)

    def written(node: int, depth: int) -> list[str]:
        lineage = [names[a] for a in ancestors[node]]
        ranked, above = list[str](), node
        while above >= 0:
            ranked.insert(0, short[above])
            above = parents[above]
        scientific = " ".join(dict.fromkeys(ranked[genus:])) or names[node]
        own = (called.get(folded(name)) for name in (taxonomy.full_name(node), names[node]) if called)
        fields = {
            **dict(zip(taxonomy.levels, ranked, strict=False)),
            "name": ", a kind of ".join([names[node], *lineage[:depth]]),
            "parent": lineage[0] if lineage else names[node],
            "path": ", ".join([*reversed(lineage), names[node]]),
            "taxonomic": " ".join(dict.fromkeys(ranked)),
            "scientific": scientific,
            "common": next(filter(None, own), scientific),
        }
        return [template.format(**fields) for template in by_level[levels[node]]]

    depths = [0] * len(names)
    texts = [written(node, 0) for node in range(len(names))]
    alike = _read_alike(texts, concept)
    while deeper := [v for v in alike if depths[v] < len(ancestors[v])]:
        for node in deeper:
            depths[node] += 1
            texts[node] = written(node, depths[node])
        alike = _read_alike(texts, concept)
    whole = [[*own, *more] for own, more in zip(texts, sentences, strict=True)]
    return NodePrompts(whole, depths, alike, missing)


def _ancestry(names: Sequence[str], parent: Sequence[int]) -> tuple[list[list[int]], list[int]]:
    """Ancestors of each node, near to far, without repeated names; and the topmost node of its own name."""
    ancestors: list[list[int]] = []
    concept: list[int] = []
    for node, above in enumerate(parent):  # parents come before their children
        if above >= 0 and names[above].casefold() == names[node].casefold():
            ancestors.append(ancestors[above])
            concept.append(concept[above])
        else:
            ancestors.append([] if above < 0 else [concept[above], *ancestors[above]])
            concept.append(node)
    return ancestors, concept


def _read_alike(texts: Sequence[Sequence[str]], concept: Sequence[int]) -> list[int]:
    """Nodes that share a text, in any case of letters, with a node that means something else."""
    sharing: dict[str, set[int]] = defaultdict(set)
    for node, group in enumerate(texts):
        for text in group:
            sharing[text.casefold()].add(concept[node])
    return [node for node, group in enumerate(texts) if any(len(sharing[t.casefold()]) > 1 for t in group)]


def _described(
    taxonomy: Taxonomy, descriptions: Descriptions, problems: list[str]
) -> tuple[list[list[str]], dict[str, list[int]]]:
    """Sentences of each node, and nodes without any, by described level. Names that fit no node are problems on levels
    where nodes go without: a file may describe more than a tree has."""
    sentences: list[list[str]] = [[] for _ in taxonomy.names]
    missing: dict[str, list[int]] = {}
    for level, classes in descriptions.items():
        if level not in taxonomy.levels:
            problems.append(f"{level}: described, but there is no such level")
            continue
        part = taxonomy.level_slices[taxonomy.levels.index(level)]
        nodes = range(part.start, part.stop)
        bearers: dict[str, list[int]] = defaultdict(list)
        for node in nodes:
            for name in {folded(taxonomy.names[node]), folded(taxonomy.full_name(node))}:
                bearers[name].append(node)
        for name, own in classes.items():
            for node in bearers.get(folded(name), ()):
                sentences[node] += own
        missing[level] = [node for node in nodes if not sentences[node]]
        lacking = {taxonomy.names[node]: taxonomy.full_name(node) for node in missing[level]}
        for name in classes if lacking else ():
            if folded(name) not in bearers:
                guess = "".join(f"; did you mean {lacking[close]!r}?" for close in close_words(name, lacking))
                problems.append(f"{level}: {name!r} is described, but no node of this level has the name{guess}")
    return sentences, missing


def _template_problems(
    taxonomy: Taxonomy, templates: Mapping[str, Sequence[str]], missing: Mapping[str, Sequence[int]]
) -> Iterator[str]:
    for level, group in templates.items():
        if level not in taxonomy.levels:
            yield f"{level}: no such level{nearest(level, taxonomy.levels)}"
        elif isinstance(group, Sequence) and not group and level in missing:
            if bare := [taxonomy.full_name(node) for node in missing[level]]:
                yield f"{level}: no templates, and no description of {listed(bare)}"
        elif isinstance(group, str) or not group:
            yield f"{level}: needs a list of at least one template, not {group!r}"
        else:
            above = taxonomy.levels[: taxonomy.levels.index(level) + 1]
            yield from (f"{level}: {template!r}: {fault}" for template in group for fault in _wrong(template, above))


def _wrong(template: str, levels: Sequence[str]) -> list[str]:
    """What is wrong with a template of the last of some levels."""
    try:
        fields = [(name, bool(spec or how)) for _, name, spec, how in Formatter().parse(template) if name is not None]
    except ValueError as error:
        return [f"{error}; write {{{{ or }}}} for a brace"]
    used = {name for name, _ in fields}
    known = {*_NAMING, "parent", *(level for level in levels if not {*level} & {*".["})}
    faults = [f"unknown placeholder {{{name}}}" for name in sorted(used - known)]
    faults += [f"{{{name}}} takes no format" for name, formatted in fields if formatted]
    if not used & {*_NAMING, levels[-1]}:
        faults.append(f"has none of {', '.join(f'{{{name}}}' for name in _NAMING)}, so all nodes would read alike")
    if len(levels) == 1 and "parent" in used:
        faults.append("the coarsest level has no {parent}")
    return faults
