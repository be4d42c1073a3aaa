"""Learnable points that stay on their manifold, their optimiser, and the audit that they really do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.adamw import adamw

from hierfit.errors import UserError
from hierfit.geometry import lorentz
from hierfit.geometry.space import Space

with warnings.catch_warnings():
    # geoopt 0.5.1 scripts 73 functions at import, each with this warning; nothing else is silenced.
    warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", DeprecationWarning)
    import geoopt as geoopt


class ManifoldPoints(nn.Module):
    """Learnable points ``[M, m]`` of a space, held by a ``geoopt.ManifoldParameter``.

    A module rather than a bare parameter, so that the audit still knows what the parameter was meant to be
    after something replaced it by a plain one.

    Points of the hyperboloid are stored as their image in the Poincaré ball. The map is an isometry, so
    Riemannian steps are the same; geoopt 0.5.1's ``Lorentz`` under ``RiemannianAdam`` gives NaN from a radius
    of about 5/√c on in float32 and 7/√c in float64 (tangent vectors' squared norms cancel).

    Args:
        points: Initial points, already in the space (see :meth:`Space.embed`).
        space: The space they live in.
    """

    def __init__(self, points: Tensor, space: Space) -> None:
        super().__init__()
        self.lorentz = space.geometry == "lorentz"
        self.curvature = space.curvature
        if self.lorentz:
            points = lorentz.to_poincare(points, self.curvature)
        # Registered, so that its curvature moves to the device the points move to.
        self.manifold = geoopt.Euclidean(ndim=1)
        if space.geometry != "euclidean":
            self.manifold = geoopt.PoincareBall(c=torch.tensor(self.curvature, dtype=points.dtype))
        self.points = geoopt.ManifoldParameter(self.manifold.projx(points), manifold=self.manifold)

    def forward(self) -> Tensor:
        """The points ``[M, m]`` in the space's own coordinates."""
        return lorentz.from_poincare(self.points, self.curvature) if self.lorentz else self.points


def audit_manifold_parameters(module: nn.Module, optimizers: Optimizer | Sequence[Optimizer]) -> None:
    """Check that every manifold parameter stays on its manifold; a slip here is wrong maths, not a crash.

    A ``ManifoldParameter`` under a plain optimiser gets Euclidean steps; one that was replaced by a plain
    parameter does so under any; ``precision: bf16-true`` casts it to a type in which points leave the ball.

    Raises:
        UserError: With all parameters at fault.
    """
    optimizers = [optimizers] if isinstance(optimizers, Optimizer) else optimizers
    optimised_by = {
        id(parameter): optimizer
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    problems = [
        f"{name}.points is a plain parameter, no longer a geoopt.ManifoldParameter"
        for name, child in module.named_modules()
        if isinstance(child, ManifoldPoints) and not isinstance(child.points, geoopt.ManifoldParameter)
    ]
    for name, parameter in module.named_parameters():
        if not isinstance(parameter, geoopt.ManifoldParameter):
            continue
        if parameter.dtype not in (torch.float32, torch.float64):
            problems.append(f"{name} is {parameter.dtype}; points on a manifold need at least float32")
        optimizer = optimised_by.get(id(parameter))
        if optimizer is None and parameter.requires_grad:
            problems.append(f"{name} is in no optimiser")
        elif optimizer is not None and not isinstance(optimizer, geoopt.optim.mixin.OptimMixin):
            problems.append(f"{name} is in {type(optimizer).__name__}, which takes Euclidean steps")
    if problems:
        raise UserError(
            "Parameters on a manifold would leave it",
            problems,
            "Use RiemannianAdamW for them, and trainer.precision 32-true or bf16-mixed (not bf16-true).",
        )


class RiemannianAdamW(geoopt.optim.RiemannianAdam):
    """geoopt's Riemannian Adam with *decoupled* weight decay (Loshchilov & Hutter, ICLR 2019).

    Euclidean parameters take AdamW's step. Manifold parameters take the Riemannian one and are never decayed:
    shrinking coordinates has no meaning on a manifold, and would drag the learned radii to the origin.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; the closure, if given, computes the gradients first, and its result is given back."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._euclidean_step(group)
        with self._points_alone_undecayed():
            super().step()
        return loss

    def _euclidean_step(self, group: dict[str, Any]) -> None:
        # geoopt takes a dozen small steps in Python for each parameter; torch's kernel takes one for all.
        moved = [p for p in group["params"] if p.grad is not None and not isinstance(p, geoopt.ManifoldTensor)]
        if not moved:
            return
        states = [self._state_of(parameter) for parameter in moved]
        beta1, beta2 = group["betas"]
        adamw(
            moved,
            [parameter.grad for parameter in moved],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=moved[0].device.type in ("cpu", "cuda"),
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def _state_of(self, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        state: dict[str, torch.Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        elif state["step"].device != parameter.device:  # a checkpoint's stays where it was loaded to
            state["step"] = state["step"].to(parameter.device)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up a state; torch's own makes geoopt's whole numbers of steps float32, which moves every later step."""
        super().load_state_dict(state_dict)
        for parameter, state in self.state.items():
            if isinstance(parameter, geoopt.ManifoldTensor):
                state["step"] = int(state["step"])

    @contextmanager
    def _points_alone_undecayed(self) -> Iterator[None]:
        before = [(group["params"], group["weight_decay"]) for group in self.param_groups]
        try:
            for group in self.param_groups:
                group["params"] = [p for p in group["params"] if isinstance(p, geoopt.ManifoldTensor)]
                group["weight_decay"] = 0.0
            yield
        finally:
            for group, (parameters, decay) in zip(self.param_groups, before, strict=True):
                group["params"], group["weight_decay"] = parameters, decay
