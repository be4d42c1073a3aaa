"""CoOp as a LightningModule: keys, task, optimiser. The maths is in ``prompts.py``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from hierfit.backbone import Backbone, node_texts
from hierfit.data.batch import Task
from hierfit.errors import UserError
from hierfit.methods.baseline import Baseline, trained_nodes
from hierfit.methods.coop.prompts import PromptClassifier
from hierfit.methods.head import Growth, Head
from hierfit.methods.values import check_values


class CoOp(Baseline):
    """CoOp (Zhou et al., arXiv 2109.01134, IJCV 2022): learned context vectors before each node's name.

    Needs a backbone: images are encoded once, but the prompts of all nodes go through the text tower at every step.

    Args:
        objective: Losses and their weights or options (see ``hierfit.losses.objective``); cross-entropy at every
            level, ``{level_ce: 1}``, if None. Published is ``{leaf_ce: 1}``; a shared context is then learned from
            leaves, and inner nodes use it.
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

    Raises:
        UserError: Names every value out of range.
    """

    def __init__(
        self,
        objective: dict[str, Any] | None = None,
        context_length: int = 16,
        context_init: str | None = None,
        class_specific: bool = False,
        name: str = "{name}.",
        text_chunk: int = 256,
        lr: float = 2e-3,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        problems = [] if 0 <= momentum < 1 else [f"momentum is {momentum}; it must be in [0, 1)"]
        if context_init is not None and not context_init.strip():
            problems.append("context_init is empty; it takes words, or null")
        least = {"context_length": 1, "text_chunk": 1, "weight_decay": 0}
        check_values("CoOp", self.hparams, ("lr",), least, problems)

    def make_classifier(self, task: Task) -> PromptClassifier:
        """Contexts and the names they stand before.

        Raises:
            UserError: There is no text tower, or the context leaves no room in it.
        """
        hparams: Any = self.hparams
        tree, backbone = task.taxonomy, task.backbone
        if backbone is None:
            raise UserError(
                "CoOp needs a text tower, and a feature bundle has none",
                hint="Use TaskRes, or a data card with images and a backbone.",
            )
        if task.prompts is None:
            raise UserError(
                "CoOp writes prompts from names, and an induced tree's nodes have none", hint="Set data.tree."
            )
        names = [group[0] for group in node_texts(tree, {level: [hparams.name] for level in tree.levels})]
        prompted = trained_nodes(task) if hparams.class_specific else torch.arange(tree.num_nodes)
        # Prompts of like length share a chunk, which is padded to its longest.
        prompted = torch.tensor(sorted(prompted.tolist(), key=lambda node: len(names[node])))
        names = [names[node] for node in prompted.tolist()]
        context = self._start(backbone).repeat(len(names) if hparams.class_specific else 1, 1, 1)
        with torch.no_grad():
            backbone.encode_context(context[:1], names[-1:])  # refuses a context that does not fit
        return PromptClassifier(backbone, task.text, prompted, names, context, task.logit_scale, hparams.text_chunk)

    def _start(self, backbone: Backbone) -> Tensor:
        """The context at the start ``[n, w]``."""
        hparams: Any = self.hparams
        if hparams.context_init:
            return backbone.embed_tokens(hparams.context_init)
        return 0.02 * torch.randn(hparams.context_length, backbone.text_width)

    @torch.no_grad()
    def transfer(self, task: Task) -> PromptClassifier:
        """The shared context before the names of the other classes.

        Raises:
            UserError: Each class has a context of its own.
        """
        hparams: Any = self.hparams
        if hparams.class_specific:
            raise UserError(
                "CoOp has no context for classes it was not trained on where each class has its own",
                hint="Set model.class_specific to false.",
            )
        own = self.classifier
        assert isinstance(own, PromptClassifier)
        with own.context.device:
            found = self.make_classifier(task)
        found.context.copy_(own.context)
        return found

    def head(self) -> Head:
        """The nodes' prompts as they were read; a shared context stands before new names as well."""
        hparams: Any = self.hparams
        own = self.classifier
        assert isinstance(own, PromptClassifier)
        growth = None if hparams.class_specific else Growth(context=own.context, name=hparams.name)
        return Head(own.nodes(), own.scale, growth=growth)

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """SGD."""
        hparams: Any = self.hparams
        return SGD(parameters, lr=hparams.lr, momentum=hparams.momentum, weight_decay=hparams.weight_decay)
