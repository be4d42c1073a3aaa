"""Time and memory of every tree loss, forward and backward, against plain cross-entropy a level.

    python tests/bench/bench_losses.py [--batch 256] [--sizes 273 1103 10000] [--repeats 30] [--threads 1]

All contenders take turns in one process; figures are medians. On one CPU thread the time is processor time, so that
other programs on the machine do not count; otherwise it is wall time. The exit status is 1 when HiSCE + TP-KL take
more than 2.5 times plain cross-entropy. Memory is the peak of what a step allocates beyond logits and labels, the
gradient [B, N] included.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from harness import Claim, in_turns, peak_bytes, ratio, report, spread, timed
from torch import Tensor
from toy import skewed_tree

from hierfit.losses.objective import LOSSES, Objective
from hierfit.taxonomy import Taxonomy

BOUND = 2.5  # of HiSCE + TP-KL, in units of plain cross-entropy
MIB = 2**20


def plain(logits: Tensor, paths: Tensor, tree: Taxonomy) -> Tensor:
    """torch's own cross-entropy a level, on views from one split: the fastest plain form."""
    levels = zip(logits.split(tree.level_sizes, dim=1), paths.T, tree.level_slices, strict=True)
    return sum(F.cross_entropy(z, y - nodes.start) for z, y, nodes in levels) / tree.num_levels  # type: ignore[return-value]


def contenders(tree: Taxonomy) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    def step(spec: dict[str, float]) -> Callable[[Tensor, Tensor], Tensor]:
        objective = Objective(spec, tree)
        return lambda logits, paths: objective(logits, paths)["loss"]

    return {
        "plain cross-entropy a level": lambda logits, paths: plain(logits, paths, tree),
        "hisce + tp_kl": step({"hisce": 1.0, "tp_kl": 1.0}),
        **{name: step({name: 1.0}) for name in LOSSES},
        "all seven": step(dict.fromkeys(LOSSES, 1.0)),
    }


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--sizes", type=int, nargs="+", default=[273, 1103, 10_000], help="nodes of each level")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device(args.device)

    tree = skewed_tree(args.sizes).to(device)
    logits = (5 * torch.randn(args.batch, tree.num_nodes)).to(device).requires_grad_()
    paths = tree.leaf_paths[torch.randint(tree.num_leaves, (args.batch,)).to(device)]

    def stepper(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], None]:
        def step() -> None:
            logits.grad = None
            loss(logits, paths).backward()

        return step

    steps = {name: stepper(loss) for name, loss in contenders(tree).items()}
    times = in_turns({name: timed(step) for name, step in steps.items()}, args.repeats, warmup=3)
    logits.grad = None

    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {args.threads} thread(s)"
    widest = int(tree.num_children.max())
    print(f"{tree}, widest family {widest}; batch {args.batch}; {where}; {args.repeats} rounds")
    print(f"logits {logits.numel() * 4 / MIB:.1f} MiB")
    base = times["plain cross-entropy a level"]
    claims = [Claim("HiSCE + TP-KL ÷ plain cross-entropy a level", ratio(times["hisce + tp_kl"], base), BOUND)]
    for name, step in steps.items():
        step()  # allocate what is kept before memory is counted
        logits.grad = None
        claims.append(Claim(f"  {name}", spread([1e3 * t for t in times[name]]), unit="ms"))
        claims.append(Claim(f"  {name}", ratio(times[name], base)))
        claims.append(Claim(f"  {name}", spread([peak_bytes(step) / MIB]), unit="MiB"))
    return report(claims)


if __name__ == "__main__":
    sys.exit(main())
