"""Several processes, one batch: what each must know of the others' shares so that all train as one process would.

A batch is dealt out in turn: of W processes, number r holds its rows r, r + W, …, so shares differ by at most one row.
So is work that all need the outcome of, such as the texts of all classes; there, shares are made equal. Gradients are
averaged over processes, as DDP does it. In one process everything here does nothing.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def processes() -> int:
    """Number of processes W that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def end_with_parent() -> None:
    """Ends this process when the one that has started it ends, however that ends: it may wait for the other's share of
    a sum, and hold its GPU for minutes."""
    if (parent := multiprocessing.parent_process()) is not None:  # started through a server, perhaps

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
    elif sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def keep_alike_only_trained(module: nn.Module) -> None:
    """Has DDP leave buffers and frozen weights alone: each process makes the same ones, and no step changes them.

    It would send the buffers around at every step otherwise, and could not send weights that are sharded.
    """
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    names = [name for name, _ in (*module.named_parameters(), *module.named_buffers()) if name not in trained]
    nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, names)


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


def gather_batch(share: Tensor, total: int) -> Tensor:
    """The whole batch ``[B', …]`` on every process, in its order, from each one's share ``[b, …]``.

    For losses that need all samples at once, which every process then computes alike (with the same random numbers). Of
    the gradient each process passes its own rows' on, W times: their mean over processes is that of the loss. The host
    waits for nothing.

    Args:
        share: This process's rows.
        total: B', which every process knows: `hierfit.data.batch.Batch.all_paths` has as many rows.

    Raises:
        ValueError: The share is not that of a batch that was dealt out in turn.
    """
    if (world := processes()) == 1:
        return share
    if len(share) != (mine := len(range(dist.get_rank(), total, world))):
        raise ValueError(f"a share of {len(share)} rows, where {mine} of {total} are dealt to this process")
    whole: Tensor = _GatherRows.apply(share, total, False)
    return whole


def of_all_processes(mine: Any) -> list[Any]:
    """What each process holds, on every process, in their order: anything that can be pickled."""
    if (world := processes()) == 1:
        return [mine]
    found: list[Any] = [None] * world
    dist.all_gather_object(found, mine)
    return found


def share_of_work(total: int) -> list[int]:
    """Numbers of the pieces of work, of ``total``, that this process does: ⌈total / W⌉, the last one again to fill up.

    Equal shares, because sharded weights come together in passes that all processes must take.
    """
    if (world := processes()) == 1:
        return list(range(total))
    return [min(number, total - 1) for number in range(dist.get_rank(), -(-total // world) * world, world)]


def gather_work(share: Tensor, total: int) -> Tensor:
    """What came out of all work ``[total, …]`` on every process, in order, from each one's `share_of_work`.

    Each process may go on to a loss of its own.
    """
    if processes() == 1:
        return share
    whole: Tensor = _GatherRows.apply(share, total, True)
    return whole


class _GatherRows(torch.autograd.Function):
    """Forward an all-gather of rows that are dealt out in turn; backward each process's own rows, W times or, of work,
    their sum over processes.

    With L_r the loss of process r, what is minimised is L = (Σ_r L_r) / W. A row was made by one process s, but every
    L_r depends on it: ∂L/∂row = (Σ_r ∂L_r/∂row) / W. The mean over processes of the gradients each has on its weights
    divides by W already, so process s must pass on the plain sum over r. In `gather_batch` all L_r are one function,
    and the sum over r is W times the own gradient. Rows that only fill up are cut off, and get no gradient.
    """

    @staticmethod
    def forward(ctx: Any, share: Tensor, total: int, of_work: bool) -> Tensor:
        world = dist.get_world_size()
        padded = share.new_zeros(-(-total // world), *share.shape[1:])
        padded[: len(share)] = share
        parts = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(parts, padded)
        ctx.size, ctx.of_work = len(share), of_work
        return torch.stack(parts, dim=1).flatten(0, 1)[:total]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        rank, world = dist.get_rank(), dist.get_world_size()
        if ctx.of_work:
            gradient = gradient.clone(memory_format=torch.contiguous_format)
            dist.all_reduce(gradient)
            mine = gradient[rank::world]
        else:
            mine = gradient[rank::world] * world
        return torch.cat([mine, mine.new_zeros(ctx.size - len(mine), *mine.shape[1:])]), None, None
