"""Seconds to read large trees: ``python tests/bench/bench_taxonomy.py [--sizes 100000] [--formats newick]``.

The tree is as deep and as uneven as WordNet's: a parent is drawn among the nodes so far, early ones more often.
Figures are processor time of the whole way from the file to `Taxonomy` (detection, parsing, checks, index tensors),
medians of the rounds; beside them the doctor's.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hierfit.taxonomy import Taxonomy, doctor
from hierfit.taxonomy.build import Plan, from_links
from hierfit.taxonomy.readers import Reading, read_given, read_plan
from hierfit.taxonomy.writers import WRITERS

SUFFIXES = {"paths": "csv", "child-parent": "csv", "nested": "json", "node-link": "json", "newick": "nwk",
            "outline": "txt"}  # fmt: skip


def wordnet_like(size: int) -> Plan:
    """A tree of `size` nodes and about 17 levels."""
    rng = np.random.default_rng(0)
    parents = [-1, *(rng.random(size - 1) ** 2 * np.arange(1, size)).astype(int).tolist()]
    return from_links([f"n{i:08d}" for i in range(size)], parents, None)


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Processor time, median of the rounds."""
    spent = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


def main(sizes: list[int], formats: list[str], rounds: int) -> None:
    """Measures and prints."""
    for size in sizes:
        plan = wordnet_like(size)
        print(
            f"\n{size:,} nodes, {len(plan.levels)} levels: seconds\n  {'format':14}{'file':>9}{'read':>8}{'doctor':>9}"
        )
        with tempfile.TemporaryDirectory() as folder:
            for form in formats:
                path = Path(folder, f"tree.{SUFFIXES[form]}")
                path.write_text(WRITERS[form](plan))  # type: ignore[index]
                options = Reading(str(path))
                read = seconds(lambda options=options: Taxonomy.of_plan(read_plan(options)), rounds)  # type: ignore[misc]
                given = read_given(options)
                checked = seconds(lambda given=given: doctor.examine(given, list), 1)  # type: ignore[misc,arg-type]
                print(f"  {form:14}{path.stat().st_size / 2**20:6.1f} MB{read:8.2f}{checked:9.2f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--formats", nargs="+", default=list(WRITERS), choices=list(WRITERS))
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    main(options.sizes, options.formats, options.rounds)
