"""What each node of a tree becomes for a text tower, and what to look at before training on it."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from hierfit.backbone import node_prompts
from hierfit.backbone.loading import load_text
from hierfit.config.schema import nearest
from hierfit.data.card import DataCard
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.tools.printing import counted, print_hanging


@dataclass(frozen=True)
class Prompted:
    """A node and its texts.

    Attributes:
        node: Its id.
        texts: Its prompts.
        lengths: Tokens of each.
        flags: What to look at.
    """

    node: int
    texts: list[str]
    lengths: list[int]
    flags: list[str]


def prompts_of(card: DataCard, taxonomy: Taxonomy, backbone: str) -> tuple[list[Prompted], int]:
    """The texts of every node, and how many tokens the backbone reads.

    Raises:
        UserError: The prompts or the backbone cannot be used.
    """
    written = node_prompts(taxonomy, card.templates, card.descriptions)
    tokenizer = load_text(backbone)
    room = tokenizer.context_length
    alike, bare = set(written.alike), {v for nodes in written.described.missing.values() for v in nodes}
    lengths = iter(tokenizer.lengths([text for texts in written.texts for text in texts]))
    prompted = []
    for node, texts in enumerate(written.texts):
        own = [next(lengths) for _ in texts]
        flags = []
        if (cut := sum(length > room for length in own)) > 0:
            flags.append(f"{cut} of {len(own)} texts longer than {room} tokens: the end is cut")
        if written.added[node] and node not in alike:
            flags.append("ambiguous name: ancestors added")
        if node in alike:
            flags.append("reads like another node")
        if node in bare:
            flags.append("no description")
        prompted.append(Prompted(node, texts, own, flags))
    return prompted, room


def print_prompts(
    card: DataCard,
    taxonomy: Taxonomy,
    backbone: str,
    level: str | None = None,
    node: str | None = None,
    console: Console | None = None,
) -> None:
    """Prints the nodes of a level, or one node and those below it, or all.

    Raises:
        UserError: There is no such level or node; or as `prompts_of`.
    """
    if level is not None and level not in taxonomy.levels:
        raise UserError(f"--level: there is no level {level!r}{nearest(level, taxonomy.levels)}")
    top = None if node is None else taxonomy.find(node)
    prompted, room = prompts_of(card, taxonomy, backbone)
    paths = taxonomy.paths(taxonomy.leaves.new_tensor(range(taxonomy.num_nodes))).tolist()
    shown = [
        one
        for one in prompted
        if (level is None or taxonomy.levels[int(taxonomy.level[one.node])] == level)
        and (top is None or top in paths[one.node])
    ]
    console = console or Console()
    for name in taxonomy.levels:
        group = [one for one in shown if taxonomy.levels[int(taxonomy.level[one.node])] == name]
        if not group:
            continue
        console.print(Text(f"{name} ({len(group)})", "bold"))
        for one in group:
            print_hanging(console, taxonomy.full_name(one.node, " / "))
            for flag in one.flags:
                print_hanging(console, flag, "yellow", 4, "! ")
            for text, length in zip(one.texts, one.lengths, strict=True):
                style = "yellow" if length > room else ""
                print_hanging(console, text, style, 4, f"{length:>3}  ")
        console.print()
    texts = sum(len(one.texts) for one in shown)
    longest = max((length for one in shown for length in one.lengths), default=0)
    console.print(
        Text(f"{len(shown)} nodes, {texts} texts. Tokens by backbone {backbone}: at most {longest} of {room}.")
    )
    for flag, count in _flag_counts(shown):
        console.print(Text(f"{counted(count, 'node')}: {flag}", "yellow"))


def _flag_counts(shown: list[Prompted]) -> list[tuple[str, int]]:
    kinds = ("texts longer than", "ambiguous name", "reads like another node", "no description")
    counts = [(kind, sum(any(kind in flag for flag in one.flags) for one in shown)) for kind in kinds]
    said = {"texts longer than": "texts cut", "ambiguous name": "ancestors added to an ambiguous name"}
    return [(said.get(kind, kind), count) for kind, count in counts if count]
