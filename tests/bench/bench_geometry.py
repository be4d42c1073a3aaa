"""All pairwise hyperbolic distances, 256 × 1000 points of 512 dimensions, against geoopt's by broadcasting.

python tests/bench/bench_geometry.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import sys

import torch
from harness import Claim, in_turns, peak_bytes, ratio, report, spread, timed

from hierfit.geometry import Space
from hierfit.geometry.manifold import geoopt

N, K, WIDTH = 256, 1000, 512


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    space = Space("poincare", 1.0)
    generator = torch.Generator().manual_seed(0)
    x, y = (space.embed(0.04 * torch.randn(n, WIDTH, generator=generator)) for n in (N, K))
    ball = geoopt.PoincareBall(c=1.0)

    def ours() -> torch.Tensor:
        return space.pairwise_distance(x, y)

    def theirs() -> torch.Tensor:
        return ball.dist(x[:, None], y[None])

    torch.testing.assert_close(ours(), theirs(), rtol=1e-3, atol=1e-3)
    taken = in_turns({"ours": timed(ours, 20), "geoopt": timed(theirs)}, options.rounds)
    memory = {"ours": peak_bytes(ours), "geoopt": peak_bytes(theirs)}
    leaner = memory["geoopt"] / memory["ours"]
    size = f"{N}×{K}×{WIDTH}"
    return report(
        [
            Claim(
                f"hyperbolic distances {size}: geoopt ÷ ours, time",
                ratio(taken["geoopt"], taken["ours"]),
                100,
                "×",
                "more",
            ),
            Claim(f"hyperbolic distances {size}: geoopt ÷ ours, memory", spread([leaner]), 100, "×", "more"),
            *(
                Claim(f"  distances: {name}", spread([1e3 * t for t in times]), unit="ms")
                for name, times in taken.items()
            ),
            *(Claim(f"  distances: {name}", spread([b / 2**20]), unit="MiB") for name, b in memory.items()),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
