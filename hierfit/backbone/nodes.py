"""Prompts for every node of a tree, and their features."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from string import Formatter
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from hierfit.backbone.descriptions import Described, Descriptions, match_descriptions
from hierfit.backbone.node_encoder import NodeEncoder
from hierfit.errors import UserError

if TYPE_CHECKING:
    from hierfit.backbone.model import Backbone
    from hierfit.taxonomy import Taxonomy

DEFAULT_TEMPLATE = "a photo of a {name}."
"""Used for a level without templates of its own."""

_PLACEHOLDERS = ("name", "parent", "path")
_LISTED = 5


class NodePrompts(NamedTuple):
    """What the nodes of a tree become.

    Attributes:
        texts: Prompts of each node ``[N]``.
        added: Ancestors added to each node's name, because another node would read the same without ``[N]``.
        alike: Nodes that read like another one all the same.
        described: Where the descriptions went.
    """

    texts: list[list[str]]
    added: list[int]
    alike: list[int]
    described: Described


def node_texts(
    taxonomy: Taxonomy, templates: Mapping[str, Sequence[str]], descriptions: Descriptions | None = None
) -> list[list[str]]:
    """N lists of prompts, in node order; see `node_prompts`."""
    return node_prompts(taxonomy, templates, descriptions).texts


def node_prompts(
    taxonomy: Taxonomy, templates: Mapping[str, Sequence[str]], descriptions: Descriptions | None = None
) -> NodePrompts:
    """Writes the prompts of every node: from the templates of its level, then the sentences that describe it.

    `{name}` is the node, `{parent}` its nearest ancestor of another name, `{path}` all names from the root
    down, joined by commas. Underscores become spaces. Where two different nodes would get the same text, each
    gets its ancestry added to its name, as far as it takes: "crane, a kind of bird". A node that only repeats
    its parent's name is the same thing on a finer level, and keeps the same text.

    Args:
        taxonomy: The tree.
        templates: Templates by level name; a level not named gets `DEFAULT_TEMPLATE`. An empty list is for levels all
            of whose nodes are described.
        descriptions: Sentences by level and class.

    Raises:
        UserError: Unknown levels, unknown or malformed placeholders, descriptions of classes that are not there while
            others go without; all of them at once.
    """
    described = match_descriptions(taxonomy, descriptions or {})
    problems = _template_problems(taxonomy, templates, described)
    problems += [
        f"{level}: described, but there is no such level" for level in set(descriptions or {}) - {*taxonomy.levels}
    ]
    problems += described.problems(taxonomy)
    if problems:
        raise UserError(
            "prompts cannot be used",
            problems,
            f"Levels are {', '.join(taxonomy.levels)}; placeholders are {{name}}, {{parent}}, {{path}}.",
        )
    by_level = [list(templates.get(level, [DEFAULT_TEMPLATE])) for level in taxonomy.levels]
    names = [" ".join(name.replace("_", " ").split()) for name in taxonomy.names]
    ancestors, concept = _ancestry(names, taxonomy.parent.tolist())
    levels = taxonomy.level.tolist()

    def written(node: int, depth: int) -> list[str]:
        lineage = [names[a] for a in ancestors[node]]
        fields = {
            "name": ", a kind of ".join([names[node], *lineage[:depth]]),
            "parent": lineage[0] if lineage else names[node],
            "path": ", ".join([*reversed(lineage), names[node]]),
        }
        return [template.format(**fields) for template in by_level[levels[node]]]

    depths = [0] * len(names)
    texts = [written(node, 0) for node in range(len(names))]
    alike = _ambiguous(texts, concept)
    while deeper := [v for v in alike if depths[v] < len(ancestors[v])]:
        for node in deeper:
            depths[node] += 1
            texts[node] = written(node, depths[node])
        alike = _ambiguous(texts, concept)
    whole = [[*own, *more] for own, more in zip(texts, described.sentences, strict=True)]
    return NodePrompts(whole, depths, alike, described)


def encode_nodes(
    backbone: Backbone, taxonomy: Taxonomy, templates: Mapping[str, Sequence[str]], batch_size: int = 256
) -> Tensor:
    """One text feature for each node: the mean of its prompts' normalised features, normalised again.

    Args:
        backbone: The towers; no gradient reaches them.
        taxonomy: The tree.
        templates: As in `node_texts`.
        batch_size: Texts that go through the tower at once.

    Returns:
        L2-normalised features `[N, d]`, on the backbone's device.
    """
    return encode_texts(backbone, node_texts(taxonomy, templates), batch_size)


@torch.no_grad()
def encode_texts(backbone: Backbone, texts: Sequence[Sequence[str]], batch_size: int = 256) -> Tensor:
    """As `encode_nodes`, of texts that are written already: a group of at least one a node."""
    features: Tensor = NodeEncoder(backbone, texts, batch_size)(backbone)
    return features


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


def _ambiguous(texts: Sequence[Sequence[str]], concept: Sequence[int]) -> list[int]:
    """Nodes that share a text, in any case of letters, with a node that means something else."""
    sharing: dict[str, set[int]] = defaultdict(set)
    for node, group in enumerate(texts):
        for text in group:
            sharing[text.casefold()].add(concept[node])
    return [node for node, group in enumerate(texts) if any(len(sharing[t.casefold()]) > 1 for t in group)]


def _template_problems(taxonomy: Taxonomy, templates: Mapping[str, Sequence[str]], described: Described) -> list[str]:
    problems = []
    for level, group in templates.items():
        if level not in taxonomy.levels:
            close = get_close_matches(level, taxonomy.levels, n=1)
            problems.append(f"{level}: no such level" + (f"; did you mean {close[0]}?" if close else ""))
        elif isinstance(group, Sequence) and not group and level in described.missing:
            bare = [taxonomy.full_name(node) for node in described.missing[level]]
            if bare:
                shown = ", ".join(bare[:_LISTED]) + (f" and {len(bare) - _LISTED} more" if len(bare) > _LISTED else "")
                problems.append(f"{level}: no templates, and no description of {shown}")
        elif isinstance(group, str) or not group:
            problems.append(f"{level}: needs a list of at least one template, not {group!r}")
        else:
            for template in group:
                problems += [
                    f"{level}: {template!r}: {fault}" for fault in _faults(template, level == taxonomy.levels[0])
                ]
    return problems


def _faults(template: str, is_coarsest: bool) -> list[str]:
    try:
        fields = [
            (name, spec, conversion) for _, name, spec, conversion in Formatter().parse(template) if name is not None
        ]
    except ValueError as error:
        return [f"{error}; write {{{{ or }}}} for a brace"]
    used = {name for name, _, _ in fields}
    faults = [f"unknown placeholder {{{name}}}" for name in sorted(used - set(_PLACEHOLDERS))]
    faults += [f"{{{name}}} takes no format" for name, spec, conversion in fields if spec or conversion]
    if not used & {"name", "path"}:
        faults.append("has neither {name} nor {path}, so all nodes would read alike")
    if is_coarsest and "parent" in used:
        faults.append("the coarsest level has no {parent}")
    return faults
