"""Tensors: never in half precision where sums are taken, and on disk as safetensors."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hierfit.atomic import whole_file


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 pass untouched."""
    return tensor.float() if _is_half(tensor) else tensor


def fp32_island(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Runs ``function`` with autocast off and its half-precision tensor arguments upcast.

    Both are needed: autocast would cast a Gram matrix of fp32 points down to bf16, and bf16 points (8 bits of mantissa)
    near the boundary of a ball round onto or over it.
    """

    @functools.wraps(function)
    def on_island(*args: Any, **kwargs: Any) -> Tensor:
        device = next(arg.device.type for arg in (*args, *kwargs.values()) if isinstance(arg, Tensor))
        if not torch.is_autocast_enabled(device) and not any(map(_is_half, (*args, *kwargs.values()))):
            return function(*args, **kwargs)  # there is no sea around it
        with torch.autocast(device, enabled=False):
            return function(
                *(at_least_float32(arg) if isinstance(arg, Tensor) else arg for arg in args),
                **{k: at_least_float32(arg) if isinstance(arg, Tensor) else arg for k, arg in kwargs.items()},
            )

    return on_island


def _is_half(argument: object) -> bool:
    return isinstance(argument, Tensor) and argument.dtype in (torch.float16, torch.bfloat16)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str] | None = None) -> None:
    """Writes a file that appears whole or not at all."""
    with as_os_error(path), whole_file(path) as draft:
        save_file(dict(tensors), draft, None if facts is None else dict(facts))


Shape = tuple[int, ...]


def misfits(wanted: Mapping[str, Shape], given: Mapping[str, Shape | None], says: str, strict: bool) -> list[str]:
    """Every way in which weights are not the ones that are wanted, by name.

    Args:
        wanted: Their shapes.
        given: Those of what there is; None for what is no tensor.
        says: Stands before the wanted shape.
        strict: Whether there may be no others.
    """
    problems = [f"{name} is missing" for name in sorted(wanted.keys() - given.keys())]
    both = sorted(wanted.keys() & given.keys())
    problems += [f"{name} is {given[name]}, {says} {wanted[name]}" for name in both if given[name] != wanted[name]]
    return problems + [f"{name} is unknown" for name in sorted(given.keys() - wanted.keys()) if strict]


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Shape by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def read_tensors(path: Path, *names: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of these names, or all, and the metadata of a file.

    Raises:
        SafetensorError, OSError: The file is damaged or lacks one of them, or cannot be opened.
    """
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in names or file.keys()}, file.metadata() or {}


@contextmanager
def as_os_error(path: Path) -> Iterator[None]:
    """What the system refuses to safetensors as the `OSError` that it is; safetensors tells it in words alone."""
    try:
        yield
    except SafetensorError as error:
        if (number := re.search(r"os error (\d+)", str(error))) is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(path)) from error
