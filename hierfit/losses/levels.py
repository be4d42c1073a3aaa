"""Cross-entropy at every level, and what losses share: the reading of a batch at every level, means over labels, and
options from configuration.

A label is a node id in ``paths [B, L]``; −1 is unknown, or below the end of a branch. Levels are cuts: level l is the
nodes at depth l and the leaves that ended above it. So a label that is a leaf stands for itself on all deeper levels
(`Taxonomy.padded`), and counts there; below a label that is an inner node nothing is known, and costs nothing.

All losses share one reduction: over the labelled levels of a sample, then the mean over samples with a label. So
each sample weighs the same however much of its path is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from numbers import Real
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hierfit.decoding.logits import cut_logsumexp
from hierfit.errors import UserError, nearest
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.cuts import ended_leaves
from hierfit.tensors import at_least_float32

Loss: TypeAlias = Callable[..., Tensor]
"""``(logits [B, N], paths [B, L], taxonomy, *, options) → scalar``; may take a shared ``reading``."""
OverLevels: TypeAlias = Literal["mean", "sum"]
"""Whether a sample's loss is the mean or the sum over its labelled levels."""


class LevelReading(NamedTuple):
    """All that level cross-entropy and TP-KL need of a batch; losses on one batch may share it.

    Attributes:
        paths: Labels ``[B, L]``, going on with their leaf below it; −1 where unknown.
        lse: Logsumexp over the cut of each level ``[B, L]``, at least float32.
        label: Logit of each label ``[B, L]``; that of node 0 where unknown.
    """

    paths: Tensor
    lse: Tensor
    label: Tensor


def read_levels(logits: Tensor, paths: Tensor, taxonomy: Taxonomy) -> LevelReading:
    """Reads ``logits [B, N]`` at ``paths [B, L]``. O(B·N); its backward takes one buffer ``[B, N]``, and one for the
    leaves above the last level."""
    taxonomy = taxonomy.to(logits.device)
    paths = taxonomy.padded(paths)
    lse, label = _ReadLevels.apply(at_least_float32(logits), paths.clamp_min(0), taxonomy)
    return LevelReading(paths, lse, label)


class _ReadLevels(torch.autograd.Function):
    # Left to autograd, each slice and each gather fills a [B, N] of its own with zeros, to be added up: slower
    # than the losses themselves.

    @staticmethod
    def forward(ctx: Any, logits: Tensor, nodes: Tensor, taxonomy: Taxonomy) -> tuple[Tensor, Tensor]:
        lse = cut_logsumexp(logits, taxonomy)
        ctx.save_for_backward(logits, nodes, lse)
        ctx.taxonomy = taxonomy
        return lse, logits.gather(1, nodes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_lse: Tensor, grad_label: Tensor) -> tuple[Tensor, None, None]:
        logits, nodes, lse = ctx.saved_tensors
        gradient = logits.clone()
        levels = gradient.split(ctx.taxonomy.level_sizes, dim=1)
        for level, log_sum, weight in zip(levels, lse.split(1, dim=1), grad_lse.split(1, dim=1), strict=True):
            level.sub_(log_sum).exp_().mul_(weight)
        if not ctx.taxonomy.is_even:
            # A leaf at depth d is in the cuts from d on: Σ g_l·exp(z − lse_l). The least of their lse is taken out
            # first, so that no exponent is positive.
            ended = ended_leaves(ctx.taxonomy)
            least = lse.flip(1).cummin(dim=1).values.flip(1)
            gap = least[:, :, None] - lse[:, None, :]
            own = gap.new_ones(gap.shape[1:], dtype=torch.bool).triu()
            share = (gap.masked_fill(~own, -torch.inf).exp() @ grad_lse[:, :, None])[:, :, 0]
            leaves = logits.index_select(1, ended.leaves)
            leaves.sub_(least.index_select(1, ended.level)).exp_().mul_(share.index_select(1, ended.level))
            gradient.index_copy_(1, ended.leaves, leaves)
        return gradient.scatter_add_(1, nodes, grad_label), None, None


def level_cross_entropy(
    logits: Tensor,
    paths: Tensor,
    taxonomy: Taxonomy,
    *,
    over_levels: OverLevels = "mean",
    reading: LevelReading | None = None,
) -> Tensor:
    """Cross-entropy within each level, mean or sum over the labelled levels of a sample. A label that is a leaf counts
    at its own level and, as itself, at deeper ones."""
    check_choice("over_levels", over_levels, ("mean", "sum"))
    padded, lse, label = reading or read_levels(logits, paths, taxonomy)
    return mean_over_labels(lse - label, padded, over_levels)


def mean_over_labels(per_label: Tensor, paths: Tensor, over_levels: OverLevels) -> Tensor:
    """A scalar from one value for each label ``[B, L]``; 0 if nothing is labelled."""
    known = paths >= 0
    per_sample = per_label.masked_fill(~known, 0).sum(dim=1)
    if over_levels == "mean":
        per_sample = per_sample / known.sum(dim=1).clamp_min(1)
    return mean_over_samples(per_sample, paths)


def mean_over_samples(per_sample: Tensor, paths: Tensor) -> Tensor:
    """The mean of ``per_sample [B]`` over samples with a label; 0, still attached to the graph, if none has."""
    labelled = (paths >= 0).any(dim=1)
    return per_sample.masked_fill(~labelled, 0).sum() / labelled.sum().clamp_min(1)


def deepest_label(paths: Tensor) -> Tensor:
    """The finest known node of each sample ``[B]``, −1 for none: ids grow with the level."""
    return paths.amax(dim=1)


def constant(values: tuple[float, ...], like: Tensor) -> Tensor:
    """Numbers as a tensor of the dtype and on the device of another, copied there once."""
    return _constant(values, like.dtype, like.device)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=device)


PerLevel: TypeAlias = float | Sequence[float] | Mapping[str, float]
"""One number for all levels, a list of one a level coarse to fine, or numbers by level name (others: 0)."""


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raises a UserError that lists the choices, unless ``value`` is one."""
    if value not in choices:
        raise UserError(f"{name} is {value!r}; it must be {' or '.join(choices)}")


def check_number(name: str, value: object, low: float = 0.0, below: float = math.inf) -> float:
    """``value`` as a float; a UserError if it is no number in [low, below)."""
    if isinstance(value, Real) and not isinstance(value, bool) and low <= (number := float(value)) < below:
        return number
    allowed = f"at least {low:g}" + (f" and below {below:g}" if below < math.inf else "")
    raise UserError(f"{name} is {value!r}; it must be a number, {allowed}")


def per_level(
    name: str, value: object, taxonomy: Taxonomy, below: float = math.inf, leaves: bool = False
) -> tuple[list[float], float | None]:
    """One number in [0, below) for each level ``[L]``; and, where asked for, that under ``leaf``: of leaves at whatever
    depth (None where it is not given, or where ``leaf`` is the name of a level).

    Raises:
        UserError: Its problems name every wrong number, every level that does not exist, or the wrong length.
    """
    levels, problems = taxonomy.levels, list[str]()
    if isinstance(value, Mapping):
        given = {**dict.fromkeys(levels, 0.0), **value}
        unknown = [level for level in value if level not in levels and not (leaves and level == "leaf")]
        problems += [f"{name} names the level {v!r}, which does not exist{nearest(str(v), levels)}" for v in unknown]
        given = {level: number for level, number in given.items() if level not in unknown}
    elif isinstance(value, Sequence) and not isinstance(value, str):
        given = dict(zip(levels, value, strict=False))
        if len(value) != len(levels):
            problems.append(f"{name} lists {len(value)} numbers; there are {len(levels)} levels")
    else:
        return [check_number(name, value, below=below)] * len(levels), None
    numbers = {}
    for level, entry in given.items():
        try:
            numbers[level] = check_number(f"{name} at {level}", entry, below=below)
        except UserError as error:
            problems.append(error.summary)
    if problems:
        raise UserError(f"{name} does not fit the levels {', '.join(levels)}", problems)
    return [numbers[level] for level in levels], None if "leaf" in levels else numbers.get("leaf")


def check_batch(logits: Tensor, paths: Tensor, nodes: int, levels: int) -> None:
    """Refuses with a ValueError tensors that are not of the node axis and levels of a tree."""
    fits = logits.shape == (len(logits), nodes) and paths.shape == (len(logits), levels)
    if not fits or paths.dtype != torch.int64:
        raise ValueError(
            f"logits are {list(logits.shape)} and paths {list(paths.shape)} {paths.dtype}; they must be "
            f"[B, {nodes}] and [B, {levels}] torch.int64, one score for each node of the tree and one node id for each "
            "level. Labels of a flat classifier become paths, and its scores node logits, by hierfit.ClassList."
        )


def empty_batch(taxonomy: Taxonomy) -> tuple[Tensor, Tensor]:
    """Logits ``[0, N]`` and paths ``[0, L]``: what a loss's options are tried on."""
    parent = taxonomy.parent
    return torch.empty(0, taxonomy.num_nodes, device=parent.device), parent.new_empty(0, taxonomy.num_levels)
