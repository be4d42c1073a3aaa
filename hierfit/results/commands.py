"""Commands that read finished runs: ``results``, ``rescore`` and ``compare``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from hierfit.atomic import whole_file
from hierfit.errors import UserError
from hierfit.results.collect import print_runs, read_cards
from hierfit.results.columns import PRESETS
from hierfit.results.formats import FORMATS
from hierfit.results.group import summarise
from hierfit.results.summary import print_groups

_RUNS = "run folders (controls inside are found) or result.json"
_SUFFIXES = {".md": "markdown", ".tex": "latex", ".csv": "csv"}
_WIDTH = 120  # of a table written to a file


def results(arguments: Sequence[str]) -> None:
    """Tables of finished runs: a run's own with one seed, means with intervals over several."""
    parser = _parser("results", "Print tables of finished runs from their result cards.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=_RUNS)
    over = parser.add_mutually_exclusive_group()
    over.add_argument(
        "--summary",
        "--over-seeds",
        action="store_true",
        help="means over seeds with 95 %% t-intervals (the default where there are several seeds)",
    )
    over.add_argument("--each", action="store_true", help="a table for each seed, without means")
    parser.add_argument("--control", metavar="ROW", help="add the paired differences to this row")
    parser.add_argument(
        "--columns",
        metavar="LIST",
        help=f"presets ({', '.join(PRESETS)}) and columns, such as leaf_accuracy,fpa@best_path,levels",
    )
    parser.add_argument("--format", choices=["table", *FORMATS], help="default: by the suffix of --out, else table")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write to a file: .md, .tex, .csv or any other")
    options = parser.parse_args(arguments)
    form = options.format or (_SUFFIXES.get(options.out.suffix, "table") if options.out else "table")
    summary_only = {"--control": options.control, "--columns": options.columns, "--out": options.out}
    named = [name for name, value in summary_only.items() if value is not None]
    named += ["--format"] if form != "table" and not options.out else []
    if options.each and named:
        raise UserError(f"--each prints the plain tables; it does not go with {', '.join(named)}.")
    cards = read_cards(options.runs)
    if options.each or not (options.summary or named or len({card.seed for card in cards}) > 1):
        print_runs(cards)
        return
    groups = summarise(cards, options.control, options.columns or "default")
    if options.out:
        with whole_file(options.out) as draft, draft.open("w", encoding="utf-8", newline="") as file:
            if form == "table":
                print_groups(groups, Console(file=file, width=_WIDTH))
            else:
                file.write(FORMATS[form](groups))
        print(f"Written to {options.out}")
    elif form == "table":
        print_groups(groups)
    else:
        sys.stdout.write(FORMATS[form](groups))


def rescore(arguments: Sequence[str]) -> None:
    """Metrics again, from the test logits."""
    parser = _parser("rescore", "Compute metrics of finished runs again from their test logits, without training.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=_RUNS)
    parser.add_argument("--decoder", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    parser.add_argument("--metric", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    parser.add_argument("--taxonomy", type=Path, metavar="FILE", help="the tree as CSV, where a run did not keep it")
    parser.add_argument("--write", action="store_true", help="put the figures into the result cards")
    options = parser.parse_args(arguments)
    from hierfit.results.rescore import print_rescored

    print_rescored(options.runs, options.decoder, options.metric, options.taxonomy, options.write)


def compare(arguments: Sequence[str]) -> None:
    """Two runs sample by sample."""
    parser = _parser("compare", "Hold a run against another, sample by sample, on the test samples of both.")
    parser.add_argument("a", type=Path, metavar="RUN_A", help="folder of a finished run")
    parser.add_argument("b", type=Path, metavar="RUN_B", help="folder of the one it is held against, say a control's")
    parser.add_argument("--decoder", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    options = parser.parse_args(arguments)
    from hierfit.results.compare import print_comparison

    print_comparison(options.a, options.b, options.decoder)


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"hierfit {name}", description=description, allow_abbrev=False)
