"""Data cards: a table of them, their page, pictures of a drawn one, and what each node becomes for a text tower."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierfit.backbone.loading import load_text
from hierfit.config.named import CARDS
from hierfit.data.card import DataCard, load_card
from hierfit.data.samples import SPLITS, level_text
from hierfit.data.table import read_table
from hierfit.errors import UserError, nearest
from hierfit.streams import print_hanging
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.checks import counted

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


def print_cards() -> None:
    """Prints name, levels, images and licence of each card; a card of the same name in an earlier folder hides others.

    A card that cannot be used is listed with the reason.
    """
    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("card", overflow="fold")
    table.add_column("levels")
    table.add_column("images", justify="right", no_wrap=True)
    if console.width >= 100:
        table.add_column("licence", ratio=1)
    faulty = []
    for name, path in CARDS.files().items():
        try:
            card = load_card(str(path))
        except UserError as error:
            faulty.append(f"cannot be used: {path}: {(error.problems or (error.summary,))[0]}")
            continue
        images = sum(split.images or 0 for split in card.splits.values())
        row = (name, levels_text(card), str(images or "–"), card.licence)
        table.add_row(*map(Text, row[: len(table.columns)]))
    console.print(table)
    for line in faulty:
        console.print(Text(line, "red"))
    console.print(Text("\nCards are sought in: " + ", ".join(map(str, CARDS.folders())), "dim"))
    console.print(Text("A card for your own pictures: hierfit data new FOLDER", "dim"))


def cards_page(folder: Path) -> str:
    """The page of all cards of a folder; raises `UserError` when one cannot be used."""
    cards = [load_card(str(path)) for path in sorted(folder.glob("*.yaml"))]
    rows = [f"| [{x.name}](#{x.name}) | {levels_text(x)} | {_images_of(x)} | {x.licence} |" for x in cards]
    head = ["| card | levels, coarse to fine | images: train / val / test | licence |", "|---|---|---|---|"]
    return _HEAD + "\n".join([*head, *rows, *map(_section, cards)])


def levels_text(card: DataCard) -> str:
    """``order 13, family 38, species 200``; many levels by the first and the last, and the number of classes."""
    if len(card.levels) <= 7:
        return level_text(card.levels)
    classes = next((f", {split.leaves} classes" for split in card.splits.values() if split.leaves), "")
    return f"{next(iter(card.levels))} … {list(card.levels)[-1]}{classes}"


def _images_of(card: DataCard) -> str:
    """Images of the three splits, ``?`` where the card states none; ready draws are named after them."""
    options = card.layout.options
    if card.is_drawn:
        return " / ".join(str(count * options["guide"].taxonomy.num_leaves) for count in options["per_leaf"].values())
    if card.layout.name == "class_folders":
        return " / ".join(f"{share:.0%}" for share in options["shares"].values())
    found = {name: str(split.images or "?") for name, split in card.splits.items()}
    draws = ", ".join(name for name in found if name not in SPLITS)
    return " / ".join(found.get(name, "–") for name in SPLITS) + (f" ({draws})" if draws else "")


def _section(card: DataCard) -> str:
    parts = [f"\n## {card.name}\n", f"{card.title}. {card.citation}\n", f"Get it: {card.obtain}\n"]
    if card.expects:
        parts += ["`data.root` holds:\n", *(f"    {line}" for line in card.expects.rstrip().splitlines()), ""]
    if card.checked:
        parts.append(f"Class names checked: {card.checked}.\n")
    if card.known_faults:
        parts += ["Known faults:\n", *(f"- {fault}" for fault in card.known_faults), ""]
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
    tree, keys, images = table.taxonomy, table.splits["test"].keys, table.images
    if count > len(keys):
        raise UserError(f"{card.name} has {len(keys)} test pictures, not {count}.")
    of_leaf: dict[str, list[str]] = {}
    for key in keys:
        of_leaf.setdefault(key.split("/")[1], []).append(key)
    leaves = list(of_leaf)
    assert images is not None
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for number in range(count):
        turn, place = divmod(number, len(leaves))
        leaf = leaves[place * len(leaves) // min(len(leaves), count - turn * len(leaves))]
        name = re.sub(r"\W+", "-", tree.names[int(tree.leaves[int(leaf)])]).strip("-")
        written.append(out / f"{name}-{int(leaf):02}-{turn + 1}.png")
        images.load(of_leaf[leaf][turn]).save(written[-1])
    return written


def print_prompts(
    card: DataCard, tree: Taxonomy, backbone: str, level: str | None = None, node: str | None = None
) -> None:
    """Prints the texts of the nodes of a level, or of one node and those below it, or of all.

    Raises:
        UserError: There is no such level or node; or the prompts or the backbone cannot be used.
    """
    if level is not None and level not in tree.levels:
        raise UserError(f"--level: there is no level {level!r}{nearest(level, tree.levels)}")
    top = None if node is None else tree.find(node)
    prompts, tokenizer, console = card.prompts(tree), load_text(backbone), Console()
    room, added = tokenizer.context_length, "ancestors added to an ambiguous name"
    alike, bare = set(prompts.alike), {v for nodes in prompts.missing.values() for v in nodes}
    paths = tree.paths(torch.arange(tree.num_nodes)).tolist()
    flagged: Counter[str] = Counter()
    shown = texts = longest = 0
    for depth, name in enumerate(tree.levels):
        group = [v for v in range(tree.num_nodes) if int(tree.level[v]) == depth and (top is None or top in paths[v])]
        if not group or level not in (None, name):
            continue
        console.print(Text(f"{name} ({len(group)})", "bold"))
        for v in group:
            lengths = tokenizer.lengths(prompts.texts[v])
            cut = sum(length > room for length in lengths)
            flags = {
                "texts cut": (cut, f"{cut} of {len(lengths)} texts longer than {room} tokens: the end is cut"),
                added: (prompts.added[v] and v not in alike, "ambiguous name: ancestors added"),
                "reads like another node": (v in alike, "reads like another node"),
                "no description": (v in bare, "no description"),
            }
            print_hanging(console, tree.full_name(v, " / "))
            for kind, (holds, flag) in flags.items():
                if holds:
                    flagged[kind] += 1
                    print_hanging(console, flag, "yellow", 4, "! ")
            for text, length in zip(prompts.texts[v], lengths, strict=True):
                print_hanging(console, text, "yellow" if length > room else "", 4, f"{length:>3}  ")
            texts, longest = texts + len(lengths), max([longest, *lengths])
        shown += len(group)
        console.print()
    nodes = f"{counted(shown, 'node')}, {counted(texts, 'text')}."
    console.print(Text(f"{nodes} Tokens by backbone {backbone}: at most {longest} of {room}."))
    for kind, count in flagged.items():
        console.print(Text(f"{counted(count, 'node')}: {kind}", "yellow"))
