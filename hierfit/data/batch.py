"""What flows from the data to a method: batches, and the task they belong to; and what the runs of a process share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from hierfit.backbone import Backbone
    from hierfit.taxonomy import Taxonomy


class Batch(NamedTuple):
    """One step's samples.

    Attributes:
        inputs: L2-normalised image features ``[B, d]``, or preprocessed images ``[B, 3, S, S]``.
        paths: Node ids ``[B, L]`` coarse to fine; −1 where unknown or where a branch has ended.
        indices: Row of each sample in its split ``[B]``, so that results of several ranks can be put in order.
        shared: Paths of the whole batch ``[B', L]`` of which several processes have a share each; None for one.
    """

    inputs: Tensor
    paths: Tensor
    indices: Tensor
    shared: Tensor | None = None

    @property
    def all_paths(self) -> Tensor:
        """Paths of the whole batch ``[B', L]``, of all processes."""
        return self.paths if self.shared is None else self.shared

    def to(self, device: torch.device) -> Batch:
        """The batch on a device, as soon as it gets there."""
        return Batch(*(None if tensor is None else tensor.to(device, non_blocking=True) for tensor in self))  # type: ignore[arg-type]


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

    def own(self) -> Task:
        """With copies of its own of whatever a method may change: towers, which LoRA wraps, and tensors.

        So a run that shares its data with others finds what it would find alone.
        """
        changed: dict[str, Any] = {
            k: copy.deepcopy(v) for k, v in vars(self).items() if isinstance(v, Tensor | nn.Module)
        }
        return replace(self, **changed)


class Shared:
    """Remembers the last thing of each kind that was made; one a process, in the hands of whoever starts several runs
    there.

    Whoever gets a thing only reads it, or takes a copy; see `Task.own`.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[tuple[Hashable, ...], Any]] = {}

    def get(self, key: tuple[Hashable, ...], make: Callable[[], Any]) -> Any:
        """What was made under this key, whose first entry is the kind, or is now."""
        kind = key[0]
        if kind not in self._kept or self._kept[kind][0] != key:
            self._kept.pop(kind, None)  # before making the next, so that both need not fit
            self._kept[kind] = key, make()
        return self._kept[kind][1]
