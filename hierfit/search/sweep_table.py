"""What a sweep ends with: its best trials by the validation metric, and the test of the best one alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.text import Text

from hierfit.atomic import whole_file
from hierfit.results.summary import print_summary
from hierfit.results.table import Table
from hierfit.results.writers import print_table
from hierfit.run.closing import program
from hierfit.search.cell import LOG, finished
from hierfit.search.grid import run_cells
from hierfit.search.sweep_file import SweepFile
from hierfit.search.sweep_run import Done
from hierfit.search.trials import Trials

BEST = "best.yaml"


def print_trials(done: Sequence[Done], file: SweepFile, most: int, console: Console) -> None:
    """The best trials, a row each.

    Args:
        done: The best first.
        file: The sweep.
        most: Rows at most.
        console: Where to.
    """
    names = [name for name, parameter in file.parameters.items() if parameter.distribution != "constant"]
    rows = tuple(
        (
            f"{d.record.number}{' ✂' if d.record.stopped else ''}",
            file.metric.shown(d.value),
            *(_shown(d.record.values[name]) for name in names),
            str(d.card.cost["steps"]),
        )
        for d in done[:most]
    )
    stopped = sum(d.record.stopped for d in done)
    early = f", {stopped} of them stopped early (✂)" if stopped else ""
    title = f"{file.name} · {file.method} · {len(done)} trials{early} · {file.metric.goal} {file.metric.name}"
    reached = f"val [{file.metric.unit}]" if file.metric.unit else "val"
    print_table(Table.of(title, ("trial", reached, *map(_short, names), "steps"), rows), console)


def print_importances(importances: Mapping[str, float], console: Console) -> None:
    """Which parameters mattered, in one line; nothing where that is not known."""
    if importances:
        listed = " · ".join(f"{_short(name)} {100 * share:.0f} %" for name, share in importances.items())
        console.print()
        console.print(Text(f"What tells better trials from worse (PED-ANOVA): {listed}", "dim"))


def test_chosen(
    best: Done, trials: Trials, seeds: Sequence[int] | None, tried: int, jobs: int | None, console: Console
) -> int:
    """Trains the best trial's values again, now with the test, and prints what it found.

    Args:
        best: The trial.
        trials: Its sweep.
        seeds: To train with; None for the trial's own.
        tried: Trials it is the best of.
        jobs: Runs at once.
        console: Where to.

    Returns:
        How many of the runs failed.
    """
    row = f"{best.card.method}, best of {tried}"
    path = trials.folder / BEST
    text = yaml.safe_dump(_nested({**best.record.values, "tuned_on": "val"}), sort_keys=False, allow_unicode=True)
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")
    console.print()
    wanted: Sequence[int | None] = seeds or [None]
    cells = [trials.chosen(best.record.values, row, seed) for seed in wanted]
    failed = run_cells(f"trial {best.record.number} with the test", cells, jobs, console)
    for cell, error in failed.items():
        console.print(Text(f"failed: {cell.label}: {error} ({cell.folder / LOG})", "red"), soft_wrap=True)
    cards = [card for cell in cells if (card := finished(cell))]
    if cards:
        print_summary(cards, console=console)
    console.print(Text(f"Values of trial {best.record.number}: {path}; to go on with them:"), soft_wrap=True)
    console.print(Text(f"  {program()} fit {' '.join(trials.file.start)} --config={path}"), soft_wrap=True)
    return len(failed)


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _short(name: str) -> str:
    return name.removeprefix("model.").removeprefix("init_args.")


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keys with dots as the groups of a configuration file."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        parts = name.split(".")
        if parts[0] == "model" and parts[1:2] not in ([], ["class_path"], ["init_args"]):
            parts.insert(1, "init_args")
        group = found
        for part in parts[:-1]:
            group = group.setdefault(part, {})
        group[parts[-1]] = value
    return found
