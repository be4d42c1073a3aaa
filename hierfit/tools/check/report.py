"""An audit as a page of the terminal, and as JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierfit.atomic import whole_file
from hierfit.backbone.source import REAL
from hierfit.config.named import CARDS
from hierfit.data.samples import level_text
from hierfit.streams import print_hanging, program
from hierfit.taxonomy.checks import counted
from hierfit.tools.check.audit import SHOTS, Audit


def print_audit(audit: Audit, console: Console | None = None) -> None:
    """Prints what is there, then what is wrong with it, what may be, and what is good to know."""
    console = console or Console()
    card, seen = audit.card, audit.pictures
    title = "Card" if card.title.replace(" ", "_") == card.name else f"{card.title}: card"
    console.print(Text(f"{title} {card.name}, version {card.version}", "bold"))
    if audit.root:
        console.print(Text(f"data: {audit.root}"), soft_wrap=True)
    console.print(Text("levels: " + level_text(card.levels)))
    if card.checked:
        print_hanging(console, f"class names checked: {card.checked}", "", 0)
    if audit.splits:
        console.print("", _split_table(audit), sep="\n")
    if seen is not None:
        pace = len(seen.keys) / max(audit.seconds, 1e-9)
        lines = [f"\n{counted(len(seen.keys), 'picture')} decoded in {audit.seconds:.1f} s ({pace:.0f} images/s)"]
        lines += [f"  {count} {kind}" for kind, count in audit.kinds.items()]
        lines += [f"  {side}: {least} … {most} pixels, median {median}"
                  for side, (least, median, most) in audit.sizes.items()]  # fmt: skip
        console.print(Text("\n".join(lines)))
    found = {"problem": (audit.problems, "red"), "warning": (audit.warnings, "yellow"), "note": (audit.notes, "dim")}
    for kind, (lines, style) in found.items():
        if lines:
            console.print(Text(f"\n{counted(len(lines), kind)}", f"bold {style}"))
        for line in lines:
            print_hanging(console, line, style, 2, "- ")


def _split_table(audit: Audit) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", overflow="fold")
    for name in audit.splits:
        table.add_column(name, justify="right", overflow="fold")
    labels = list(audit.splits.values())
    leaves = audit.taxonomy.num_leaves if audit.taxonomy else 0
    rows = {
        "images": [x.images for x in labels],
        f"leaves with images, of {leaves}": [x.leaves for x in labels],
        **{f"images a leaf, {of}": [getattr(x, of) for x in labels] for of in ("fewest", "median", "most")},
        **{f"labelled at {level} only": [x.partial.get(level, 0) for x in labels] for level in audit.card.levels
           if any(level in x.partial for x in labels)},
    }  # fmt: skip
    for what, counts in rows.items():
        table.add_row(what, *(f"{count:.15g}" for count in counts))
    return table


def print_verdict(audit: Audit) -> None:
    """Prints whether the data are as their card says."""
    console, file = Console(), audit.card.path.name
    console.print()
    if audit.problems:
        text = f"The data are not as {file} says: {counted(len(audit.problems), 'problem')}. {audit.advice}"
        print_hanging(console, text, "bold red", 0)
        return
    text = f"Labels and counts are as {file} says; the pictures were not looked at." if audit.passed_by else (
        f"The data are as {file} says.")  # fmt: skip
    print_hanging(console, text, "bold green", 0)
    if "train" in audit.splits:
        print_next(console, [fit_command(audit, audit.card.path)])


def typed_name(card: Path) -> str:
    """What to type for a card: its name where it is found by that, else its path."""
    found = CARDS.files().get(card.stem)
    return shlex.quote(card.stem if found and found.resolve() == card.resolve() else str(card))


def fit_command(audit: Audit, card: Path) -> str:
    """What to type to train on a data set, with a real tower where its pictures are neither drawn nor features."""
    of_features = audit.card.is_drawn or (audit.pictures is None and not audit.passed_by)
    tower = "" if of_features else f" --data.backbone {REAL}"
    train = audit.splits.get("train")  # a file of features may have ready draws instead
    few = " --data.shots_policy all" if train and 0 < train.fewest < SHOTS else ""
    return f"fit lathadapter_fewshot --data.card {typed_name(card)}{tower}{few}"


def print_next(console: Console, commands: Sequence[str]) -> None:
    """What to type next."""
    console.print("\nNext:")
    for command in commands:
        console.print(Text(f"  {program()} {command}"), soft_wrap=True)


def write_audit(audit: Audit, path: Path) -> None:
    """Writes everything found, lists in full, as one JSON file."""
    card = audit.card
    facts = {
        "format": "hierfit.check/1",
        "ok": not audit.problems,
        "card": {"name": card.name, "version": card.version, "fingerprint": card.fingerprint},
        "root": audit.root,
        "problems": audit.problems,
        "warnings": audit.warnings,
        "notes": audit.notes,
        "splits": {name: asdict(labels) for name, labels in audit.splits.items()},
        "pictures": {
            "decoded": 0 if audit.pictures is None else len(audit.pictures.keys),
            "seconds": round(audit.seconds, 3),
            "kinds": audit.kinds,
            "sizes": {side: dict(zip(("least", "median", "most"), v, strict=True)) for side, v in audit.sizes.items()},
            "unreadable": dict(audit.unreadable),
        },
        "duplicates": {
            "exact": audit.exact,
            "near": [{"a": a, "b": b, "bits": bits} for a, b, bits in audit.near],
        },
    }
    with whole_file(path) as draft:
        draft.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
