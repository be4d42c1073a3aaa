"""A safetensors file written piece by piece: the header first, then each tensor's rows as they come."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hierfit.atomic import whole_file

_NAMES = {torch.int64: "I64", torch.float32: "F32", torch.float16: "F16"}


@dataclass(frozen=True)
class Planned:
    """A tensor to come: its shape and type, and what gives its rows in order, some at a time."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    rows: Callable[[], Iterable[Tensor]]


def write_streaming(path: Path, tensors: Mapping[str, Planned], metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file without holding any of its tensors; it appears whole or not at all.

    Raises:
        ValueError: A tensor's rows are more or fewer than was said.
    """
    # Wide types first: each tensor then starts at a multiple of its own width.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    place = 0
    for name in order:
        planned = tensors[name]
        size = math.prod(planned.shape) * planned.dtype.itemsize
        shape = {"dtype": _NAMES[planned.dtype], "shape": list(planned.shape)}
        header[name] = {**shape, "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with whole_file(path) as draft, draft.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            planned, written = tensors[name], 0
            for rows in planned.rows():
                written += len(rows)
                file.write(rows.to(planned.dtype).contiguous().numpy().tobytes())
            if written != planned.shape[0]:
                raise ValueError(f"{name}: {written} rows came, {planned.shape[0]} were to come")
