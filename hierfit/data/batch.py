"""What flows from the data to a method: batches, and the task they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

if TYPE_CHECKING:
    from hierfit.backbone import Backbone
    from hierfit.taxonomy import Taxonomy


class Batch(NamedTuple):
    """One step's samples.

    Attributes:
        inputs: L2-normalised image features ``[B, d]``, or preprocessed images ``[B, 3, S, S]``.
        paths: Node ids ``[B, L]`` coarse to fine; −1 where unknown or where a branch has ended.
        indices: Row of each sample in its split ``[B]``, so that results of several ranks can be put in order.
    """

    inputs: Tensor
    paths: Tensor
    indices: Tensor


class EncodedSplit(NamedTuple):
    """L2-normalised features ``[n, d]`` and label paths ``[n, L]``."""

    features: Tensor
    paths: Tensor


@dataclass(frozen=True)
class Task:
    """Everything a method may know of the data before training.

    Attributes:
        taxonomy: The tree of classes.
        text: One L2-normalised text feature for each node ``[N, d]``.
        text_source: Where ``text`` came from: ``prompts``, ``bundle`` or ``class means``.
        prompts: The texts behind ``text``, a group a node; ``None`` where it did not come from prompts.
        seen: Nodes that may be candidates while training ``[N]`` bool: all, but for a protocol that holds classes
            back (base-to-novel).
        logit_scale: Multiplier of cosine similarities the backbone was trained with (CLIP: about 100).
        backbone: The towers; ``None`` for a feature bundle.
        train_features: Image features of the training draw ``[n, d]``; ``None`` when images stay pixels.
        train_paths: Node ids of the training draw ``[n, L]``.
        shuffle: Seed by which nodes change places before anything is shared along the tree, see
            `hierfit.taxonomy.shuffle.shuffled_places`; None: it is shared along the tree as it is.
    """

    taxonomy: Taxonomy
    text: Tensor
    text_source: str
    prompts: tuple[tuple[str, ...], ...] | None
    seen: Tensor
    logit_scale: float
    backbone: Backbone | None
    train_features: Tensor | None
    train_paths: Tensor
    shuffle: int | None = None
