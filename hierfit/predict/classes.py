"""Classes that change: a new one known by its name, more images of one, a class forgotten; and where every node went.

A new class gets a node by the text of its name (`grown`), or, where TreeGDA keeps sums over its images, in closed form
from images and without the old ones (`learnt`, `forgotten`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.backbone import node_texts
from hierfit.data.samples import names_of
from hierfit.data.trees import counterparts
from hierfit.errors import UserError, nearest
from hierfit.methods.head import Head
from hierfit.methods.nodes import Nodes, no_other_classes
from hierfit.taxonomy import Taxonomy

if TYPE_CHECKING:
    from hierfit.closed import Learner
    from hierfit.predict.predictor import Predictor

ClassPath = tuple[str, ...]


class Moved(NamedTuple):
    """A tree after a change."""

    taxonomy: Taxonomy  # the new one
    leaves: Tensor  # position there of each leaf that was here ``[C]``, −1 for one that is gone
    nodes: Tensor  # node here of each node there ``[N']``, −1 for a new one
    new: list[int]  # nodes there that were not here

    @classmethod
    def of(cls, tree: Taxonomy, rows: Sequence[ClassPath]) -> Moved:
        """From the tree that was here to one of these leaves."""
        changed = Taxonomy.from_paths(rows, tree.levels[: max(map(len, rows))])
        there, here = counterparts(tree, changed)[tree.leaves], counterparts(changed, tree)
        leaves = changed.leaf_index[there].masked_fill(there < 0, -1)
        return cls(changed, leaves, here, (here < 0).nonzero()[:, 0].tolist())


def place(tree: Taxonomy, label: str | Sequence[str]) -> ClassPath:
    """The whole path of a class: of a known one, or of a new one under a known node; ``/NAME`` is new under none.

    Raises `UserError` where it is a group, or what stands before its name is none.
    """

    def node_of(path: ClassPath) -> int:
        try:
            return int(tree.resolve([path if len(path) > 1 else path[0]])[0])
        except UserError:
            return -1

    parts = tuple(label.split("/")) if isinstance(label, str) else tuple(label)
    shown, known = "/".join(parts), parts[1:] if len(parts) == 2 and not parts[0] else parts
    if (node := node_of(known)) >= 0:
        if tree.num_children[node]:
            raise UserError(f"{shown!r} is a group: name one of its classes, or a new one, {shown}/NAME")
        return next(names_of(tree, torch.tensor([node])))
    if known != parts:
        return known
    *above, name = parts
    if not above:
        hint = "A new one is GROUP/NAME, under its group; /NAME where it has none."
        raise UserError(f"there is no class {shown!r}{nearest(shown, tree.names)}", hint=hint)
    if (parent := node_of(tuple(above))) < 0:
        raise UserError(f"{shown!r}: there is no group {'/'.join(above)!r}{nearest(above[-1], tree.names)}")
    if not tree.num_children[parent]:
        raise UserError(f"{shown!r}: {above[-1]!r} is a class, with nothing below it")
    return (*next(names_of(tree, torch.tensor([parent]))), name)


def grown(model: Predictor, classes: Sequence[str]) -> Predictor:
    """The model with new leaves, ``name:parent`` each; the nodes there were keep their features.

    Raises `UserError` where the method cannot, or with every class that has no place.
    """
    tree, head = model.taxonomy, model.head
    if not head.grows:
        raise no_other_classes(str(model.facts.get("method", "this method")))
    rows, problems = list(names_of(tree, tree.leaves)), list[str]()
    for entry in classes:
        name, colon, parent = (part.strip() for part in entry.rpartition(":"))
        if not colon or not name or not parent:
            problems.append(f"{entry!r} is not NAME:PARENT")
            continue
        try:
            path = place(tree, (*parent.split("/"), name))
        except UserError as error:
            problems.append(error.summary)
            continue
        if path in rows:
            is_new = rows.index(path) >= tree.num_leaves
            problems.append(f"{entry!r} is given twice" if is_new else f"{entry!r}: {parent!r} has a {name!r} already")
        else:
            rows.append(path)
    if problems:
        raise UserError("these classes have no place in the tree", problems, "Write NAME:PARENT, or NAME:A/B/PARENT.")
    moved = Moved.of(tree, rows)
    with torch.no_grad():
        nodes = head.nodes()
        text = head.read(_text_of(model, moved).to(nodes))
        parents = moved.nodes[moved.taxonomy.parent[moved.new]].to(nodes.device)
        fresh, new = head.nodes.of(text, parents), torch.tensor(moved.new).to(nodes.device)
        nodes = nodes[moved.nodes.clamp_min(0).to(nodes.device)].index_copy(0, new, fresh)
    return model.over(moved.taxonomy, head.over(Nodes(nodes)).eval().requires_grad_(False))


def _text_of(model: Predictor, moved: Moved) -> Tensor:
    """Text features ``[m, d]`` of new nodes: after the context that was learnt, or by the templates."""
    nodes, taxonomy, backbone = model.head.nodes, moved.taxonomy, model.backbone
    if nodes.context is not None:
        names = node_texts(taxonomy, {level: [nodes.name] for level in taxonomy.levels})
        return backbone.encode_context(nodes.context.to(backbone.device), [names[node][0] for node in moved.new])
    prompts = node_texts(taxonomy, model.templates)
    return F.normalize(torch.stack([backbone.encode_text(prompts[node]).sum(dim=0) for node in moved.new]), dim=-1)


def learnt(model: Predictor, features: Tensor, label: str | Sequence[str]) -> Predictor:
    """The model, fitted by TreeGDA, after unit features ``[n, d]`` of more images of one class, see `place`."""
    learner, tree = _learner_of(model), model.taxonomy
    path, rows = place(tree, label), list(names_of(tree, tree.leaves))
    moved = Moved.of(tree, rows if path in rows else [*rows, path])
    leaf = int(moved.taxonomy.leaf_index[moved.taxonomy.resolve([path])[0]])
    with torch.no_grad():
        adapted = model.head.adapted(features.to(model.head.nodes.text)).cpu()
    return _fitted(model, _on(model, learner, moved).with_images(adapted, leaf), moved.taxonomy)


def forgotten(model: Predictor, label: str | Sequence[str]) -> Predictor:
    """The model, fitted by TreeGDA, without a class; groups that it leaves empty go, too."""
    learner, tree = _learner_of(model), model.taxonomy
    path, rows = place(tree, label), list(names_of(tree, tree.leaves))
    if path not in rows:
        raise UserError(f"there is no class {'/'.join(path)!r} to forget{nearest(path[-1], [r[-1] for r in rows])}")
    learner = learner.without_class(rows.index(path))
    if not learner.statistics.seen.any():
        raise UserError(f"{'/'.join(path)!r} is the last class with images: nothing would be left")
    moved = Moved.of(tree, [row for row in rows if row != path])
    return _fitted(model, _on(model, learner, moved), moved.taxonomy)


def _learner_of(model: Predictor) -> Learner:
    if model.learner is None:
        raise UserError(
            f"this model ({model.facts.get('method', 'unknown')}) keeps no sums to learn on from",
            hint="Models that TreeGDA fitted do, with prior tree, common or flat: "
            "`hierfit fit --config RUN/config.yaml --model TreeGDA` fits one to the same data.",
        )
    return model.learner


def _on(model: Predictor, learner: Learner, moved: Moved) -> Learner:
    """What is known, on the new tree; the towers' text of new nodes beside what there was."""
    text = None
    if learner.text is not None:
        text = learner.text.features[moved.nodes.clamp_min(0)].clone()
        if moved.new:
            text[moved.new] = model.head.read(_text_of(model, moved).to(model.head.nodes.text)).to(text)
    return learner.on(moved.taxonomy, moved.leaves, text)


def _fitted(model: Predictor, learner: Learner, tree: Taxonomy) -> Predictor:
    weights, bias = learner.scores(tree)
    old = model.head
    head = Head(Nodes(weights.float(), grows=False), 1.0, old.image, bias.float(), whiten=old.whiten)
    return model.over(tree, head.eval(), learner)
