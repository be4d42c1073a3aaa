"""CoOp: learned context vectors before each node's name."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import SGD, Optimizer

from hierfit.data.batch import Task
from hierfit.errors import UserError
from hierfit.methods.base import Method
from hierfit.methods.head import Head
from hierfit.methods.keys import Count, NotNegative, PartialShare, Positive
from hierfit.methods.nodes import ReadNodes
from hierfit.methods.tasks import trained_nodes


class CoOp(Method):
    """CoOp (Zhou et al., arXiv 2109.01134, IJCV 2022): learned context vectors before each node's name.

    Needs a backbone: images are encoded once, but the prompts of all nodes go through the text tower at every step.

    Args:
        objective: Losses and their weights or options (see ``hierfit.losses.objective``); cross-entropy at every
            level, ``{level_ce: 1}``, if None, and of the leaves where labels are coarse. Published is ``{leaf_ce: 1}``;
            a shared context is then learned from leaves, and inner nodes use it.
        context_length: Context vectors, drawn from a normal distribution of deviation 0.02.
        context_init: Words to start from instead, such as ``a photo of a``; they then set the length.
        class_specific: A context for each node that has training images, instead of one for all. The other nodes are
            scored by the text of the data card.
        name: What follows the context: ``{name}``, or ``{parent}`` and ``{path}`` as in a card's templates. Names
            that several nodes share get their ancestry added.
        text_chunk: Prompts that go through the text tower at once; more than this many are computed twice in
            training instead of being kept.
        lr: Peak learning rate of SGD; cosine to 0 over the run.
        momentum: Of SGD.
        weight_decay: L2 penalty.
    """

    checkpoint_names: ClassVar = {"classifier.nodes.context": "classifier.context"}

    def __init__(
        self,
        objective: dict[str, Any] | None = None,
        context_length: Count = 16,
        context_init: str | None = None,
        class_specific: bool = False,
        name: str = "{name}.",
        text_chunk: Count = 256,
        lr: Positive = 2e-3,
        momentum: PartialShare = 0.9,
        weight_decay: NotNegative = 5e-4,
    ) -> None:
        empty = context_init is not None and not context_init.strip()
        super().__init__(["context_init is empty; it takes words, or null"] if empty else [])

    def head(self, task: Task) -> Head:
        """Contexts and the names they stand before.

        Raises:
            UserError: There is no text tower, or the context leaves no room in it.
        """
        keys, backbone = self.keys, task.backbone
        if backbone is None:
            raise UserError(
                "CoOp needs a text tower, and a feature bundle has none",
                hint="Use TaskRes, or a data card with images and a backbone.",
            )
        if keys.context_init:
            start = backbone.embed_tokens(keys.context_init)
        else:
            start = 0.02 * torch.randn(keys.context_length, backbone.text_width)
        prompted = trained_nodes(task) if keys.class_specific else torch.arange(task.taxonomy.num_nodes)
        context = nn.Parameter(start.repeat(len(prompted) if keys.class_specific else 1, 1, 1))
        self.backbone = backbone
        return Head(ReadNodes(backbone, task, keys.text_chunk, context, prompted, keys.name), task.logit_scale)

    def over(self, task: Task) -> Head:
        """See `Method.over`; a context of its own is of no use to another class."""
        if self.keys.class_specific:
            raise UserError(
                "CoOp has no context for classes it was not trained on where each class has its own",
                hint="Set model.class_specific to false.",
            )
        return super().over(task)

    def make_optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        keys = self.keys
        return SGD(parameters, lr=keys.lr, momentum=keys.momentum, weight_decay=keys.weight_decay)
