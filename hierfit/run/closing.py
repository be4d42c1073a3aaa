"""What a run says last: where everything is, and what to do next."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from textwrap import wrap

from rich.console import Console
from rich.markup import escape

from hierfit.results.card import ResultCard

_INDENT = len("Run folder  ")


def shown(path: Path) -> str:
    """A path as one types it here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


_LEFT = (
    "config.yaml",
    "result.json",
    "metrics.csv",
    "test_logits.safetensors",
    "taxonomy.csv",
    "embeddings.safetensors",
    "predictor",
    "adapter",
    "checkpoints",
    "controls",
    "targets",
)


def program() -> str:
    """What to type to run hierfit here: its name, or its path where the name would not be found."""
    called = Path(sys.argv[0])
    return shown(called) if called.name == "hierfit" and shutil.which("hierfit") is None else "hierfit"


def print_closing(folder: Path, card: ResultCard, tracked: str | None = None, console: Console | None = None) -> None:
    """Prints the cost of a run, its folder, where it is at W&B if it is there, and the commands that use it."""
    console = console or Console()
    trained, total = card.parameters["trainable"], card.parameters["total"]
    where, called = escape(shown(folder)), escape(program())
    share = f" ({100.0 * trained / total:.2f} % of {total:,})" if total else ""
    left = " · ".join(name for name in _LEFT if (folder / name).exists())
    wrapped = wrap(left, max(console.width, 40) - _INDENT, break_long_words=False, break_on_hyphens=False)
    lines = [f"[bold]Run folder[/]  {where}", *(" " * _INDENT + line for line in wrapped)]
    if trained:
        cost = (
            f"{trained:,} trained parameters{share}, {card.cost['steps']} steps in {card.cost['train_seconds']:.0f} s"
        )
        lines = [f"{escape(card.row)}: {cost}", "", *lines]
    if tracked:
        lines.append(f"[bold]W&B[/]         {escape(tracked)}")
    lines += [
        f"[bold]Look[/]        {called} report {where}",
        f"[bold]Again[/]       {called} results {where}",
        f"[bold]Next[/]        {called} fit --config {where}/config.yaml --seed_everything {card.seed + 1} "
        f"--data.seed {card.seed + 1}",
    ]
    if (folder / "predictor").exists():
        lines.append(f"            {called} predict {where} IMAGE…")
    console.print()
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
