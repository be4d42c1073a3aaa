"""Damages the files that data sets are described by, and reads them: nothing but a `UserError` may come of it.

    python -m tests.bench.fuzz_official [MUTATIONS A SET] [SEED]

Prints how many damaged sets were refused, and how many read: damage may lie where nothing is read, such as in a pixel.
"""

from __future__ import annotations

import random
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

from hierfit.data.card import load_card
from hierfit.data.table import read_table
from hierfit.errors import UserError
from tests.unit.data.miniature import miniature

SETS = (
    *("cub200", "fgvc_aircraft", "oxford_pets", "food101", "ucf101", "stanford_cars", "oxford_flowers", "dtd_coop"),
    *("inat2021", "butterfly200", "sun397", "sun397_tree", "imagenet", "imagenet_v2", "breeds_living17", "cifar100"),
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


def fuzz(name: str, folder: Path, mutations: int, seed: int) -> Counter[str]:
    """How many mutations of a miniature copy were refused, read, and crashed."""
    chance, counts = random.Random(f"{name} {seed}"), Counter[str]()
    copy = miniature(name, folder)
    card = load_card(copy.card)
    files = sorted(p for p in copy.root.rglob("*") if p.is_file() and p.suffix.lower() not in (".jpg", ".jpeg"))
    for _ in range(mutations):
        path = chance.choice(files)
        raw = path.read_bytes()
        path.write_bytes(damaged(raw, chance))
        try:
            read_table(card, copy.root)
            counts["read"] += 1
        except UserError:
            counts["refused"] += 1
        except Exception:
            counts["crashed"] += 1
            print(f"{name}: {path.name}\n{traceback.format_exc(limit=-4)}")
        path.write_bytes(raw)
    return counts


def main() -> None:
    """Fuzzes every set."""
    mutations, seed = (int(sys.argv[i]) if len(sys.argv) > i else (150, 0)[i - 1] for i in (1, 2))
    total = Counter[str]()
    for name in SETS:
        with tempfile.TemporaryDirectory() as folder:
            counts = fuzz(name, Path(folder), mutations, seed)
        print(f"{name:16}", dict(counts))
        total += counts
    print(f"{'all':16}", dict(total))


if __name__ == "__main__":
    main()
