"""Classes that training never saw, each put under a node of the tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.backbone import Backbone, node_texts
from hierfit.errors import UserError
from hierfit.methods.head import Head
from hierfit.methods.nodes import Nodes, no_other_classes
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
    if not head.grows:
        raise no_other_classes(method)
    names, parents = _placed(taxonomy, classes)
    links = [*taxonomy.parent.tolist(), *parents]
    # Numbers for names: read back from the finished tree, they say where each node went.
    numbered = Taxonomy.from_parents([str(i) for i in range(len(links))], links, taxonomy.levels)
    origin = [int(name) for name in numbered.names]
    every = [*taxonomy.names, *names]
    larger = Taxonomy(tuple(every[i] for i in origin), taxonomy.levels, numbered.parent)
    new = [origin.index(taxonomy.num_nodes + i) for i in range(len(names))]
    with torch.no_grad():
        text = text_of(head.nodes, larger, new, templates, backbone())
        nodes = head.nodes()
        text = head.read(text.to(nodes))
        nodes = torch.cat([nodes, head.nodes.of(text, torch.tensor(parents, device=nodes.device))])[origin]
    return larger, head.over(Nodes(nodes)).eval().requires_grad_(False)


def _placed(taxonomy: Taxonomy, classes: Sequence[str]) -> tuple[list[str], list[int]]:
    """Names and parents of ``name:parent``."""
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


def text_of(
    nodes: Nodes, taxonomy: Taxonomy, new: Sequence[int], templates: Mapping[str, Sequence[str]], backbone: Backbone
) -> Tensor:
    """Text features ``[m, d]`` of nodes of the larger tree: after the context that was learnt, or by the templates."""
    if nodes.context is not None:
        names = node_texts(taxonomy, {level: [nodes.name] for level in taxonomy.levels})
        return backbone.encode_context(nodes.context.to(backbone.device), [names[node][0] for node in new])
    prompts = node_texts(taxonomy, templates)
    features = [backbone.encode_text(prompts[node]).sum(dim=0) for node in new]
    return F.normalize(torch.stack(features), dim=-1)
