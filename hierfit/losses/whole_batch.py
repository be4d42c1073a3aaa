"""Several processes, one batch: what each must know of the others' shares so that all train as one process would.

A batch is dealt out in turn: of W processes, number r holds its rows r, r + W, …, so shares differ by at most one row.
Gradients are averaged over processes, as DDP and FSDP do it. In one process everything here does nothing.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """Number of processes W that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def share_of_batch(counts: Tensor) -> Tensor:
    """What this process's means over its own rows count for: W·n / Σn, of ``counts`` n of any shape.

    The mean over processes of a mean times its share is the mean over the whole batch; and so are its gradients.
    One all-reduce.
    """
    if (world := processes()) == 1:
        return torch.ones_like(counts, dtype=torch.float32)
    total = counts.clone()
    dist.all_reduce(total)
    return world * counts / total.clamp_min(1)


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean of a tensor over processes, without gradient. One all-reduce."""
    if (world := processes()) == 1:
        return values.detach()
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / world


def gather_batch(share: Tensor) -> Tensor:
    """The whole batch ``[B, …]`` on every process, in its order, from each one's share ``[b, …]``.

    For losses that need all samples at once, which every process then computes alike (with the same random numbers). Of
    the gradient each process passes its own rows' on, W times: their mean over processes is that of the loss.

    Raises:
        ValueError: The shares are not those of a batch that was dealt out in turn.
    """
    if processes() == 1:
        return share
    whole: Tensor = _Gather.apply(share)
    return whole


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        rank, world = dist.get_rank(), dist.get_world_size()
        sizes = share.new_zeros(world, dtype=torch.long)
        sizes[rank] = len(share)
        dist.all_reduce(sizes)
        found = sizes.tolist()
        total = sum(found)
        if found != [len(range(r, total, world)) for r in range(world)]:
            raise ValueError(f"shares of {found} rows are not those of a batch of {total} that was dealt out in turn")
        padded = share.new_zeros(found[0], *share.shape[1:])
        padded[: len(share)] = share
        parts = [torch.empty_like(padded) for _ in found]
        dist.all_gather(parts, padded)
        ctx.rank, ctx.world = rank, world
        return torch.stack(parts, dim=1).flatten(0, 1)[:total]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient[ctx.rank :: ctx.world] * ctx.world
