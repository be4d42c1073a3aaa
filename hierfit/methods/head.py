"""`Head`, from image features to one score a node: what a method trains, tests, saves, exports and grows.

Its parts stand before it, but for the nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierfit.methods.nodes import Nodes
from hierfit.methods.whiten import Whitening
from hierfit.tensors import at_least_float32, fp32_island


class Blend(nn.Module):
    """``v′ = norm(r·relu(W₂ relu(W₁v)) + (1 − r)·v)`` (CLIP-Adapter).

    Without biases the bottleneck is homogeneous of degree one, so the length of v cancels: on L2-normalised
    features it is the very function that the paper puts on raw ones.
    """

    def __init__(self, width: int, hidden: int, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio
        self.down = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(hidden, width, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features ``[n, d]`` to adapted ones, L2-normalised."""
        adapted = F.relu(self.up(F.relu(self.down(features))))
        return F.normalize(self.ratio * adapted + (1 - self.ratio) * features, dim=-1)


class ResidualAdapter(nn.Module):
    """``v′ = norm(v + ratio·(W₂ relu(W₁v + b₁) + b₂))`` with W₂ = b₂ = 0 at the start, so that v′ = v (LatHAdapter).

    Additive from zero, unlike `Blend`: that starts away from CLIP and, at ratios of 0.5 and more, forgets unseen
    classes.
    """

    def __init__(self, width: int, hidden: int, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, features: Tensor) -> Tensor:
        """L2-normalised features ``[n, d]`` to adapted ones, L2-normalised again."""
        return F.normalize(features + self.ratio * self.up(F.relu(self.down(features))), dim=-1)


ADAPTERS: dict[str, type[Blend] | type[ResidualAdapter]] = {"blend": Blend, "residual": ResidualAdapter}
"""By the names that saved heads use."""


@fp32_island
def scaled_cosine(images: Tensor, nodes: Tensor, scale: float | Tensor) -> Tensor:
    """``s·⟨x, t⟩`` of images ``[B, d]`` and nodes ``[N, d]`` → ``[B, N]``, never below fp32.

    In bf16 a cosine has 8 bits; times 100, that is an error of ±0.2 in every logit.
    """
    return scale * images @ nodes.T


class Bias(nn.Module):
    """``s·b_v [N]`` of the trained nodes, 0 at the start; others get none."""

    trained: Tensor
    nothing: Tensor

    def __init__(self, trained: Tensor, count: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("trained", trained, persistent=False)
        self.register_buffer("nothing", torch.zeros(count), persistent=False)
        self.own, self.scale = nn.Parameter(torch.zeros(len(trained))), scale

    def forward(self) -> Tensor:
        return self.scale * self.nothing.index_copy(0, self.trained, self.own)


class Cache(nn.Module):
    """Evidence of kept images (Tip-Adapter): ``(α / m_v)·Σ_k exp(−β(1 − ⟨x, x_k⟩))`` over images k at or below node v.

    Values are kept as paths: the cache takes O(n·(d + L)) memory and O(B·n·(d + L)) a batch, however many nodes.

    Args:
        keys: L2-normalised features of the images ``[n, d]``.
        values: Node of each on each level ``[L, n]``; N where there is none.
        below: m, what a node's sum is divided by ``[N]``.
        alpha: α.
        beta: β.
        trained: Whether the keys are trained.
    """

    values: Tensor
    below: Tensor

    def __init__(
        self, keys: Tensor, values: Tensor, below: Tensor, alpha: float, beta: float, trained: bool = False
    ) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, beta
        self.keys = nn.Parameter(keys, requires_grad=trained)
        self.register_buffer("values", values, persistent=False)
        self.register_buffer("below", below, persistent=False)

    def evidence(self, features: Tensor, beta: float) -> Tensor:
        """What the images say of each node ``[B, N]``, before weighting."""
        affinity = _affinity(self.keys, features, beta)
        # Rows are nodes, so that adding up runs along memory; the last one collects what has no node.
        sums = affinity.new_zeros(len(self.below) + 1, len(features))
        for nodes in self.values:
            sums.index_add_(0, nodes, affinity)
        return (sums[:-1] / self.below[:, None]).T

    def forward(self, features: Tensor) -> Tensor:
        """What is added to the logits ``[B, N]`` of features ``[B, d]``."""
        return self.alpha * self.evidence(features, self.beta)


@fp32_island
def _affinity(keys: Tensor, features: Tensor, beta: float) -> Tensor:
    """``exp(−β(1 − ⟨key, x⟩))`` ``[n, B]``, never below fp32: the exponent is a difference of near-equal numbers."""
    return (keys @ features.T).sub_(1).mul_(beta).exp_()


class Head(nn.Module):
    """``logits [B, N] = s·⟨image(x), nodes⟩ + bias + cache(x)`` of L2-normalised image features x ``[B, d]``.

    Args:
        nodes: A feature for each node.
        scale: s; or its logarithm, a parameter.
        image: Adapter of image features; None leaves them as they are.
        bias: ``[N]``, or what gives it.
        cache: Evidence of kept images.
        whiten: Stands before all of it: whiten(x) is read in the place of x, and of the text of other classes.
    """

    bias: Tensor | nn.Module | None

    def __init__(
        self,
        nodes: Nodes,
        scale: float | nn.Parameter,
        image: nn.Module | None = None,
        bias: Tensor | nn.Module | None = None,
        cache: Cache | None = None,
        whiten: Whitening | None = None,
    ) -> None:
        super().__init__()
        self.whiten, self.image, self.nodes, self.cache = whiten, image, nodes, cache
        self.log_scale = scale if isinstance(scale, nn.Parameter) else None
        self._scale = 0.0 if isinstance(scale, nn.Parameter) else scale
        if isinstance(bias, Tensor):
            self.register_buffer("bias", bias, persistent=False)
        else:
            self.bias = bias

    @property
    def scale(self) -> float | Tensor:
        """s."""
        return self._scale if self.log_scale is None else self.log_scale.exp()

    @property
    def grows(self) -> bool:
        """Whether other classes can be scored: not where something is learnt of each class alone."""
        return self.nodes.grows and self.bias is None and self.cache is None

    def adapted(self, features: Tensor) -> Tensor:
        """Image features ``[B, d]`` as they are compared with the nodes."""
        features = self.read(features)
        return features if self.image is None else self.image(features)

    def read(self, features: Tensor) -> Tensor:
        """Image features ``[B, d]``, or text features of other classes, as the head takes them in."""
        return features if self.whiten is None else self.whiten(features)

    def cosines(self, images: Tensor, nodes: Tensor) -> Tensor:
        """Scaled cosines ``[B, N]`` of adapted images and nodes."""
        return scaled_cosine(images, nodes, self.scale)

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``[B, N]``."""
        logits = self.cosines(self.adapted(features), self.nodes())
        if self.bias is not None:
            logits = logits + (self.bias if isinstance(self.bias, Tensor) else self.bias())
        return logits if self.cache is None else logits + self.cache(self.read(features))

    def over(self, nodes: Nodes) -> Head:
        scale = self._scale if self.log_scale is None else self.log_scale
        return Head(nodes, scale, self.image, whiten=self.whiten)

    def saved(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What `load` takes: plain values for a JSON file, and tensors by name, on the CPU."""
        nodes, cache, growth = self.nodes, self.cache, self.grows
        adapter = nodes.adapter if growth else None
        bias = self.bias() if isinstance(self.bias, nn.Module) else self.bias
        found = {
            "nodes": at_least_float32(nodes()),
            "bias": bias,
            "growth.inherited": nodes.added() if growth and nodes.inherits else None,
            "growth.context": nodes.context if growth else None,
        }
        if cache is not None:
            found |= {"cache.keys": cache.keys, "cache.values": cache.values, "cache.classes_below": cache.below}
        if self.whiten is not None:
            found |= {"whiten.weight": self.whiten.weight, "whiten.center": self.whiten.center}
        for prefix, module in (("image", self.image), ("growth.adapter", adapter)):
            found |= {f"{prefix}.{key}": value for key, value in (module.state_dict() if module else {}).items()}
        plain = {
            "scale": float(self.scale),
            "image": _plain_adapter(self.image),
            "cache": None if cache is None else {"alpha": cache.alpha, "beta": cache.beta},
            "growth": {"adapter": _plain_adapter(adapter), "name": nodes.name} if growth else None,
        }
        return plain, {name: t.detach().cpu().contiguous().clone() for name, t in found.items() if t is not None}

    @classmethod
    def load(cls, plain: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Head:
        """The head that was `saved`; its nodes and bias no longer change.

        Raises:
            KeyError, RuntimeError, TypeError, ValueError: Plain values and tensors do not belong together.
        """
        growth, cache, whiten = plain["growth"] or {}, None, None
        if plain["cache"] is not None:
            keys, values, below = (tensors[f"cache.{name}"] for name in ("keys", "values", "classes_below"))
            cache = Cache(keys, values, below, **plain["cache"])
        if "whiten.weight" in tensors:
            whiten = Whitening(tensors["whiten.weight"], tensors["whiten.center"])
        nodes = Nodes(
            tensors["nodes"],
            grows=plain["growth"] is not None,
            adapter=_loaded_adapter(growth.get("adapter"), tensors, "growth.adapter."),
            inherited=tensors.get("growth.inherited"),
            context=tensors.get("growth.context"),
            **({"name": growth["name"]} if growth else {}),
        )
        image = _loaded_adapter(plain["image"], tensors, "image.")
        head = cls(nodes, float(plain["scale"]), image, tensors.get("bias"), cache, whiten)
        if head.saved()[1].keys() != tensors.keys():
            raise KeyError("there are tensors without a place")
        return head.eval().requires_grad_(False)


def _plain_adapter(adapter: nn.Module | None) -> dict[str, Any] | None:
    if adapter is None:
        return None
    kind = next((name for name, kind in ADAPTERS.items() if type(adapter) is kind), None)
    if kind is None:
        raise TypeError(f"a head is saved with adapters of {', '.join(k.__name__ for k in ADAPTERS.values())} only")
    return {"kind": kind, "ratio": adapter.ratio}


def _loaded_adapter(plain: Mapping[str, Any] | None, tensors: Mapping[str, Tensor], prefix: str) -> nn.Module | None:
    if plain is None:
        return None
    state = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    hidden, width = state["down.weight"].shape
    adapter = ADAPTERS[plain["kind"]](width, hidden, plain["ratio"])
    adapter.load_state_dict(state)
    return adapter
