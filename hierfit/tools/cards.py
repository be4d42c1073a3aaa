"""Data cards: a short table, ``data_cards/README.md`` as a page to read, and pictures of a drawn one as files."""

from __future__ import annotations

import re
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierfit.config.named import CARDS
from hierfit.data.card import DataCard, load_card
from hierfit.data.samples import level_text
from hierfit.data.table import read_table
from hierfit.errors import UserError

_MANY = 7  # levels
_WIDE = 100  # columns of a terminal

_HEAD = """\
# Data cards

<!-- made by: hierfit data list --markdown data_cards > data_cards/README.md -->

A card says what a data set is and how its files lie. hierfit downloads nothing: get the data where its card says, leave
the files as they were unpacked, and name the folder that holds them:

    hierfit data check cub200 --root ~/data/CUB_200_2011   # is everything there, and as the card says?
    make train EXP=lathadapter_fewshot ARGS="--data.card=cub200 --data.root=$HOME/data/CUB_200_2011"

A card whose counts differ from what you have (part of a set, another split) is copied, mended and named by its path:
`--data.card=my_cards/cub50.yaml`; `hierfit data new FOLDER` writes one for pictures of your own. Cards `…_coop` read
the splits of CoOp (Zhou et al. 2022), which most few-shot papers use; with `draws: 1` below `layout:` they take CoOp's
own few-shot draws of that seed from `split_fewshot/` too. Cards that hold a split `test` only are for `data.targets`.
Where sets lie side by side as CoOp's `DATASETS.md` says (`$DATA/oxford_pets/…`, `$DATA/imagenet/images/train/…`),
`data.root` may be `$DATA` for each of them.

"""


def print_cards(console: Console | None = None) -> None:
    """Prints name, levels, images and licence of each card; a card of the same name in an earlier folder hides others.

    A card that cannot be used is listed with the reason.
    """
    console = console or Console()
    licences = console.width >= _WIDE
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("card", overflow="fold", no_wrap=False)
    table.add_column("levels")
    table.add_column("images", justify="right", no_wrap=True)
    if licences:
        table.add_column("licence", ratio=1)
    faulty = []
    for name, path in CARDS.files().items():
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
    console.print(Text("Cards are sought in: " + ", ".join(str(folder) for folder in CARDS.folders()), "dim"))
    console.print(Text("A card for your own pictures: hierfit data new FOLDER", "dim"))


def cards_page(folder: Path) -> str:
    """The page of all cards of a folder; raises `UserError` when one cannot be used."""
    cards = [load_card(str(path)) for path in sorted(folder.glob("*.yaml"))]
    rows = [
        f"| [{card.name}](#{card.name}) | {levels_text(card)} | {_counts(card)} | {card.licence} |" for card in cards
    ]
    head = ["| card | levels, coarse to fine | images: train / val / test | licence |", "|---|---|---|---|"]
    return _HEAD + "\n".join([*head, *rows, *map(_section, cards)])


def levels_text(card: DataCard) -> str:
    """``order 13, family 38, species 200``; many levels by the first and the last, and the number of classes."""
    if len(card.levels) <= _MANY:
        return level_text(card.levels)
    classes = next((f", {split.leaves} classes" for split in card.splits.values() if split.leaves), "")
    return f"{next(iter(card.levels))} … {list(card.levels)[-1]}{classes}"


def _counts(card: DataCard) -> str:
    """Images of the three splits, ``?`` where the card states none; ready draws are named after them."""
    options = card.layout.options
    if card.is_drawn:
        leaves = options["guide"].taxonomy.num_leaves
        return " / ".join(str(count * leaves) for count in options["per_leaf"].values())
    if card.layout.name == "class_folders":
        return " / ".join(f"{share:.0%}" for share in options["shares"].values())
    found = {name: split.images for name, split in card.splits.items()}
    main = [str(found[name] or "?") if name in found else "–" for name in ("train", "val", "test")]
    draws = [name for name in found if name not in ("train", "val", "test")]
    return " / ".join(main) + (f" ({', '.join(draws)})" if draws else "")


def _section(card: DataCard) -> str:
    parts = [f"\n## {card.name}\n", f"{card.title}. {card.citation}\n", f"Get it: {card.obtain}\n"]
    if card.expects:
        parts.append(
            "\n".join(["`data.root` holds:\n", *(f"    {line}" for line in card.expects.rstrip().splitlines())]) + "\n"
        )
    if card.checked:
        parts.append(f"Class names checked: {card.checked}.\n")
    if card.known_faults:
        parts.append("Known faults:\n\n" + "\n".join(f"- {fault}" for fault in card.known_faults) + "\n")
    return "\n".join(parts)


def draw_pictures(card: DataCard, out: Path, count: int) -> list[Path]:
    """Writes the first test pictures of species spread over the tree, then the second ones, and so on.

    Returns:
        The files, ``<species>-<number>.png``, in a folder in which files of other names stay.

    Raises:
        UserError: The card's pictures are files already, or it has not so many.
    """
    if not card.is_drawn:
        raise UserError(f"{card.name} is not drawn: its pictures lie where you have put them.", hint=card.obtain)
    table = read_table(card, None)
    keys = table.splits["test"].keys
    if count > len(keys):
        raise UserError(f"{card.name} has {len(keys)} test pictures, not {count}.")
    of_leaf: dict[str, list[str]] = {}
    for key in keys:
        of_leaf.setdefault(key.split("/")[1], []).append(key)
    leaves = list(of_leaf)
    tree = table.taxonomy
    assert table.images is not None
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for number in range(count):
        turn, place = divmod(number, len(leaves))
        here = min(len(leaves), count - turn * len(leaves))
        leaf = leaves[place * len(leaves) // here]
        name = re.sub(r"\W+", "-", tree.names[int(tree.leaves[int(leaf)])]).strip("-")
        path = out / f"{name}-{int(leaf):02}-{turn + 1}.png"
        table.images.load(of_leaf[leaf][turn]).save(path)
        written.append(path)
    return written
