"""One optimiser for Euclidean and manifold parameters, so that automatic optimisation keeps working."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim.adamw import adamw

from hierfit.geometry.manifold import geoopt


class RiemannianAdamW(geoopt.optim.RiemannianAdam):
    """geoopt's Riemannian Adam with *decoupled* weight decay (Loshchilov & Hutter, ICLR 2019).

    Euclidean parameters take AdamW's step. Manifold parameters take the Riemannian one and are never decayed:
    shrinking coordinates has no meaning on a manifold, and would drag the learned radii to the origin.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; the closure, if given, computes the gradients first.

        Returns:
            What the closure returned.
        """
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
