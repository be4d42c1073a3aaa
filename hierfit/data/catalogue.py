"""All data cards there are, in a short table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierfit.data.card import card_folders, load_card
from hierfit.data.cards_page import levels_text
from hierfit.errors import UserError

_WIDE = 100


def print_cards(console: Console | None = None) -> None:
    """Prints name, levels, images and licence of each card; a card of the same name in an earlier folder hides others.

    A card that cannot be used is listed with the reason.
    """
    console = console or Console()
    paths = {path.stem: path for folder in reversed(card_folders()) for path in sorted(folder.glob("*.yaml"))}
    licences = console.width >= _WIDE
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("card", overflow="fold", no_wrap=False)
    table.add_column("levels")
    table.add_column("images", justify="right", no_wrap=True)
    if licences:
        table.add_column("licence", ratio=1)
    faulty = []
    for name, path in sorted(paths.items()):
        try:
            card = load_card(str(path))
        except UserError as error:
            faulty.append(f"{path}: {(error.problems or (error.summary,))[0]}")
            continue
        counts = [split.images for split in card.splits.values()]
        images = str(sum(count or 0 for count in counts)) if any(counts) else "–"
        table.add_row(Text(name), Text(levels_text(card)), images, *([Text(card.licence)] if licences else []))
    console.print(table)
    for line in faulty:
        console.print(Text(f"cannot be used: {line}", "red"))
    console.print()
    console.print(Text("Cards are sought in: " + ", ".join(str(folder) for folder in card_folders()), "dim"))
    console.print(Text("A card for your own pictures: hierfit data new FOLDER", "dim"))
