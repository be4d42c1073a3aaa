"""An audit as a page of the terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierfit.atomic import whole_file
from hierfit.data.table import level_text
from hierfit.tools.check.result import Audit
from hierfit.tools.lines import counted, print_hanging

FORMAT = "hierfit.check/1"


def print_audit(audit: Audit, console: Console | None = None) -> None:
    """Prints what is there, then what is wrong with it, what may be, and what is good to know."""
    console = console or Console()
    card = audit.card
    root = f" in {audit.root}" if audit.root else ""
    console.print(Text(f"{card.title} (card {card.name}, version {card.version}){root}", "bold"))
    console.print(Text("levels: " + level_text(card.levels)))
    if audit.splits:
        console.print()
        console.print(_split_table(audit))
    if audit.looked_at:
        console.print()
        pace = audit.looked_at / max(audit.seconds, 1e-9)
        console.print(Text(f"{audit.looked_at} pictures decoded in {audit.seconds:.1f} s ({pace:.0f} images/s)"))
        for kind, count in audit.kinds.items():
            console.print(Text(f"  {count} {kind}"))
        for side, (least, median, most) in audit.sizes.items():
            console.print(Text(f"  {side}: {least} … {most} pixels, median {median}"))
    _print_lines("problem", audit.problems, "red", console)
    _print_lines("warning", audit.warnings, "yellow", console)
    _print_lines("note", audit.notes, "dim", console)
    console.print()
    if audit.problems:
        hint = "Mend the data, or copy the card and state what you have."
        console.print(Text(f"Not as it should be: {counted(len(audit.problems), 'problem')}. {hint}", "bold red"))
    else:
        console.print(Text(f"The data are as {card.path.name} says.", "bold green"))


def write_audit(audit: Audit, path: Path) -> None:
    """Writes everything found, lists in full, as one JSON file."""
    card = audit.card
    facts = {
        "format": FORMAT,
        "ok": not audit.problems,
        "card": {"name": card.name, "version": card.version, "fingerprint": card.fingerprint},
        "root": audit.root,
        "problems": audit.problems,
        "warnings": audit.warnings,
        "notes": audit.notes,
        "splits": {name: asdict(labels) for name, labels in audit.splits.items()},
        "pictures": {
            "decoded": audit.looked_at,
            "seconds": round(audit.seconds, 3),
            "kinds": audit.kinds,
            "sizes": {side: dict(zip(("least", "median", "most"), v, strict=True)) for side, v in audit.sizes.items()},
            "unreadable": audit.unreadable,
        },
        "duplicates": {
            "exact": audit.exact,
            "near": [{"a": a, "b": b, "bits": bits} for a, b, bits in audit.near],
        },
    }
    with whole_file(path) as draft:
        draft.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _split_table(audit: Audit) -> Table:
    tree, splits = audit.taxonomy, audit.splits
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", overflow="fold")
    for name in splits:
        table.add_column(name, justify="right", overflow="fold")
    labels = list(splits.values())
    table.add_row("images", *(str(x.images) for x in labels))
    table.add_row(f"leaves with images, of {tree.num_leaves if tree else 0}", *(str(x.leaves) for x in labels))
    for name, of in (("fewest", "fewest"), ("median", "median"), ("most", "most")):
        table.add_row(f"images a leaf, {name}", *(f"{getattr(x, of):g}" for x in labels))
    for level in audit.card.levels:
        if any(level in x.partial for x in labels):
            table.add_row(f"labelled at {level} only", *(str(x.partial.get(level, 0)) for x in labels))
    return table


def _print_lines(kind: str, lines: Sequence[str], style: str, console: Console) -> None:
    if not lines:
        return
    console.print()
    console.print(Text(counted(len(lines), kind), f"bold {style}"))
    for line in lines:
        print_hanging(console, line, style, 2, "- ")
