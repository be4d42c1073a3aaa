"""How time and memory grow with leaves, nodes and images: slopes in log-log, over the last step between two sizes.

    python tests/bench/bench_growth.py [--leaves 10000 100000] [--nodes 100000 1000000] [--images 10000 100000]

1 is in proportion. Time is processor time of one thread, memory the most that torch holds beyond what was there. A
training step reads 16 samples, a metric 32; TreeGDA two images of 32 numbers a leaf. Trees have three levels, with
families as uneven as nature's; those of ``--nodes`` some 17, as WordNet has. One size alone leaves an axis out.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import torch
from bench_taxonomy import wordnet_like
from harness import ROOT, Claim, peak_bytes, program, timed
from torch.nn import functional as F
from toy import skewed_tree

from hierfit.closed import Statistics, fit_tree
from hierfit.decoding import DECODERS, Calibration, belief, calibrate
from hierfit.decoding.belief import BELIEF_DECODERS
from hierfit.losses.objective import LOSSES
from hierfit.metrics import hierarchy_metrics
from hierfit.metrics.collection import score_metrics
from hierfit.metrics.served import batches_of, score
from hierfit.report.command import report
from hierfit.taxonomy import Taxonomy, doctor
from hierfit.taxonomy.readers import Reading, read_given, read_plan
from hierfit.taxonomy.writers import WRITERS

Ways = Mapping[str, Callable[[], object]]
MOST = 1.15  # exponent: a hundred times as much takes two hundred times as long at most


def by_leaves(leaves: int) -> Ways:
    """All that reads logits, and a closed form, on a tree of so many leaves."""
    tree = skewed_tree([max(2, leaves // 50), max(4, leaves // 8), leaves])
    logits = torch.randn(32, tree.num_nodes)
    paths = tree.leaf_paths[torch.randint(leaves, (32,))]
    few = logits[:16].clone().requires_grad_()
    features = F.normalize(torch.randn(2 * leaves, 32), dim=1)
    labels = torch.arange(leaves).repeat(2)
    nodes = belief(logits, tree, Calibration("rollup")).nodes
    of_paths, of_scores = hierarchy_metrics(tree), score_metrics(tree)

    def step(name: str) -> None:
        few.grad = None
        LOSSES.find(name)(few, paths[:16], tree).backward()

    return {
        **{f"loss {name}": lambda name=name: step(name) for name in LOSSES},  # type: ignore[misc]
        **{f"decoder {name}": lambda name=name: DECODERS[name](logits, tree) for name in DECODERS},  # type: ignore[misc]
        "decoder bayes": lambda: BELIEF_DECODERS["bayes"](nodes, tree),
        "belief by best path": lambda: belief(logits, tree, Calibration()),
        "metrics of paths": lambda: of_paths.update(paths.flip(0), paths),
        "metrics of scores": lambda: of_scores.update(logits, paths),
        "TreeGDA": lambda: fit_tree(Statistics.of(features, labels, leaves), tree),
    }


def by_nodes(nodes: int) -> Ways:
    """A table of children and parents read, and looked over."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tree.csv")
        path.write_text(WRITERS["child-parent"](wordnet_like(nodes)))
        options = Reading(str(path))
        given, plan = read_given(options), read_plan(options)
    return {"Taxonomy of a plan": lambda: Taxonomy.of_plan(plan), "doctor": lambda: doctor.examine(given, list)}


def by_images(images: int) -> Ways:
    """What a result card says of so many test images, a belief fitted on as many, and the page of a report."""
    sys.path.append(str(ROOT))
    from tests.unit.report.conftest import write_run

    tree = skewed_tree([8, 30, 100])
    paths = tree.leaf_paths[torch.randint(100, (images,))]
    logits = torch.randn(images, tree.num_nodes)
    run = Path(tempfile.mkdtemp(), "run")
    write_run(run, logits, paths, tree=tree)

    def page() -> None:
        with redirect_stdout(StringIO()):
            report([run])

    return {
        "result card of logits": lambda: score(batches_of(logits, paths), tree, Calibration()),
        "calibration": lambda: calibrate(logits, paths, tree),
        "report": page,
    }


def measured(ways: Ways) -> dict[str, tuple[float, int]]:
    """Seconds and bytes of each way; the first call is not counted."""
    found = {}
    for name, way in ways.items():
        way()
        repeats = min(20, math.ceil(0.02 / max(1e-6, timed(way)())))
        found[name] = min(timed(way, repeats)() for _ in range(2)), peak_bytes(way)
        print(f"{name}: {1e3 * found[name][0]:.2f} ms, {found[name][1] / 2**20:.1f} MiB", flush=True)
    return found


def claims(axis: str, sizes: list[int], make: Callable[[int], Ways]) -> Iterator[Claim]:
    """Exponents by what is on the axis."""
    taken = [measured(make(size)) for size in sizes]
    decades = math.log(sizes[-1] / sizes[-2])
    for name, (seconds, held) in taken[-1].items():
        before, held_before = taken[-2][name]
        at = f"{name}, {sizes[-2]:,} to {sizes[-1]:,} {axis}"
        yield Claim(f"{at}: exponent of time", [math.log(seconds / before) / decades], MOST, "")
        if held > 2**20 and held_before:
            yield Claim(f"{at}: exponent of memory", [math.log(held / held_before) / decades], MOST, "")
        yield Claim(f"  {name}, {sizes[-1]:,} {axis}", [1e3 * seconds], unit="ms")
        yield Claim(f"  {name}, {sizes[-1]:,} {axis}", [held / 2**20], unit="MiB")


def measure(leaves: list[int], nodes: list[int], images: list[int]) -> Iterator[Claim]:
    """Along every axis of more than one size."""
    axes = {"leaves": (leaves, by_leaves), "nodes": (nodes, by_nodes), "images": (images, by_images)}
    for axis, (sizes, make) in axes.items():
        if len(sizes) > 1:
            yield from claims(axis, sizes, make)


if __name__ == "__main__":
    program(measure, __doc__, leaves=[2000, 20_000], nodes=[3000, 30_000], images=[1000, 10_000])
