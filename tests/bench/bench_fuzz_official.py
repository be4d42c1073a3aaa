"""Damages the files that data sets are described by, and reads them: nothing but a `UserError` may come of it.

    python tests/bench/bench_fuzz_official.py [--cases 1000] [--seed 0]

Those that are read all the same: damage may lie where nothing is read, such as in a pixel.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))
from fuzzing import Attempt, Attempts, Reader, main
from hostile import damaged

from hierfit.data.card import load_card
from hierfit.data.table import read_table
from tests.unit.data.miniature import Miniature, miniature

SETS = (
    *("cub200", "fgvc_aircraft", "oxford_pets", "food101", "ucf101", "stanford_cars", "oxford_flowers", "dtd_coop"),
    *("inat2021", "butterfly200", "sun397", "sun397_tree", "breeds_living17", "cifar100"),
)


def official(folder: Path) -> Attempts:
    """Damages one of the files that describe a small copy of a data set."""
    copies: dict[str, Miniature] = {}

    def attempt(rng: random.Random) -> Attempt:
        name = rng.choice(SETS)
        if name not in copies:
            copies[name] = miniature(name, folder / name)
        copy = copies[name]
        files = sorted(p for p in copy.root.rglob("*") if p.is_file() and p.suffix.lower() not in (".jpg", ".jpeg"))
        files = files or [Path(copy.card).with_suffix(".csv")]
        path = rng.choice(files)
        raw = path.read_bytes()
        sound = rng.random() < 0.05
        content = raw
        for _ in range(0 if sound else rng.randint(1, 4)):
            _, content = damaged(content, rng)
        path.write_bytes(content)

        def read() -> None:
            try:
                read_table(load_card(copy.card), copy.root)
            finally:
                path.write_bytes(raw)

        return "none" if sound else name, read

    return attempt


READERS = [Reader("data: official sets", official, 0.5)]

if __name__ == "__main__":
    main(READERS, __doc__)
