"""What the commands on features print, fit to the width of the terminal."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from hierfit.data.bundle import Bundle
from hierfit.data.table import READY_DRAW, SPLITS
from hierfit.taxonomy import Taxonomy
from hierfit.tools.extract.assemble import Summary
from hierfit.tools.extract.gather import Features

_BLOCK = 1 << 16  # rows


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Names and values, these broken where the line ends."""
    grid = Table.grid(padding=(0, 2))
    for name, value in facts:
        grid.add_row(Text(name), Text(value))
    Console(highlight=False).print(grid)


def print_extracted(found: Summary, out: Path) -> None:
    """What an extraction has made; pictures that were passed over on stderr."""
    if found.bad:
        shown = [*found.shown, f"… and {found.bad - len(found.shown)} more"][: found.bad]
        print(
            f"{found.bad:,} pictures were passed over:", *(f"  - {line}" for line in shown), sep="\n", file=sys.stderr
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    images = ", ".join(f"{name} {count:,}" for name, count in found.images.items())
    print_facts([("images", images), ("tree", _tree(found.tree)), ("memory", f"{peak:.0f} MiB at most")])
    print(f"Written to {out}. Look at it:\n  hierfit features inspect {out}")


def print_bundle(bundle: Bundle) -> None:
    """What a bundle holds."""
    text = "of all nodes" if bundle.node_text is not None else "of the leaves" if bundle.text is not None else "none"
    facts = [
        ("backbone", bundle.backbone),
        ("logit scale", f"{bundle.logit_scale:g}"),
        ("tree", _tree(bundle.taxonomy)),
    ]
    facts += [("text", text), *([("note", bundle.note)] if bundle.note else [])]
    print_facts(facts)
    print()
    partly = any(bool((split.labels < 0).any()) for split in bundle.splits.values())
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("split")
    for name in ("images", "leaves", *(["coarser"] if partly else []), "lengths"):
        table.add_column(name, justify="right")
    for name, split in sorted(bundle.splits.items(), key=lambda item: _order(item[0])):
        known = split.labels[split.labels >= 0]
        coarser = [f"{len(split.labels) - len(known):,}"] if partly else []
        row = [f"{len(split.labels):,}", f"{len(known.unique()):,}", *coarser, _lengths(split.features)]
        table.add_row(name, *row)
    first = next(iter(bundle.splits.values())).features
    width = f"A feature has {first.shape[1]} numbers ({str(first.dtype).removeprefix('torch.')})."
    console = Console(highlight=False)
    console.print(table)
    console.print()
    console.print(width + (" Coarser: labelled above the leaves." if partly else ""))


def print_exported(out: Path, features: Features) -> None:
    """What was written, and how it is read."""
    splits = features.bundle.splits
    images = ", ".join(f"{name} {len(splits[name].labels):,}" for name in sorted(splits, key=_order))
    print_facts([("images", images), ("tree", _tree(features.bundle.taxonomy))])
    split = min(splits, key=_order)
    print(f"Written to {out}. To read it:")
    if out.suffix == ".npz":
        print(f"  numpy.load('{out}')['{split}.features']")
    elif out.suffix:
        print(f"  safetensors.numpy.load_file('{out}')['{split}.features']")
    else:
        print(f"  numpy.load('{out / split}.npy', mmap_mode='r')\n  pandas.read_csv('{out / split}.csv')")


def _tree(tree: Taxonomy) -> str:
    return ", ".join(f"{name} {size:,}" for name, size in zip(tree.levels, tree.level_sizes, strict=True))


def _order(split: str) -> tuple[int, int]:
    """Training first, small draws before large ones; then validation and test."""
    draw = READY_DRAW.fullmatch(split)
    return (0, int(draw[1])) if draw else (SPLITS.index(split), 0)


def _lengths(features: Tensor) -> str:
    """Least and largest, a block at a time: a whole split as float32 would be twice its size again."""
    blocks = [block.float().norm(dim=-1) for block in features.split(_BLOCK) if len(block)]
    if not blocks:
        return "–"
    low, high = min(float(b.min()) for b in blocks), max(float(b.max()) for b in blocks)
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
