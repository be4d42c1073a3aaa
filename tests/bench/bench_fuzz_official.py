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

from hierfit.data.card import load_card
from hierfit.data.table import read_table
from tests.unit.data.miniature import Miniature, miniature

SETS = (
    *("cub200", "fgvc_aircraft", "oxford_pets", "food101", "ucf101", "stanford_cars", "oxford_flowers", "dtd_coop"),
    *("inat2021", "butterfly200", "sun397", "sun397_tree", "breeds_living17", "cifar100"),
)
_TOKENS = (b"\n", b" ", b"0", b"-1", b"../", b"\xff", b"\0", b'"', b",", b"[", b"{}", b"null", b"9" * 20, b"\t", b"/")


def damaged(raw: bytes, chance: random.Random) -> bytes:
    """Some bytes flipped, put in, taken out or repeated; lines shuffled or lost."""
    data = bytearray(raw)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0 if data:
                data[place % len(data)] ^= 1 << chance.randrange(8)
            case 1:
                data[place:place] = chance.choice(_TOKENS)
            case 2:
                del data[place : place + chance.randint(1, 20)]
            case 3:
                del data[place:]
            case 4:
                data[place:place] = data[max(0, place - 40) : place]
            case 5:
                lines = bytes(data).split(b"\n")
                chance.shuffle(lines)
                data = bytearray(b"\n".join(lines[chance.randrange(2) :]))
    return bytes(data)


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
        path.write_bytes(raw if sound else damaged(raw, rng))

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
