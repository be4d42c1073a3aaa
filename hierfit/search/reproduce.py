"""``hierfit reproduce``: experiments and grids again, and whether they find what their files say."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierfit.errors import UserError
from hierfit.search.pool import prepare_workers

if TYPE_CHECKING:
    from hierfit.search.reproducible import Figure, Reproducible

_FOLDER = Path("experiments")
_BASE = "base.yaml"
_READING = "% on the test split; both ends of a range belong to it."


def reproduce(arguments: Sequence[str]) -> None:
    """Runs the command; exits with 1 when a figure lies outside its range, or an experiment fails.

    Raises:
        UserError: A file is at fault; nothing has been started.
    """
    options = _parser().parse_args(arguments)
    files = options.files or [
        *(path for path in sorted(_FOLDER.glob("*.yaml")) if path.name != _BASE),
        *sorted(_FOLDER.glob("grids/*.yaml")),
    ]
    if not files:
        raise UserError(f"There is no experiment in {_FOLDER}/.", hint="Run this from the repository, or name files.")
    roots = _roots(options.data_root)
    prepare_workers()  # from here on imports take seconds
    from hierfit.search.reproducible import read_files

    console = Console()
    found = read_files(files, roots)
    skipped = {str(each.file): why for each in found if (why := each.not_run(options.cheaper_than, options.seed))}
    chosen = [each for each in found if str(each.file) not in skipped]
    reruns = []
    for number, each in enumerate(chosen, 1):
        console.rule(f"{number}/{len(chosen)}: {each.name}, about {each.stated.minutes:g} min", style="dim")
        reruns.append(_rerun(each, options.seed, options.runs))
        skipped |= {f"{each.file}, {card}": why for card, why in each.lacking.items()}
    print_comparison(reruns, skipped, console)
    if not all(rerun.reproduced for rerun in reruns):
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hierfit reproduce",
        description="Run experiments and grids again that state what they found, and say whether they find it.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help=f"experiments and grids; default: all below {_FOLDER}/"
    )
    parser.add_argument(
        "--cheaper-than", type=float, default=3.0, metavar="MINUTES", help="skip what takes as long or longer (3)"
    )
    parser.add_argument("--seed", type=int, help="one of those measured; default: an experiment's first")
    parser.add_argument(
        "--data-root",
        action="append",
        default=[],
        metavar="CARD=PATH",
        help="where the data of a card lie; repeatable. What has no data is skipped, and said",
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/reproduce"), help="where runs lie (runs/reproduce)")
    return parser


def _roots(given: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    problems = [f"{text}: expected CARD=PATH" for text, pair in zip(given, pairs, strict=True) if not all(pair)]
    problems += [
        f"{card}: there is no {path}" for card, _, path in pairs if path and not Path(path).expanduser().exists()
    ]
    if problems:
        raise UserError("--data-root cannot be used.", problems)
    return {card: str(Path(path).expanduser()) for card, _, path in pairs}


@dataclass(frozen=True)
class Rerun:
    """What came of an experiment or grid: its figures, or why it has none."""

    of: Reproducible
    seed: int
    minutes: float
    figures: tuple[Figure, ...] = ()
    error: str = ""

    @property
    def reproduced(self) -> bool:
        """Whether it ran, and every figure lies in its range."""
        return not self.error and all(figure.inside for figure in self.figures)


def _rerun(each: Reproducible, seed: int | None, runs: Path) -> Rerun:
    """Runs one; what goes wrong ends no other."""
    seed = each.stated.seeds[0] if seed is None else seed
    started = time.monotonic()
    figures: tuple[Figure, ...] = ()
    error = ""
    try:
        figures = each.rerun(seed, runs)
    except UserError as mistake:
        error = str(mistake)
    except Exception as fault:
        traceback.print_exc()
        error = f"{type(fault).__name__}: {fault}"
    return Rerun(each, seed, (time.monotonic() - started) / 60, figures, error)


def print_comparison(reruns: Sequence[Rerun], skipped: Mapping[str, str], console: Console) -> None:
    """Prints every figure beside its range, what was skipped and why, and the count of it all."""
    console.rule(style="dim")
    for rerun in reruns:
        console.print()
        title = f"{rerun.of.name} · seed {rerun.seed} · {rerun.minutes:.1f} min"
        console.print(Text(f"{title} ({rerun.of.stated.minutes:g} stated)", "bold"))
        console.print(Text(f"failed: {rerun.error}", "red") if rerun.error else _table(rerun.figures))
    console.print()
    for file, why in skipped.items():
        console.print(Text(f"skipped: {file}: {why}", "dim"), soft_wrap=True)
    figures = [figure for rerun in reruns for figure in rerun.figures]
    inside, failed = sum(figure.inside for figure in figures), sum(bool(rerun.error) for rerun in reruns)
    counts = [f"{inside} inside", f"{len(figures) - inside} outside"]
    counts += [f"{failed} of {len(reruns)} experiments failed"] if failed else []
    counts += [f"{len(skipped)} skipped"] if skipped else []
    console.print(Text(f"{', '.join(counts)}. {_READING}" if reruns else "Nothing was run."), soft_wrap=True)


def _table(figures: Sequence[Figure]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", overflow="fold")
    for header in ("", "expected", "measured", ""):
        table.add_column(header, justify="right" if header else "left", no_wrap=True)
    for figure in figures:
        low, high = figure.expected
        measured = "–" if figure.measured is None else f"{figure.measured:.2f}"
        said = Text("inside", "green") if figure.inside else Text("outside", "red")
        table.add_row(Text(figure.row), figure.name, f"{low:.2f} – {high:.2f}", measured, said)
    return table
