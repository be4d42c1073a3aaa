"""Losses, distances and steps beside the formulations that people would otherwise use, forward and backward.

    python tests/bench/bench_peers.py [--rounds 11]

Each peer is written here from its published equations, with the cost of its published form: dense tables of leaves by
leaves for Bertinetto et al. (CVPR 2020), one-hot targets for TP-KL (H-CAST, Intel's OTX), autograd through every step
for MERU's distances, one-hot values for Tip-Adapter-F; geoopt's distances are geoopt's. Both sides give the same
figure, which is checked, and take turns in one process on one thread. The peers of losses read leaves alone, ours the
scores of all nodes. Last, the objective of hierarchy-aware LoRA beside torch's own cross-entropy a level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from harness import Claim, in_milliseconds, in_turns, peak_bytes, program, ratio, timed
from torch import Tensor, nn
from toy import skewed_tree

from hierfit.geometry import Space
from hierfit.geometry.manifold import geoopt
from hierfit.losses.objective import LOSSES, Objective
from hierfit.methods.head import Cache, Head
from hierfit.methods.nodes import Nodes
from hierfit.taxonomy import Taxonomy

SMALL, MIDDLE, LARGE = [13, 37, 200], [8, 48, 608], [20, 150, 2000]
Way = Callable[[], Tensor]


def leaf_heights(tree: Taxonomy) -> Tensor:
    """Height of the lowest common ancestor of two leaves over that of the tree ``[C, C]``."""
    paths = tree.leaf_paths
    return (tree.num_levels - (paths[:, None] == paths).sum(dim=-1)) / tree.num_levels


def hxe_peer(tree: Taxonomy, alpha: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Products of a softmax with tables ``[C, C, L]``: of the numerator and denominator of each decision."""
    paths, depth = tree.leaf_paths, tree.num_levels
    below = torch.stack([(paths[:, None, level] == paths[None, :, level]).float() for level in range(depth)], dim=2)
    above = torch.cat([torch.ones_like(below[:, :, :1]), below[:, :, :-1]], dim=2)
    weights = torch.exp(-alpha * torch.arange(depth)).expand(len(paths), depth).contiguous()

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        p = logits.softmax(dim=1)[:, None]
        numerator, denominator = (torch.bmm(p, table[labels])[:, 0] for table in (below, above))
        return (weights[labels] * -torch.log(numerator / denominator)).sum(dim=1).mean()

    return loss


def soft_labels_peer(tree: Taxonomy, beta: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A table of targets ``[C, C]``."""
    table = (-beta * leaf_heights(tree)).softmax(dim=1)
    return lambda logits, labels: -(logits.log_softmax(dim=1) * table[labels]).sum(dim=1).mean()


def tp_kl_peer(tree: Taxonomy) -> Callable[[Tensor, Tensor], Tensor]:
    """KL to a target ``[B, N]`` of one-hot labels side by side."""

    def loss(logits: Tensor, paths: Tensor) -> Tensor:
        levels = zip(paths.T, tree.level_slices, tree.level_sizes, strict=True)
        target = torch.cat([F.one_hot(y - nodes.start, size) for y, nodes, size in levels], dim=1).float()
        return F.kl_div(logits.log_softmax(dim=1), target / tree.num_levels, reduction="batchmean")

    return loss


def backward(loss: Callable[..., Tensor], *inputs: Tensor) -> Way:
    """A way that gives the value of a loss of these, and takes its gradient by those that are real numbers."""
    made = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]

    def step() -> Tensor:
        for x in made:
            x.grad = None
        value = loss(*made)
        value.backward()
        return value.detach()

    return step


def losses(sizes: list[int], batch: int) -> dict[str, tuple[Way, Way]]:
    """Ours and the peer's of HXE, soft labels and TP-KL."""
    tree = skewed_tree(sizes)
    leaves = torch.randint(tree.num_leaves, (batch,))
    logits, paths = 5 * torch.randn(batch, tree.num_nodes), tree.leaf_paths[leaves]
    of_leaves = logits[:, tree.leaves]

    def ours(name: str, **options: float) -> Way:
        return backward(lambda z, y: LOSSES.find(name)(z, y, tree, **options), logits, paths)

    hxe, soft = (backward(peer, of_leaves, leaves) for peer in (hxe_peer(tree, 0.3), soft_labels_peer(tree, 10.0)))
    where = f"{tree.num_leaves} leaves"
    return {
        f"HXE, {where}": (ours("hxe", alpha=0.3), hxe),
        f"soft labels, {where}": (ours("soft_labels", beta=10.0), soft),
        f"TP-KL, {tree.num_nodes} nodes": (ours("tp_kl"), backward(tp_kl_peer(tree), logits, paths)),
    }


def lorentz(n: int, k: int, width: int) -> tuple[Way, Way]:
    """All pairwise distances on the hyperboloid, with gradients to both sides."""
    space, c = Space("lorentz", 1.0), 1.0
    x, y = (space.embed(torch.randn(count, width) / math.sqrt(width)) for count in (n, k))

    def peer(x: Tensor, y: Tensor) -> Tensor:
        x_time, y_time = (torch.sqrt(1 / c + p.square().sum(-1, keepdim=True)) for p in (x, y))
        inner = x @ y.T - x_time @ y_time.T
        return (torch.acosh(torch.clamp(-c * inner, min=1 + 1e-8)) / c**0.5).mean()

    return backward(lambda x, y: space.pairwise_distance(x, y).mean(), x, y), backward(peer, x[:, 1:], y[:, 1:])


def tip_adapter_f(sizes: list[int], batch: int, shots: int, width: int = 512) -> tuple[Way, Way]:
    """A step of AdamW on the keys of a cache, by cross-entropy of the leaves."""
    tree = skewed_tree(sizes)
    text = F.normalize(torch.randn(tree.num_nodes, width), dim=1)
    labels = torch.arange(tree.num_leaves).repeat_interleave(shots)
    keys = F.normalize(text[tree.leaves][labels] + torch.randn(len(labels), width) / 30, dim=1)
    rows = torch.randint(len(labels), (batch,))
    images, answers = keys[rows], labels[rows]
    paths, objective = tree.leaf_paths[answers], Objective({"leaf_ce": 1.0}, tree)
    below = torch.ones(tree.num_nodes, dtype=torch.long)
    cache = Cache(keys.clone(), tree.leaf_paths[labels].T.contiguous(), below, 1.0, 5.5, True)
    head = Head(Nodes(text), 100.0, cache=cache)
    adapter = nn.Linear(width, len(keys), bias=False)
    adapter.weight.data.copy_(keys)
    values, of_leaves = F.one_hot(labels).float(), text[tree.leaves].T.contiguous()

    def peer() -> Tensor:
        logits = 100.0 * images @ of_leaves + torch.exp(-(5.5 - 5.5 * adapter(images))) @ values
        return F.cross_entropy(logits, answers)

    def step(loss: Way, parameter: nn.Parameter) -> Way:
        optimizer = torch.optim.AdamW([parameter], lr=1e-3, eps=1e-4)

        def way() -> Tensor:
            optimizer.zero_grad()
            value = loss()
            value.backward()
            optimizer.step()
            return value.detach()

        return way

    return step(lambda: objective(head(images), paths)["loss"], cache.keys), step(peer, adapter.weight)


def beside_plain(sizes: list[int], batch: int, rounds: int) -> Claim:
    """HiSCE + TP-KL, by torch's own cross-entropy a level on views from one split: the fastest plain form."""
    tree = skewed_tree(sizes)

    def plain(logits: Tensor, paths: Tensor) -> Tensor:
        levels = zip(logits.split(tree.level_sizes, dim=1), paths.T, tree.level_slices, strict=True)
        return torch.stack([F.cross_entropy(z, y - nodes.start) for z, y, nodes in levels]).mean()

    logits, paths = 5 * torch.randn(batch, tree.num_nodes), tree.leaf_paths[torch.randint(tree.num_leaves, (batch,))]
    objective = Objective({"hisce": 1.0, "tp_kl": 1.0}, tree)
    ours = backward(lambda z, y: objective(z, y)["loss"], logits, paths)
    taken = in_turns({"ours": timed(ours), "plain": timed(backward(plain, logits, paths))}, rounds)
    return Claim("HiSCE + TP-KL ÷ plain cross-entropy a level", ratio(taken["ours"], taken["plain"]), 2.5)


def beside_geoopt(n: int, k: int, width: int, rounds: int) -> Iterator[Claim]:
    """All pairwise distances in the Poincaré ball, without gradients: geoopt broadcasts."""
    space, ball = Space("poincare", 1.0), geoopt.PoincareBall(c=1.0)
    x, y = (space.embed(0.04 * torch.randn(count, width)) for count in (n, k))

    def ours() -> Tensor:
        return space.pairwise_distance(x, y)

    def theirs() -> Tensor:
        return ball.dist(x[:, None], y[None])

    torch.testing.assert_close(ours(), theirs(), rtol=1e-3, atol=1e-3)
    taken = in_turns({"ours": timed(ours, 20), "geoopt": timed(theirs)}, rounds)
    leaner, what = peak_bytes(theirs) / peak_bytes(ours), f"hyperbolic distances {n}×{k}×{width}: geoopt ÷ ours"
    yield Claim(f"{what}, time", ratio(taken["geoopt"], taken["ours"]), 100, "×", "more")
    yield Claim(f"{what}, memory", [leaner], 100, "×", "more")


def measure(rounds: int, batch: int) -> Iterator[Claim]:
    """Ours beside every peer."""
    pairs: dict[str, tuple[Way, Way]] = {}
    for sizes in (SMALL, [8, 34, 248], MIDDLE, LARGE):
        pairs |= losses(sizes, batch)
    for n, k, width in ((256, 64, 128), (256, 64, 512), (256, 1000, 512)):
        pairs[f"Lorentz distances, {n}×{k}×{width}"] = lorentz(n, k, width)
    for sizes, shots in (([8, 30, 100], 16), ([20, 150, 1000], 16)):
        pairs[f"Tip-Adapter-F step, {sizes[-1]} leaves, {shots} shots"] = tip_adapter_f(sizes, batch, shots)
    yield from beside_geoopt(256, 1000, 512, 3)
    yield beside_plain([273, 1103, 10_000], batch, rounds)
    for what, (ours, peer) in pairs.items():
        torch.testing.assert_close(ours(), peer(), rtol=2e-3, atol=1e-4)
        quick = max(1, round(0.01 / timed(ours, 3)()))
        taken = in_turns({"ours": timed(ours, quick), "peer": timed(peer, quick)}, rounds)
        yield Claim(f"{what}: peer's ÷ ours", ratio(taken["peer"], taken["ours"]), 1.0, "×", "more")
        yield from in_milliseconds(taken, f"  {what}: ")


if __name__ == "__main__":
    program(measure, __doc__, rounds=11, batch=256)
