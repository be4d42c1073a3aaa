"""A step of training on cached features, against a hand-written loop of the same maths; and what the hierarchy costs.

    python tests/bench/bench_step.py [--rounds 5] [--steps 200]

100 leaves under 30 families under 8 orders, 512-wide features, batches of 128, as `hierfit fit` runs them: with its
loggers, callbacks and schedule. The loop beside it calls the same modules, loss, optimiser, schedule and loader.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from harness import Claim, in_turns, ratio, report, spread
from toy import bare_way, lightning_way, skewed_tree, write_bundle

METHODS = {
    "linear probe": ["--model=LinearProbe"],
    "LatHAdapter, λ=0": ["--model=LatHAdapter", "--model.hierarchy_weight=0"],
    "LatHAdapter": ["--model=LatHAdapter"],
}


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        data = write_bundle(Path(name), skewed_tree([8, 30, 100]))
        ways = {}
        for method, keys in METHODS.items():
            ways[method] = lightning_way([*data, *keys], options.steps)
            ways[f"{method}, by hand"] = bare_way([*data, *keys], options.steps)
        taken = in_turns(ways, options.rounds)
    claims = [
        Claim(
            f"step on cached features ÷ hand-written loop: {method}",
            ratio(taken[method], taken[f"{method}, by hand"]),
            1.15,
        )
        for method in METHODS
    ]
    regulariser = ratio(taken["LatHAdapter"], taken["LatHAdapter, λ=0"])
    claims.append(Claim("LatHAdapter's step with its regulariser ÷ without", regulariser, 2.0))
    pairs = zip(taken["linear probe"], taken["linear probe, by hand"], strict=True)
    added = spread([1e3 * (lightning - bare) for lightning, bare in pairs])
    claims.append(Claim("  what Lightning and hierfit's callbacks add to a step", added, unit="ms"))
    claims += [Claim(f"  step: {way}", spread([1e3 * t for t in times]), unit="ms") for way, times in taken.items()]
    return report(claims)


if __name__ == "__main__":
    sys.exit(main())
