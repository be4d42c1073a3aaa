"""The fp32 island: hyperbolic arithmetic in half precision leaves the ball, so it never runs there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def at_least_fp32(tensor: Tensor) -> Tensor:
    """Upcast half precision to float32; float32 and float64 pass untouched."""
    return tensor.float() if _is_half(tensor) else tensor


def _is_half(argument: object) -> bool:
    return isinstance(argument, Tensor) and argument.dtype in (torch.float16, torch.bfloat16)


def fp32_island(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Run ``function`` with autocast off and its half-precision tensor arguments upcast.

    Both are needed: autocast would cast a Gram matrix of fp32 points down to bf16, and bf16 points
    (8 bits of mantissa) near the boundary round onto or over it.
    """

    @functools.wraps(function)
    def on_island(*args: Any, **kwargs: Any) -> Tensor:
        device = next(arg.device.type for arg in (*args, *kwargs.values()) if isinstance(arg, Tensor))
        if not torch.is_autocast_enabled(device) and not any(map(_is_half, (*args, *kwargs.values()))):
            return function(*args, **kwargs)  # there is no sea around it
        with torch.autocast(device, enabled=False):
            return function(
                *(at_least_fp32(arg) if isinstance(arg, Tensor) else arg for arg in args),
                **{k: at_least_fp32(arg) if isinstance(arg, Tensor) else arg for k, arg in kwargs.items()},
            )

    return on_island
