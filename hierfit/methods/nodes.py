"""A feature for each node, and how classes that were not trained on get theirs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierfit.backbone import Backbone, node_texts
from hierfit.backbone.node_encoder import NodeEncoder
from hierfit.data.batch import Task
from hierfit.errors import UserError


class Nodes(nn.Module):
    """Features ``[N, d]`` of the nodes, here as they are given, and how classes that were not trained on get theirs.

    Args:
        text: ``[N, d]``; of unit length where scores are to be cosines.
        grows: Whether other classes can be scored, by their text.
        adapter: Of the text of other classes; None leaves it as it is.
        inherited: What a class takes from its kin ``[N, d]``; None for nothing.
        context: Learned vectors ``[1, n, w]`` before the names of other classes, in the place of prompt templates.
        name: What follows them.
    """

    text: Tensor
    inherited: Tensor | None
    context: Tensor | None

    def __init__(
        self,
        text: Tensor,
        *,
        grows: bool = True,
        adapter: nn.Module | None = None,
        inherited: Tensor | None = None,
        context: Tensor | None = None,
        name: str = "{name}.",
    ) -> None:
        super().__init__()
        self.grows, self.adapter, self.name = grows, adapter, name
        for key, tensor in (("text", text), ("inherited", inherited), ("context", context)):
            self.register_buffer(key, tensor, persistent=False)

    @property
    def inherits(self) -> bool:
        """Whether a class takes something from the nearest node above it; otherwise from its own place alone."""
        return self.inherited is not None

    @property
    def changes_text(self) -> bool:
        """Whether the text of other classes becomes something else than what the towers make of their prompts."""
        return self.adapter is not None or self.inherited is not None or self.context is not None

    def added(self) -> Tensor | None:
        """What is added to the features of each node and of its kin ``[N, d]``."""
        return self.inherited

    def of(self, text: Tensor, kin: Tensor) -> Tensor:
        """Features ``[m, d]`` of other classes, from their text ``[m, d]``.

        ``kin [m]`` is the node here at the same path, or else, if something is inherited, the nearest above; −1 for
        none.
        """
        nodes = text if self.adapter is None else self.adapter(text)
        if (added := self.added()) is None:
            return nodes
        return F.normalize(nodes + added[kin].masked_fill(kin[:, None] < 0, 0.0), dim=-1)

    def over(self, task: Task, kin: Tensor) -> Nodes:
        """The nodes of another task; `kin` as in `of`."""
        return Nodes(self.of(task.text.to(self.text.device), kin.to(self.text.device)))

    def forward(self) -> Tensor:
        """``[N, d]``."""
        return self.text


class AdaptedNodes(Nodes):
    """Text of all nodes through an adapter that is trained, L2-normalised."""

    def forward(self) -> Tensor:
        return self.text if self.adapter is None else self.adapter(self.text)


class OwnNodes(Nodes):
    """A vector for each trained node, in the place of its text or, as a residual, added to it; others keep their text.

    Args:
        text: ``[N, d]``.
        trained: Ids of the trained nodes ``[M]``.
        start: Their vectors at the start ``[M, d]``.
        alpha: Weight of residuals, the sum L2-normalised; None for vectors in the place of text, of any length.
    """

    trained: Tensor

    def __init__(self, text: Tensor, trained: Tensor, start: Tensor, alpha: float | None = None) -> None:
        super().__init__(text, grows=False)
        self.register_buffer("trained", trained, persistent=False)
        self.own, self.alpha = nn.Parameter(start), alpha

    def forward(self) -> Tensor:
        if self.alpha is None:
            return self.text.index_copy(0, self.trained, self.own)
        return F.normalize(self.text.index_add(0, self.trained, self.own, alpha=self.alpha), dim=-1)


class ReadNodes(Nodes):
    """Nodes whose prompts a text tower reads: anew at each step of training, else once until a weight changes.

    The towers are no part of it: the method holds them. Of several processes each reads its share of the prompts, and
    has the others' from them.

    Args:
        towers: Read.
        task: Whose nodes, by its prompts; or, after a context, by their names. Nodes without a context keep its text.
        chunk: Prompts that go through the tower at once.
        context: Vectors ``[1, n, w]``, shared, or ``[M, n, w]``, one context a node; None for none.
        prompted: Ids of the nodes that get a context ``[M]``.
        name: What follows a context, as a template.

    Raises:
        UserError: Nodes have no names, or the context leaves no room for them.
    """

    prompted: Tensor | None
    _kept: tuple[object, Tensor] | None = None

    def __init__(
        self,
        towers: Backbone,
        task: Task,
        chunk: int,
        context: nn.Parameter | None = None,
        prompted: Tensor | None = None,
        name: str = "{name}.",
    ) -> None:
        if task.prompts is None:
            raise UserError("classes are read by name, and an induced tree's nodes have none", hint="Set data.tree.")
        super().__init__(task.text, grows=context is None or len(context) == 1, name=name)
        self._towers, self.chunk = (towers,), chunk
        self.register_buffer("prompted", prompted, persistent=False)
        prompts, length, own = task.prompts, 0, False
        if context is not None and prompted is not None:
            self.context = context
            texts = node_texts(task.taxonomy, {level: [name] for level in task.taxonomy.levels})
            prompts = tuple((texts[node][0],) for node in prompted.tolist())
            length, own = context.shape[1], len(context) > 1
        self.encoder = NodeEncoder(towers, prompts, chunk, shared=True, n_context=length, own=own)

    def over(self, task: Task, kin: Tensor) -> Nodes:
        context = self.context
        if not isinstance(context, nn.Parameter):
            return ReadNodes(self._towers[0], task, self.chunk)
        with context.device:
            everyone = torch.arange(task.taxonomy.num_nodes)
            return ReadNodes(self._towers[0], task, self.chunk, context, everyone, self.name)

    def read(self) -> Tensor:
        """L2-normalised features ``[N, d]``."""
        features: Tensor = self.encoder(self._towers[0], self.context)
        return features if self.prompted is None else self.text.index_copy(0, self.prompted, features)

    def forward(self) -> Tensor:
        if torch.is_grad_enabled():
            return self.read()
        weights = (*self._towers[0].parameters(), *self.parameters())
        state = tuple((p.data_ptr(), p._version) for p in weights if p.requires_grad), self.training
        if self._kept is None or self._kept[0] != state:
            self._kept = state, self.read()
        return self._kept[1]


def no_other_classes(method: str) -> UserError:
    return UserError(
        f"{method} cannot score classes it was not trained on",
        hint="CLIPAdapter, CoOp, HierLoRA, LatHAdapter, ZeroShot can: they score a class by its text. Others take "
        "data.targets with the source's classes only.",
    )
