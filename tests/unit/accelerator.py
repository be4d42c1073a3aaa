"""An accelerator without one: values are worked out on the CPU, and told apart from the CPU's own.

Inside `Pretended`, tensors made on or moved to `DEVICE` are `Away`. To mix them with the CPU's raises, as it would on a
GPU, and whatever a GPU's host would have to wait for is written down in `Pretended.waits`. Values and gradients are
true, so that code which looks at them takes the way that it takes on a GPU. ("meta" is the one device without a machine
of its own that takes a backward pass.)
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

DEVICE = torch.device("meta")
_CPU = torch.device("cpu")
_HOME = str(Path(__file__).parents[2] / "hierfit")

_COUNTED = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount", "repeat_interleave"}
"""Whose outcome has a size that only the device knows."""
_READ = {"_local_scalar_dense", "equal"}
_MIXING = {"_to_copy", "copy_", "index", "index_put_", "index_put", "_index_put_impl_"}
"""What takes tensors of two devices; indices may lie on the CPU."""


class Away(Tensor):
    """A tensor that says it lies on `DEVICE`."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Away:
        made: Away = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.shape, inner.stride(), inner.storage_offset(), dtype=inner.dtype, device=DEVICE
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} on a tensor of the pretended device, outside it")


class Pretended(TorchDispatchMode):
    """While it is on, there is an accelerator; ``waits`` says what its host waited for, and where in hierfit."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self._lists = _Lists()

    def __enter__(self) -> Any:
        self._overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        self._lists.__enter__()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, where)
        self._lists.__exit__(kind, error, where)
        torch.__future__.set_overwrite_module_params_on_conversion(self._overwrites)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        away: dict[int, Away] = {}
        here: list[Tensor] = []

        def opened(value: Any) -> Any:
            if isinstance(value, Away):
                away[id(value.inner)] = value
                return value.inner
            if isinstance(value, Tensor):
                assert value.device == _CPU, f"a tensor of the pretended device was made unseen, {_place()}"
                here.extend([value] * bool(value.ndim))
            return value

        name = func.overloadpacket.__name__
        inner_args, inner_kwargs = tree_map(opened, args), tree_map(opened, kwargs)
        if away and here and name not in _MIXING:
            raise RuntimeError(f"{func}: tensors of two devices, {_place()}")
        device = kwargs.get("device")
        if device is not None:
            inner_kwargs["device"] = _CPU
        if self._is_wait(name, args, kwargs, inner_args, bool(away), bool(here)):
            self.waits.append(f"{name} {_place()}")
        found = func(*inner_args, **inner_kwargs)
        there = bool(away) if device is None else device.type == DEVICE.type
        if there and name == "copy_":
            there = isinstance(args[0], Away)
        if not there:
            return tree_map(lambda value: value.clone() if id(value) in away else value, found)
        return tree_map(lambda value: _closed(value, away), found)

    @staticmethod
    def _is_wait(
        name: str, args: Sequence[Any], kwargs: Mapping[str, Any], inner: Sequence[Any], away: bool, here: bool
    ) -> bool:
        if name == "_to_copy":
            target = kwargs.get("device")
            crosses = target is not None and (target.type == DEVICE.type) != away
            return crosses and not kwargs.get("non_blocking", False)
        if name == "copy_":
            crosses = isinstance(args[0], Away) != isinstance(args[1], Away)
            return crosses and not (len(args) > 2 and args[2])
        if name.startswith(("index_put", "_index_put")) or name == "index":
            masks = [index for index in inner[1] if index is not None and index.dtype == torch.bool]
            filled = name != "index" and len(masks) == 1 and inner[2].numel() == 1  # torch then fills by the mask
            return away and (here or (bool(masks) and not filled))
        return away and name in _COUNTED | _READ


class _Lists(TorchFunctionMode):
    """Numbers of the host made into a tensor: torch would make it on the meta device unseen."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.tolist and isinstance(args[0], Away):
            return args[0].cpu().tolist()
        if func is torch.Tensor.__getitem__ and isinstance(args[1], list):
            return args[0][torch.tensor(args[1]).to(args[0].device)]
        if func is torch.Tensor.new_tensor:
            like = args[0]
            device, dtype = kwargs.get("device", like.device), kwargs.get("dtype")
            return torch.tensor(args[1], dtype=dtype or like.dtype).to(device)
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = torch.device(kwargs.pop("device"))
            return func(*args, device=_CPU, **kwargs).to(device)
        return func(*args, **kwargs)


def _closed(value: Any, away: dict[int, Away]) -> Any:
    if not isinstance(value, Tensor):
        return value
    return away[id(value)] if id(value) in away else Away(value)


def _place() -> str:
    """The innermost line of hierfit on the stack."""
    frames = [frame for frame in traceback.extract_stack() if frame.filename.startswith(_HOME)]
    return f"at {frames[-1].filename.removeprefix(_HOME)}:{frames[-1].lineno}" if frames else "outside hierfit"


def moved(value: Any, device: torch.device) -> Any:
    """Tensors and what has `to`, within tuples, lists and dictionaries, on a device."""
    if isinstance(value, (Tensor, torch.nn.Module)) or callable(getattr(value, "to", None)):
        return value.to(device)
    return tree_map(lambda part: part.to(device) if isinstance(part, Tensor) else part, value)


def is_autocast_enabled(asked: Callable[..., bool]) -> Callable[..., bool]:
    """torch's function, for a device that it does not know as well."""
    return lambda *device: False if device == (DEVICE.type,) else asked(*device)
