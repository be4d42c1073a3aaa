"""``hierfit reproduce``: experiments and grids again, and whether they find what their files say."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierfit.config.command import Say
from hierfit.config.named import EXPERIMENTS, GRIDS
from hierfit.errors import UserError
from hierfit.search.runner import prepare
from hierfit.search.running import Cluster, Jobs, failed, run_cells, too_few

if TYPE_CHECKING:
    from hierfit.search.reproducible import Figure, Reproducible

_READING = "% on the test split; both ends of a range belong to it."


def reproduce(
    files: Annotated[Sequence[Path], Say("experiments and grids; default: all that `hierfit experiments` lists")] = (),
    *,
    cheaper_than: Annotated[float, Say("skip what takes as long or longer (3)", "MINUTES")] = 3.0,
    seed: Annotated[int | None, Say("one of those measured; default: an experiment's first")] = None,
    data_root: Annotated[
        list[str] | None,
        Say("where a card's data lie; repeatable. What has no data is skipped, and said", "CARD=PATH", repeat=True),
    ] = None,
    jobs: Jobs = None,
    cluster: Cluster = None,
    runs: Annotated[Path, Say("where runs lie (runs/reproduce)")] = Path("runs/reproduce"),
) -> None:
    """Run experiments and grids again that state what they found, and say whether they find it.

    Raises:
        UserError: A file is at fault; nothing has been started.
        SystemExit: With 1 when a figure lies outside its range, or an experiment fails.
    """
    known = {**GRIDS.files(), **EXPERIMENTS.files()}
    files = [known.get(str(name)) or EXPERIMENTS.find(str(name)) for name in files or known]
    if problems := too_few(jobs=jobs):
        raise UserError(problems[0])
    roots = _roots(data_root or [])
    if cluster is None:
        prepare()  # from here on imports take seconds
    from hierfit.run.quiet import quieten
    from hierfit.search.reproducible import read_files

    quieten()
    console = Console()
    found = read_files(files, roots)
    skipped = {str(each.file): why for each in found if (why := each.not_run(cheaper_than, seed))}
    chosen = {each: each.seeds[0] if seed is None else seed for each in found if str(each.file) not in skipped}
    skipped |= {f"{each.file}, {card}": why for each in chosen for card, why in each.lacking.items()}
    cells = {each: each.cells(own, runs) for each, own in chosen.items()}
    every = [cell for own in cells.values() for cell in own]
    outcomes = run_cells(f"{len(chosen)} experiments and grids", every, jobs, cluster, console) if every else {}
    reruns = []
    for each, own in cells.items():
        bad = failed({cell: outcomes[cell] for cell in own})
        errors = [f"{cell.label}: {outcome.error}" for cell, outcome in bad.items()]
        minutes = sum(outcomes[cell].seconds for cell in own) / 60
        reruns.append(Rerun(each, chosen[each], minutes, [] if bad else each.figures(own), "\n".join(errors)))
    print_comparison(reruns, skipped, console)
    if not all(rerun.reproduced for rerun in reruns):
        sys.exit(1)


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
    figures: Sequence[Figure]
    error: str

    @property
    def reproduced(self) -> bool:
        """Whether it ran, and every figure lies in its range."""
        return not self.error and all(figure.inside for figure in self.figures)


def print_comparison(reruns: Sequence[Rerun], skipped: Mapping[str, str], console: Console) -> None:
    """Prints every figure beside its range, what was skipped and why, and the count of it all."""
    for rerun in reruns:
        console.print()
        title = f"{rerun.of.name} · seed {rerun.seed} · {rerun.minutes:.1f} min"
        console.print(Text(f"{title} ({rerun.of.minutes:g} stated)", "bold"))
        console.print(Text(f"failed: {rerun.error}", "red") if rerun.error else _table(rerun.figures))
    console.print()
    for file, why in skipped.items():
        console.print(Text(f"skipped: {file}: {why}", "dim"), soft_wrap=True)
    figures = [figure for rerun in reruns for figure in rerun.figures]
    inside, broken = sum(figure.inside for figure in figures), sum(bool(rerun.error) for rerun in reruns)
    counts = [f"{inside} inside", f"{len(figures) - inside} outside"]
    counts += [f"{broken} of {len(reruns)} experiments failed"] if broken else []
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
        verdict = Text("inside", "green") if figure.inside else Text("outside", "red")
        table.add_row(Text(figure.row), figure.name, f"{low:.2f} – {high:.2f}", measured, verdict)
    return table
