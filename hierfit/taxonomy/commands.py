"""``hierfit taxonomy``: check, show, convert and induce trees. No torch but for ``induce``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from rich.console import Console

from hierfit.errors import UserError
from hierfit.taxonomy.readers import FORMATS, Reading, read_given, read_plan
from hierfit.taxonomy.readers.given import Form, Given
from hierfit.taxonomy.writers import KEEP_LEVELS, WRITERS, format_of, write


def taxonomy(arguments: Sequence[str]) -> None:
    """Runs one of the subcommands; ``check`` exits with 1 when there are problems."""
    parser = argparse.ArgumentParser(
        prog="hierfit taxonomy", description="Class trees in files of any format.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_check(commands)
    _add_show(commands)
    _add_convert(commands)
    _add_induce(commands)
    options = parser.parse_args(arguments)
    _COMMANDS[options.command](options)


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "check", "everything that is wrong with a tree, or odd about it, and how to mend it")
    parser.epilog = "Exits with 1 when there are problems, unless --fix has written a tree without them."
    parser.add_argument("file", metavar="FILE", help="a tree in any format")
    parser.add_argument("--fix", type=Path, metavar="OUT", help="write the tree with what can be mended mended")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    _add_reading(parser)


def _add_show(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "show", "draw a tree")
    parser.add_argument("file", metavar="FILE", help="a tree in any format")
    parser.add_argument("--depth", type=int, metavar="N", help="levels to draw; default: as many as fit 200 lines")
    parser.add_argument("--below", metavar="NODE", help="the branch of a node, given by name or path (order/family)")
    parser.add_argument("--svg", type=Path, metavar="OUT", help="write a picture instead")
    _add_reading(parser)


def _add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "convert", "write a tree in another format")
    parser.add_argument("file", metavar="IN", help="a tree in any format")
    parser.add_argument("out", type=Path, metavar="OUT", help="the file to write")
    parser.add_argument("--to", choices=list(WRITERS), help="default: by the suffix of OUT (.csv, .json, .nwk, .txt)")
    _add_reading(parser)


def _add_induce(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "induce", "grow a tree over classes from their features, by agglomerative clustering")
    parser.add_argument(
        "features",
        metavar="FEATURES",
        help="a feature bundle; or a .npy or .safetensors file with one [C, d] array (needs --names); or a data card, "
        "whose class names --backbone encodes",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="the tree to write, as CSV")
    parser.add_argument("--levels", default="", metavar="SIZES", help="groups of each level, coarse to fine, as 5,20")
    parser.add_argument("--names", type=Path, metavar="FILE", help="a name for each row of the array, one a line")
    parser.add_argument("--backbone", default="tiny", help="whose text tower encodes a card's classes (tiny)")


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how to read the file, where its content does not say it")
    group.add_argument("--format", choices=FORMATS, metavar="FORMAT", help=", ".join(FORMATS))
    group.add_argument("--select", metavar="KEY", help="which of several data sets in the file")
    group.add_argument("--header", action=argparse.BooleanOptionalAction, help="whether line 1 names the columns")
    group.add_argument("--columns", type=_whole_numbers, default=(), metavar="N,…", help="coarse to fine, from 1")
    group.add_argument("--levels", type=_names, default=(), metavar="NAME,…", help="level names, coarse to fine")
    group.add_argument(
        "--names", action="append", default=[], metavar="FILE", help="what ids or indices mean; again for each level"
    )
    group.add_argument("--leaves", metavar="FILE", help="the leaves to keep, one a line")
    group.add_argument("--first-parent", action="store_true", help="of several parents keep the first, as for WordNet")


def _reading(options: argparse.Namespace) -> Reading:
    return Reading(
        options.file, options.format, options.select, options.header, options.columns, options.levels,
        tuple(options.names), options.leaves, "first" if options.first_parent else "one",
    )  # fmt: skip


def _whole_numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(map(int, text.split(",")))
    if min(numbers) < 1:
        raise ValueError(text)
    return numbers


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _check(options: argparse.Namespace) -> None:
    from hierfit.taxonomy import doctor
    from hierfit.taxonomy.doctor.printed import print_diff, print_report

    given = read_given(_reading(options), placed=True)
    report = doctor.examine(given, _count_tokens)
    remedy = doctor.mended(given.form) if any(finding.mended for finding in report.findings) else None
    out = str(options.fix or "mended.csv")
    lines = doctor.diff(given.form, remedy, given.source, out) if remedy else []
    console = Console()
    if options.json:
        print(json.dumps({**report.as_dict(), "diff": lines}, ensure_ascii=False, indent=1))
    else:
        print_report(report, console)
        if lines:
            print_diff(lines, console)
    failed = report.has_problems
    if options.fix:
        failed = _fix(given, remedy or given.form, options.fix, quiet=options.json)
    elif lines and not options.json:
        print(f"\n`hierfit taxonomy check {options.file} --fix OUT.csv` writes the mended tree.")
    if failed:
        sys.exit(1)


def _fix(given: Given, remedy: Form, out: Path, quiet: bool) -> bool:
    """Writes the mended tree; whether problems stay, in which case nothing is written."""
    try:
        plan = replace(given, form=remedy).plan()
    except UserError as error:
        raise UserError(
            f"{out}: not written, as these problems have no remedy of ours", error.problems, "Mend them by hand first."
        ) from None
    form = format_of(out) or "paths"
    told = write(plan, out, form)
    if not quiet:
        print(f"\nWritten to {out} as {form}{f' (read it with {told})' if told else ''}.")
    return False


def _count_tokens(texts: list[str]) -> list[int]:
    """By the bundled tokeniser, without importing the backbone and torch with it."""
    from tokenizers import Tokenizer

    file = Path(__file__).parents[1] / "backbone" / "tiny_clip" / "tokenizer.json"
    return [len(encoding.ids) for encoding in Tokenizer.from_file(str(file)).encode_batch(texts)]


def _show(options: argparse.Namespace) -> None:
    from hierfit.taxonomy.drawing import branch, print_tree, write_svg

    plan = read_plan(_reading(options))
    if options.below:
        plan = branch(plan, options.below)
    if options.svg:
        write_svg(plan, options.svg, options.depth)
        print(f"Written to {options.svg}")
    else:
        print_tree(plan, options.depth, Console())


def _convert(options: argparse.Namespace) -> None:
    form = options.to or format_of(options.out)
    if form is None:
        raise UserError(f"{options.out}: its suffix names no format", hint=f"Give --to {', --to '.join(WRITERS)}.")
    given = read_given(_reading(options))
    plan = read_plan(_reading(options))
    told = write(plan, options.out, form)
    print(f"{given.source}: {given.format} ({given.why})")
    print(f"Written to {options.out} as {form}: {len(plan.names)} nodes in {len(plan.levels)} levels")
    if form not in KEEP_LEVELS and plan.levels != tuple(f"level{i}" for i in range(len(plan.levels))):
        print(f"{form} has no room for level names: give --levels {','.join(plan.levels)} when it is read.")
    if told:
        print(f"Its format does not show from its content: give {told} when it is read.")


def _induce(options: argparse.Namespace) -> None:
    import_module("hierfit.tools.induce").run(options)


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "check": _check,
    "show": _show,
    "convert": _convert,
    "induce": _induce,
}
