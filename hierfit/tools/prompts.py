"""What each node of a tree becomes for a text tower, and what to look at before training on it."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.text import Text

from hierfit.backbone.loading import load_text
from hierfit.data.card import DataCard
from hierfit.errors import UserError, nearest
from hierfit.streams import print_hanging
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.checks import counted

_ADDED = "ancestors added to an ambiguous name"


def print_prompts(
    card: DataCard,
    tree: Taxonomy,
    backbone: str,
    level: str | None = None,
    node: str | None = None,
    console: Console | None = None,
) -> None:
    """Prints the texts of the nodes of a level, or of one node and those below it, or of all.

    Raises:
        UserError: There is no such level or node; or the prompts or the backbone cannot be used.
    """
    if level is not None and level not in tree.levels:
        raise UserError(f"--level: there is no level {level!r}{nearest(level, tree.levels)}")
    top = None if node is None else tree.find(node)
    prompts, tokenizer = card.prompts(tree), load_text(backbone)
    room, console = tokenizer.context_length, console or Console()
    alike, bare = set(prompts.alike), {v for nodes in prompts.missing.values() for v in nodes}
    paths = tree.paths(tree.leaves.new_tensor(range(tree.num_nodes))).tolist()
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
            flags = (
                ("texts cut", cut, f"{cut} of {len(lengths)} texts longer than {room} tokens: the end is cut"),
                (_ADDED, prompts.added[v] and v not in alike, "ambiguous name: ancestors added"),
                ("reads like another node", v in alike, "reads like another node"),
                ("no description", v in bare, "no description"),
            )
            print_hanging(console, tree.full_name(v, " / "))
            for kind, holds, flag in flags:
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
