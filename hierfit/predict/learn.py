"""Learning goes on: more images, new classes, and classes forgotten, in closed form and without the old images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hierfit.config.schema import nearest
from hierfit.data.trees import counterparts
from hierfit.errors import UserError
from hierfit.methods.head import Head
from hierfit.methods.nodes import Nodes
from hierfit.taxonomy import Taxonomy

if TYPE_CHECKING:
    from hierfit.closed import Learner
    from hierfit.predict.predictor import Predictor

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


def learn(model: Predictor, features: Tensor, label: str | Sequence[str]) -> Predictor:
    """The model after more images of one class, known or new.

    Args:
        model: Fitted by TreeGDA.
        features: L2-normalised, of the images ``[n, d]``.
        label: The class by name or path (``Larus/Ivory gull``); a new one under a node that is known.

    Raises:
        UserError: The model is another, or the class has no place.
    """
    learner, tree = _learner(model), model.taxonomy
    path = place(tree, label)
    rows = _rows(tree)
    moved = _moved(tree, rows if path in rows else [*rows, path])
    leaf = int(moved.taxonomy.leaf_index[moved.taxonomy.resolve([path])[0]])
    with torch.no_grad():
        adapted = model.head.adapted(features.to(model.head.nodes.text))
    learner = learner.on(moved.taxonomy, moved.leaves, _text(model, learner, moved)).with_images(adapted.cpu(), leaf)
    return _with(model, learner, moved)


def forget(model: Predictor, label: str | Sequence[str]) -> Predictor:
    """The model without a class; groups that it leaves empty go, too.

    Raises:
        UserError: The model is another, there is no such class, or it is the last one with images.
    """
    learner, tree = _learner(model), model.taxonomy
    path = place(tree, label)
    rows = _rows(tree)
    if path not in rows:
        raise UserError(f"there is no class {'/'.join(path)!r} to forget{nearest(path[-1], [r[-1] for r in rows])}")
    leaf = rows.index(path)
    learner = learner.without_class(leaf)
    if not learner.statistics.seen.any():
        raise UserError(f"{'/'.join(path)!r} is the last class with images: nothing would be left")
    moved = _moved(tree, [row for row in rows if row != path])
    return _with(model, learner.on(moved.taxonomy, moved.leaves, _text(model, learner, moved)), moved)


def place(tree: Taxonomy, label: str | Sequence[str]) -> Path:
    """The whole path of a class: of a known one, or of a new one under a known node.

    Raises:
        UserError: It is a group, or what stands before its name is no group.
    """
    parts = tuple(label.split("/")) if isinstance(label, str) else tuple(label)
    shown = "/".join(parts)
    try:
        node = int(tree.resolve([parts if len(parts) > 1 else parts[0]])[0])
    except UserError:
        node = -1
    if node >= 0:
        if tree.num_children[node]:
            raise UserError(f"{shown!r} is a group: name one of its classes, or a new one, {shown}/NAME")
        return _paths(tree)[node]
    if len(parts) == 1:
        raise UserError(
            f"there is no class {shown!r}{nearest(shown, tree.names)}", hint="A new one is GROUP/NAME, under its group."
        )
    try:
        parent = int(tree.resolve([parts[:-1] if len(parts) > 2 else parts[0]])[0])
    except UserError as error:
        raise UserError(
            f"{shown!r}: there is no group {'/'.join(parts[:-1])!r}{nearest(parts[-2], tree.names)}"
        ) from error
    if not tree.num_children[parent]:
        raise UserError(f"{shown!r}: {parts[-2]!r} is a class, with nothing below it")
    return (*_paths(tree)[parent], parts[-1])


def _learner(model: Predictor) -> Learner:
    if model.learner is None:
        raise UserError(
            f"this model ({model.facts.get('method', 'unknown')}) keeps no sums to learn on from",
            hint="Models that TreeGDA fitted do, with prior tree, common or flat: "
            "`hierfit fit --config RUN/config.yaml --model TreeGDA` fits one to the same data.",
        )
    return model.learner


def _paths(tree: Taxonomy) -> list[Path]:
    """Names from the root down, of every node."""
    rows = tree.paths(torch.arange(tree.num_nodes)).tolist()
    return [tuple(tree.names[above] for above in row if above >= 0) for row in rows]


def _rows(tree: Taxonomy) -> list[Path]:
    """The same of every leaf."""
    paths = _paths(tree)
    return [paths[leaf] for leaf in tree.leaves.tolist()]


def _moved(tree: Taxonomy, rows: Sequence[Path]) -> Moved:
    changed = Taxonomy.from_paths(rows, tree.levels)
    there = counterparts(tree, changed)[tree.leaves]
    leaves = changed.leaf_index[there].masked_fill(there < 0, -1)
    return Moved(changed, leaves, counterparts(changed, tree))


def _text(model: Predictor, learner: Learner, moved: Moved) -> Tensor | None:
    """Text of the new tree's nodes: what there was, and the towers' of new ones."""
    if learner.text is None:
        return None
    text = learner.text.features[moved.nodes.clamp_min(0)].clone()
    new = (moved.nodes < 0).nonzero()[:, 0].tolist()
    if new:
        from hierfit.predict.growth import text_of

        fresh = text_of(model.head.nodes, moved.taxonomy, new, model.templates, model.backbone)
        text[new] = model.head.read(fresh.to(model.head.nodes.text)).to(text)
    return text


def _with(model: Predictor, learner: Learner, moved: Moved) -> Predictor:
    weights, bias = learner.scores(moved.taxonomy)
    old = model.head
    head = Head(Nodes(weights.float(), grows=False), 1.0, old.image, bias.float(), whiten=old.whiten)
    # Thresholds of other classes promise nothing any more.
    calibration = replace(model.calibration, conformal=None)
    changed = replace(
        model, taxonomy=moved.taxonomy, head=head.eval().to(model.device), calibration=calibration, learner=learner
    )
    if "backbone" in model.__dict__:
        changed.__dict__["backbone"] = model.backbone
    return changed
