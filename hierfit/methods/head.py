"""`Head`: from image features to one score a node, without the method that learnt it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierfit.methods.adapters import Blend, ResidualAdapter
from hierfit.methods.cosine import scaled_cosine
from hierfit.methods.tip_adapter.cache import evidence
from hierfit.tensors import at_least_float32

_ADAPTERS: dict[str, type[Blend] | type[ResidualAdapter]] = {"blend": Blend, "residual": ResidualAdapter}


class Cache(nn.Module):
    """Evidence of kept images, weighted (Tip-Adapter).

    Args:
        keys: Their features ``[n, d]``.
        values: Node of each on each level ``[L, n]``; N where there is none.
        classes_below: What a node's sum is divided by ``[N]``.
        alpha: Weight beside the cosines.
        beta: Sharpness.
    """

    keys: Tensor
    values: Tensor
    classes_below: Tensor

    def __init__(self, keys: Tensor, values: Tensor, classes_below: Tensor, alpha: float, beta: float) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, beta
        for name, tensor in (("keys", keys), ("values", values), ("classes_below", classes_below)):
            self.register_buffer(name, tensor.detach())

    def forward(self, features: Tensor) -> Tensor:
        """What is added to the logits ``[B, N]`` of features ``[B, d]``."""
        return self.alpha * evidence(features, self.keys, self.values, self.classes_below, self.beta)


class Growth(nn.Module):
    """How the text of a class that training never saw becomes a node.

    Args:
        adapter: Of text features; None leaves them as they are.
        inherited: What a child of each node adds to its feature ``[N, d]``; None for nothing.
        context: Learned vectors ``[1, n, w]`` before the class's name, in the place of templates.
        name: What follows them.
    """

    inherited: Tensor | None
    context: Tensor | None

    def __init__(
        self,
        adapter: nn.Module | None = None,
        inherited: Tensor | None = None,
        context: Tensor | None = None,
        name: str = "{name}.",
    ) -> None:
        super().__init__()
        self.adapter = None if isinstance(adapter, nn.Identity) else adapter
        self.name = name
        self.register_buffer("inherited", None if inherited is None else inherited.detach())
        self.register_buffer("context", None if context is None else context.detach())

    def forward(self, text: Tensor, parents: Tensor) -> Tensor:
        """Node features ``[m, d]`` of text features ``[m, d]`` under ``parents [m]``."""
        nodes = text if self.adapter is None else self.adapter(text)
        return nodes if self.inherited is None else F.normalize(nodes + self.inherited[parents], dim=-1)


class Head(nn.Module):
    """``logits = s·⟨adapter(x), t_v⟩ + b_v + cache(x)``: what every method here comes to once it is trained.

    Args:
        nodes: t, a feature for each node ``[N, d]``; of unit length for cosines.
        scale: s.
        image: Adapter of image features; None leaves them as they are.
        bias: b ``[N]``; None for none.
        cache: Evidence of kept images; None for none.
        growth: Makes nodes of new classes; None where the method cannot.
    """

    nodes: Tensor
    bias: Tensor | None

    def __init__(
        self,
        nodes: Tensor,
        scale: float,
        image: nn.Module | None = None,
        bias: Tensor | None = None,
        cache: Cache | None = None,
        growth: Growth | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("nodes", at_least_float32(nodes.detach()))
        self.register_buffer("bias", None if bias is None else bias.detach())
        self.scale = float(scale)
        self.image = None if isinstance(image, nn.Identity) else image
        self.cache, self.growth = cache, growth

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``[B, N]`` of L2-normalised features ``[B, d]``."""
        images = features if self.image is None else self.image(features)
        logits = scaled_cosine(images, self.nodes, self.scale)
        if self.bias is not None:
            logits = logits + self.bias
        return logits if self.cache is None else logits + self.cache(features)

    def plain(self) -> dict[str, Any]:
        """What is no tensor, for a JSON file."""
        cache, growth = self.cache, self.growth
        return {
            "scale": self.scale,
            "image": _plain_adapter(self.image),
            "cache": None if cache is None else {"alpha": cache.alpha, "beta": cache.beta},
            "growth": None if growth is None else {"adapter": _plain_adapter(growth.adapter), "name": growth.name},
        }

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, on the CPU."""
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.state_dict().items()}

    @classmethod
    def of(cls, plain: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Head:
        """The head that `plain` and `tensors` were taken from.

        Raises:
            KeyError, RuntimeError, TypeError, ValueError: They do not belong together.
        """
        cache = growth = None
        if plain["cache"] is not None:
            keys, values, below = (tensors[f"cache.{name}"] for name in ("keys", "values", "classes_below"))
            cache = Cache(keys, values, below, **plain["cache"])
        if plain["growth"] is not None:
            growth = Growth(
                _adapter(plain["growth"]["adapter"], tensors, "growth.adapter"),
                tensors.get("growth.inherited"),
                tensors.get("growth.context"),
                plain["growth"]["name"],
            )
        image = _adapter(plain["image"], tensors, "image")
        head = cls(tensors["nodes"], plain["scale"], image, tensors.get("bias"), cache, growth)
        head.load_state_dict(dict(tensors))
        return head.eval().requires_grad_(False)

    def with_nodes(self, new: Tensor, origin: Tensor) -> Head:
        """The head over more nodes.

        Args:
            new: Features of the new ones ``[m, d]``.
            origin: For each node of the larger tree the one here, or N + i for the i-th new one ``[N + m]``.
        """
        nodes = torch.cat([self.nodes, new.to(self.nodes)])[origin]
        bias = None if self.bias is None else torch.cat([self.bias, self.bias.new_zeros(len(new))])[origin]
        return Head(nodes, self.scale, self.image, bias).eval().requires_grad_(False)


def _plain_adapter(adapter: nn.Module | None) -> dict[str, Any] | None:
    if adapter is None:
        return None
    kind = next((name for name, kind in _ADAPTERS.items() if type(adapter) is kind), None)
    if kind is None:
        raise TypeError(f"a head takes adapters of {', '.join(k.__name__ for k in _ADAPTERS.values())}, not {adapter}")
    return {"kind": kind, "ratio": adapter.ratio}


def _adapter(plain: Mapping[str, Any] | None, tensors: Mapping[str, Tensor], prefix: str) -> nn.Module | None:
    if plain is None:
        return None
    hidden, width = tensors[f"{prefix}.down.weight"].shape
    return _ADAPTERS[plain["kind"]](width, hidden, plain["ratio"])
