"""Classes that training never saw, each put under a node of the tree and scored by its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.backbone import Backbone, node_texts
from hierfit.errors import UserError
from hierfit.methods.head import Growth, Head
from hierfit.taxonomy import Taxonomy


def grown(
    taxonomy: Taxonomy,
    head: Head,
    classes: Sequence[str],
    templates: Mapping[str, Sequence[str]],
    backbone: Callable[[], Backbone],
    method: str,
) -> tuple[Taxonomy, Head]:
    """The tree with new leaves, and the head with nodes for them; the nodes there were keep their features.

    Args:
        taxonomy: The tree.
        head: Over its nodes.
        classes: ``name:parent`` each.
        templates: Prompt templates by level.
        backbone: Gives the text tower.
        method: Name of what was trained, for errors.

    Raises:
        UserError: The method cannot, or names every class that has no place.
    """
    if head.growth is None:
        raise UserError(
            f"{method} cannot score classes it was not trained on: it learnt a weight for each class",
            hint="ZeroShot, CLIPAdapter, CoOp, LatHAdapter and HierLoRA can: they score a class by its text.",
        )
    names, parents = _placed(taxonomy, classes)
    larger, origin = _with_leaves(taxonomy, names, parents)
    new = [int(place) for place in (origin >= taxonomy.num_nodes).nonzero()[:, 0]]
    order = sorted(new, key=lambda node: int(origin[node]))
    text = _text(head.growth, larger, order, templates, backbone())
    with torch.no_grad():
        features = head.growth(text, torch.tensor(parents))
    return larger, head.with_nodes(features, origin)


def _placed(taxonomy: Taxonomy, classes: Sequence[str]) -> tuple[list[str], list[int]]:
    names: list[str] = []
    parents: list[int] = []
    problems: list[str] = []
    for entry in classes:
        name, colon, parent = (part.strip() for part in entry.rpartition(":"))
        if not colon or not name or not parent:
            problems.append(f"{entry!r} is not NAME:PARENT")
            continue
        try:
            node = taxonomy.find(parent)
        except UserError as error:
            problems += [f"{entry!r}: {problem}" for problem in error.problems or (error.summary,)]
            continue
        if taxonomy.num_children[node] == 0:
            problems.append(f"{entry!r}: {parent!r} is a class, with nothing below it")
        elif name in {taxonomy.names[child] for child in taxonomy.children(node).tolist()}:
            problems.append(f"{entry!r}: {parent!r} has a {name!r} already")
        elif (name, node) in zip(names, parents, strict=True):
            problems.append(f"{entry!r} is given twice")
        else:
            names.append(name)
            parents.append(node)
    if problems:
        raise UserError("these classes have no place in the tree", problems, "Write NAME:PARENT, or NAME:A/B/PARENT.")
    return names, parents


def _with_leaves(taxonomy: Taxonomy, names: Sequence[str], parents: Sequence[int]) -> tuple[Taxonomy, Tensor]:
    """The larger tree, and for each of its nodes the old one, or N + i for the i-th new one."""
    links = [*taxonomy.parent.tolist(), *parents]
    # Numbers for names: read back from the finished tree, they say where each node went.
    numbered = Taxonomy.from_parents([str(i) for i in range(len(links))], links, taxonomy.levels)
    origin = [int(name) for name in numbered.names]
    every = [*taxonomy.names, *names]
    return Taxonomy(tuple(every[i] for i in origin), taxonomy.levels, numbered.parent), torch.tensor(origin)


@torch.no_grad()
def _text(
    growth: Growth, taxonomy: Taxonomy, nodes: Sequence[int], templates: Mapping[str, Sequence[str]], backbone: Backbone
) -> Tensor:
    """Text features ``[m, d]`` of nodes of the larger tree."""
    if growth.context is not None:
        written = node_texts(taxonomy, {level: [growth.name] for level in taxonomy.levels})
        return backbone.encode_context(growth.context, [written[node][0] for node in nodes]).cpu()
    prompts = node_texts(taxonomy, templates)
    features = [backbone.encode_text(prompts[node]).sum(dim=0) for node in nodes]
    return F.normalize(torch.stack(features), dim=-1).cpu()
