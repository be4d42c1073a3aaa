"""Learning goes on: more images, new classes, and classes forgotten, in closed form and without the old images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hierfit.config.schema import nearest
from hierfit.data.samples import names_of
from hierfit.errors import UserError
from hierfit.methods.head import Head
from hierfit.methods.nodes import Nodes
from hierfit.predict.growth import Moved, place, text_of

if TYPE_CHECKING:
    from hierfit.closed import Learner
    from hierfit.predict.predictor import Predictor


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
    rows = list(names_of(tree, tree.leaves))
    moved = Moved.of(tree, rows if path in rows else [*rows, path])
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
    rows = list(names_of(tree, tree.leaves))
    if path not in rows:
        raise UserError(f"there is no class {'/'.join(path)!r} to forget{nearest(path[-1], [r[-1] for r in rows])}")
    leaf = rows.index(path)
    learner = learner.without_class(leaf)
    if not learner.statistics.seen.any():
        raise UserError(f"{'/'.join(path)!r} is the last class with images: nothing would be left")
    moved = Moved.of(tree, [row for row in rows if row != path])
    return _with(model, learner.on(moved.taxonomy, moved.leaves, _text(model, learner, moved)), moved)


def _learner(model: Predictor) -> Learner:
    if model.learner is None:
        raise UserError(
            f"this model ({model.facts.get('method', 'unknown')}) keeps no sums to learn on from",
            hint="Models that TreeGDA fitted do, with prior tree, common or flat: "
            "`hierfit fit --config RUN/config.yaml --model TreeGDA` fits one to the same data.",
        )
    return model.learner


def _text(model: Predictor, learner: Learner, moved: Moved) -> Tensor | None:
    """Text of the new tree's nodes: what there was, and the towers' of new ones."""
    if learner.text is None:
        return None
    text = learner.text.features[moved.nodes.clamp_min(0)].clone()
    if new := moved.new:
        fresh = text_of(model.head.nodes, moved.taxonomy, new, model.templates, model.backbone)
        text[new] = model.head.read(fresh.to(model.head.nodes.text)).to(text)
    return text


def _with(model: Predictor, learner: Learner, moved: Moved) -> Predictor:
    weights, bias = learner.scores(moved.taxonomy)
    old = model.head
    head = Head(Nodes(weights.float(), grows=False), 1.0, old.image, bias.float(), whiten=old.whiten)
    return model.over(moved.taxonomy, head.eval(), learner)
