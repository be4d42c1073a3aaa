"""What the commands on features print, fit to the width of the terminal."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from hierfit.data.bundle import Bundle
from hierfit.data.samples import level_text, split_order
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.checks import counted
from hierfit.tools.extract.assemble import Extracted


def print_facts(facts: Mapping[str, str]) -> None:
    """Names and values, these broken where the line ends."""
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        grid.add_row(Text(name), Text(value))
    Console(highlight=False).print(grid)


def print_extracted(found: Extracted, out: Path) -> None:
    """What an extraction has made; pictures that were passed over on stderr."""
    if found.bad:
        what = counted(len(found.bad), "picture was", "pictures were")
        print(UserError(f"{what} passed over:", found.bad), file=sys.stderr)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print_facts({**_contents(found.images, found.tree), "memory": f"{peak:.0f} MiB at most"})
    print(f"Written to {out}. Look at it:\n  hierfit features inspect {out}")


def print_bundle(bundle: Bundle) -> None:
    """What a bundle holds."""
    text = "none" if bundle.text is None else "of the leaves"
    facts = {
        "backbone": bundle.backbone,
        "logit scale": f"{bundle.logit_scale:g}",
        "tree": _contents({}, bundle.taxonomy)["tree"],
        "text": text if bundle.node_text is None else "of all nodes",
    }
    print_facts({**facts, "note": bundle.note} if bundle.note else facts)
    partly = any(bool((split.labels < 0).any()) for split in bundle.splits.values())
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("split")
    for name in ("images", "leaves", *(["coarser"] if partly else []), "lengths"):
        table.add_column(name, justify="right")
    for name in sorted(bundle.splits, key=split_order):
        split = bundle.splits[name]
        known = split.labels[split.labels >= 0]
        coarser = [f"{len(split.labels) - len(known):,}"] if partly else []
        table.add_row(name, f"{len(split.labels):,}", f"{len(known.unique()):,}", *coarser, _lengths(split.features))
    first = next(iter(bundle.splits.values())).features
    width = f"A feature has {first.shape[1]} numbers ({str(first.dtype).removeprefix('torch.')})."
    console = Console(highlight=False)
    console.print()
    console.print(table)
    console.print()
    console.print(width + (" Coarser: labelled above the leaves." if partly else ""))


def print_exported(out: Path, bundle: Bundle) -> None:
    """What was written, and how it is read."""
    images = {name: len(bundle.splits[name].labels) for name in sorted(bundle.splits, key=split_order)}
    print_facts(_contents(images, bundle.taxonomy))
    split = next(iter(images))
    print(f"Written to {out}. To read it:")
    if out.suffix == ".npz":
        print(f"  numpy.load('{out}')['{split}.features']")
    elif out.suffix:
        print(f"  safetensors.numpy.load_file('{out}')['{split}.features']")
    else:
        print(f"  numpy.load('{out / split}.npy', mmap_mode='r')\n  pandas.read_csv('{out / split}.csv')")


def _contents(images: Mapping[str, int], tree: Taxonomy) -> dict[str, str]:
    levels = dict(zip(tree.levels, tree.level_sizes, strict=True))
    return {"images": level_text(images), "tree": level_text(levels)}


def _lengths(features: Tensor) -> str:
    """Least and largest, a block at a time: a whole split as float32 would be twice its size again."""
    norms = [block.float().norm(dim=-1) for block in features.split(1 << 16) if len(block)]
    if not norms:
        return "–"
    low, high = (f"{x:.3g}" for x in (min(float(n.min()) for n in norms), max(float(n.max()) for n in norms)))
    return low if low == high else f"{low} to {high}"
