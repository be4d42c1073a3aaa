"""A tree whose classes change: where a new one belongs, where every node went, and new classes known by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.backbone import Backbone, node_texts
from hierfit.config.schema import nearest
from hierfit.data.samples import names_of
from hierfit.data.trees import counterparts
from hierfit.errors import UserError
from hierfit.methods.head import Head
from hierfit.methods.nodes import Nodes, no_other_classes
from hierfit.taxonomy import Taxonomy

Path = tuple[str, ...]


@dataclass(frozen=True)
class Moved:
    """A tree after a change.

    Attributes:
        taxonomy: The new one.
        leaves: Position there of each leaf that was here ``[C]``, −1 for one that is gone.
        nodes: Node here of each node there ``[N']``, −1 for a new one.
    """

    taxonomy: Taxonomy
    leaves: Tensor
    nodes: Tensor

    @classmethod
    def of(cls, tree: Taxonomy, rows: Sequence[Path]) -> Moved:
        """From the tree that was here to one of these leaves."""
        levels = max(map(len, rows))
        changed = Taxonomy.from_paths(rows, tree.levels[:levels])
        there = counterparts(tree, changed)[tree.leaves]
        leaves = changed.leaf_index[there].masked_fill(there < 0, -1)
        return cls(changed, leaves, counterparts(changed, tree))

    @property
    def new(self) -> list[int]:
        """Nodes there that were not here."""
        return (self.nodes < 0).nonzero()[:, 0].tolist()


def place(tree: Taxonomy, label: str | Sequence[str]) -> Path:
    """The whole path of a class: of a known one, or of a new one under a known node; ``/NAME`` is new under none.

    Raises:
        UserError: It is a group, or what stands before its name is no group.
    """
    parts = tuple(label.split("/")) if isinstance(label, str) else tuple(label)
    shown, known = "/".join(parts), parts[1:] if len(parts) == 2 and not parts[0] else parts
    try:
        node = int(tree.resolve([known if len(known) > 1 else known[0]])[0])
    except UserError:
        node = -1
    if node >= 0:
        if tree.num_children[node]:
            raise UserError(f"{shown!r} is a group: name one of its classes, or a new one, {shown}/NAME")
        return next(names_of(tree, torch.tensor([node])))
    if known != parts:
        return known
    if len(parts) == 1:
        hint = "A new one is GROUP/NAME, under its group; /NAME where it has none."
        raise UserError(f"there is no class {shown!r}{nearest(shown, tree.names)}", hint=hint)
    try:
        parent = int(tree.resolve([parts[:-1] if len(parts) > 2 else parts[0]])[0])
    except UserError as error:
        raise UserError(
            f"{shown!r}: there is no group {'/'.join(parts[:-1])!r}{nearest(parts[-2], tree.names)}"
        ) from error
    if not tree.num_children[parent]:
        raise UserError(f"{shown!r}: {parts[-2]!r} is a class, with nothing below it")
    return (*next(names_of(tree, torch.tensor([parent]))), parts[-1])


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
    rows, problems = list(names_of(taxonomy, taxonomy.leaves)), list[str]()
    known = len(rows)
    for entry in classes:
        name, colon, parent = (part.strip() for part in entry.rpartition(":"))
        if not colon or not name or not parent:
            problems.append(f"{entry!r} is not NAME:PARENT")
            continue
        try:
            path = place(taxonomy, (*parent.split("/"), name))
        except UserError as error:
            problems.append(error.summary)
            continue
        if path in rows:
            is_new = path in rows[known:]
            problems.append(f"{entry!r} is given twice" if is_new else f"{entry!r}: {parent!r} has a {name!r} already")
        else:
            rows.append(path)
    if problems:
        raise UserError("these classes have no place in the tree", problems, "Write NAME:PARENT, or NAME:A/B/PARENT.")
    moved = Moved.of(taxonomy, rows)
    larger, new = moved.taxonomy, moved.new
    with torch.no_grad():
        nodes = head.nodes()
        text = head.read(text_of(head.nodes, larger, new, templates, backbone()).to(nodes))
        parents = moved.nodes[larger.parent[new]].to(nodes.device)
        fresh = head.nodes.of(text, parents)
        nodes = nodes[moved.nodes.clamp_min(0).to(nodes.device)].index_copy(
            0, torch.tensor(new).to(nodes.device), fresh
        )
    return larger, head.over(Nodes(nodes)).eval().requires_grad_(False)


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
