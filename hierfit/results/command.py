"""Commands that read finished runs: ``results``, ``compare`` and ``rescore``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal, TextIO

from rich.console import Console

from hierfit.atomic import whole_file
from hierfit.config.command import Say
from hierfit.errors import UserError
from hierfit.results.rows import chosen
from hierfit.results.runs import read_cards, run_folder
from hierfit.results.summary import run_tables, tables
from hierfit.results.writers import TABLE_WRITERS, print_tables

_RUNS = Annotated[list[Path], Say("run folders (controls inside are found), result.json, or latest", "RUN")]
_NAMES = Annotated[Sequence[str], Say("only this one, or my_file.mine; repeatable", "NAME", repeat=True)]

_SUFFIXES = {".md": "markdown", ".tex": "latex", ".csv": "csv", ".html": "html"}
_WIDTH = 120  # of a table written to a file


def results(
    runs: _RUNS,
    *,
    summary: Annotated[bool, Say("means over seeds with 95 % t-intervals (default where there are several)")] = False,
    over_seeds: Annotated[bool, Say("the same")] = False,
    each: Annotated[bool, Say("a table for each seed, without means")] = False,
    control: Annotated[str | None, Say("add the paired differences to this row", "ROW")] = None,
    columns: Annotated[
        str | None,
        Say("default, decoders, novel, cost and columns, such as leaf_accuracy,fpa@best_path,levels", "LIST"),
    ] = None,
    choose: Annotated[
        Sequence[str],
        Say("a row of others: of rows like PATTERN the best on val, draw by draw", "NAME=PATTERN,…", repeat=True),
    ] = (),
    format: Annotated[
        Literal["table", "markdown", "latex", "csv", "html"] | None, Say("default: by the suffix of --out, else table")
    ] = None,
    out: Annotated[Path | None, Say("write to a file: .md, .tex, .csv, .html or any other", "FILE")] = None,
) -> None:
    """Print tables of finished runs from their result cards: a run's own with one seed, means over several."""
    form = format or (_SUFFIXES.get(out.suffix, "table") if out else "table")
    given: dict[str, object] = {"--control": control, "--columns": columns, "--choose": choose or None}
    given |= {"--out": out, "--format": form != "table" or None}
    named = [name for name, value in given.items() if value is not None]
    if each and (summary or over_seeds or named):
        listed = ", ".join(named or ["--summary"])
        raise UserError(f"--each prints the plain tables; it does not go with {listed}.")
    cards = chosen(read_cards(runs), choose, control)
    several = len({card.seed for card in cards}) > 1
    if each or not (summary or over_seeds or named or several):
        print_tables(run_tables(cards))
        return
    made = tables(cards, control, columns or "default")
    with ExitStack() as stack:
        file: TextIO = sys.stdout
        if out is not None:
            draft = stack.enter_context(whole_file(out))
            file = stack.enter_context(draft.open("w", encoding="utf-8", newline=""))
        if form == "table":
            print_tables(made, Console(file=file, width=_WIDTH) if out else None)
        else:
            file.write(TABLE_WRITERS[form](made))
    if out is not None:
        print(f"Written to {out}")


def compare(
    a: Annotated[Path, Say("folder of a finished run", "RUN_A")],
    b: Annotated[Path, Say("folder of the one it is held against, say a control's", "RUN_B")],
    *,
    decoder: _NAMES = (),
) -> None:
    """Hold a run against another, sample by sample, on the test samples of both."""
    from hierfit.results.compare import print_comparison  # with torch

    print_comparison(run_folder(a), run_folder(b), decoder)


def rescore(
    runs: _RUNS,
    *,
    decoder: _NAMES = (),
    metric: _NAMES = (),
    taxonomy: Annotated[Path | None, Say("the tree as CSV, where a run did not keep it", "FILE")] = None,
    write: Annotated[bool, Say("put the figures into the result cards")] = False,
) -> None:
    """Compute metrics of finished runs again from their test logits, without training."""
    from hierfit.results.rescore import print_rescored  # with torch

    print_rescored(runs, decoder, metric, taxonomy, write)
