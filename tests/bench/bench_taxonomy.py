"""Seconds to read large trees: ``python tests/bench/bench_taxonomy.py [--sizes 100000] [--formats newick]``.

The tree is as deep and as uneven as WordNet's: a parent is drawn among the nodes so far, early ones more often.
Figures are processor time of the whole way from the file to `Taxonomy` (detection, parsing, checks, index tensors);
beside them the doctor's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from harness import Claim, in_turns, program, timed

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


def measure(sizes: list[int], formats: list[str], rounds: int) -> Iterator[Claim]:
    """Every format at every size."""
    for size in sizes:
        plan = wordnet_like(size)
        for form in formats:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, f"tree.{SUFFIXES[form]}")
                path.write_text(WRITERS[form](plan))  # type: ignore[index]
                options = Reading(str(path))
                given = read_given(options)
                taken = in_turns(
                    {
                        "read": timed(lambda options=options: Taxonomy.of_plan(read_plan(options))),  # type: ignore[misc]
                        "doctor": timed(lambda given=given: doctor.examine(given, list)),  # type: ignore[misc]
                    },
                    rounds,
                    warmup=0,
                )
                about = f"{size:,} nodes, {len(plan.levels)} levels, {form}, {path.stat().st_size / 2**20:.1f} MB"
            yield from (Claim(f"{about}: {way}", seconds, unit="s") for way, seconds in taken.items())


if __name__ == "__main__":
    program(measure, __doc__, sizes=[100_000, 1_000_000], formats=list(WRITERS), rounds=1)
