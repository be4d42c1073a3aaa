"""``hierfit taxonomy``: check, show, convert and induce trees. No torch but for ``induce``."""

from __future__ import annotations

import argparse
import json as json_format
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from rich.console import Console

from hierfit.errors import UserError
from hierfit.taxonomy.doctor import JUDGEMENTS
from hierfit.taxonomy.readers import FORMATS, Format, Reading, read_given
from hierfit.taxonomy.readers.given import Given
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
    if options.command == "check":
        check(_reading(options), options.fix, options.accept, options.json)
    elif options.command == "show":
        show(_reading(options), options.depth, options.below, options.svg)
    elif options.command == "convert":
        convert(_reading(options), options.out, options.to)
    else:
        import_module("hierfit.tools.induce").run(options)


def check(reading: Reading, fix: Path | None = None, accept: Sequence[str] = (), json: bool = False) -> None:
    """Prints all there is to say of a tree; exits with 1 when there are problems that are not mended.

    Args:
        reading: The file, and how to read it.
        fix: Where to write the tree with what can be mended mended.
        accept: Judgements that are to be made, see `hierfit.taxonomy.doctor.mended`.
        json: Whether to print the report as JSON.
    """
    from hierfit.taxonomy import doctor
    from hierfit.taxonomy.doctor.examine import print_diff, print_report

    given = read_given(reading, placed=True)
    report = doctor.examine(given, _count_tokens)
    asked = any(finding.mend == "safe" or finding.kind in accept for finding in report.findings)
    remedy = replace(given, form=doctor.mended(given.form, accept)) if asked else given
    lines = doctor.diff(given.form, remedy.form, given.source, str(fix or "mended.csv")) if asked else []
    console = Console()
    if json:
        print(json_format.dumps({**report.as_dict(), "diff": lines}, ensure_ascii=not _is_unicode(), indent=1))
    else:
        print_report(report, console)
        if lines:
            print_diff(lines, console)
    left = [finding for finding in report.findings if finding.severity == "problem"]
    if fix:
        left = [
            finding
            for finding in left
            if finding.mend == "no" or (finding.mend == "asked" and finding.kind not in accept)
        ]
        _fix(remedy, fix, json)
        if left and not json:
            kinds = ", ".join(dict.fromkeys(finding.kind for finding in left))
            print(f"{len(left)} of its problems are for you to decide ({kinds}): see above what to say or to change.")
    elif lines and not json:
        print(f"\n`hierfit taxonomy check {reading.file} --fix OUT.csv` writes the mended tree.")
    if left:
        sys.exit(1)


def _fix(remedy: Given, out: Path, quiet: bool) -> None:
    try:
        plan = remedy.plan()
    except UserError as error:
        hint = "Mend them by hand first; a mend never changes which leaves are siblings, nor how many there are."
        raise UserError(f"{out}: not written, as problems stay that a rule cannot mend", error.problems, hint) from None
    form = format_of(out) or "paths"
    options = write(plan, out, form)
    if not quiet:
        print(f"\nWritten to {out} as {form}." + (f" Read it with {options}." if options else ""))


def _is_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def _count_tokens(texts: list[str]) -> list[int]:
    """By the bundled tokeniser, without importing the backbone and torch with it."""
    from tokenizers import Tokenizer

    file = Path(__file__).parents[1] / "backbone" / "tiny_clip" / "tokenizer.json"
    return [len(encoding.ids) for encoding in Tokenizer.from_file(str(file)).encode_batch(texts)]


def show(reading: Reading, depth: int | None = None, below: str | None = None, svg: Path | None = None) -> None:
    """Draws a tree in the terminal, or as a picture.

    Args:
        reading: The file, and how to read it.
        depth: Levels to draw; None for as many as fit.
        below: The branch of a node, given by name or path.
        svg: The picture to write.
    """
    from hierfit.taxonomy.drawing import branch, print_tree, write_svg

    given = read_given(reading)
    plan = branch(given.plan(), below) if below else given.plan()
    if svg:
        write_svg(plan, svg, depth)
        print(f"Written to {svg}")
    else:
        print_tree(plan, depth, Console())
    for finding in given.form.findings:
        if finding.severity == "warning":
            print(f"{given.source}: {finding}", file=sys.stderr)


def convert(reading: Reading, out: Path, to: Format | None = None) -> None:
    """Writes a tree in another format, by the suffix of the file unless it is named."""
    form = to or format_of(out)
    if form is None:
        raise UserError(f"{out}: its suffix names no format", hint=f"Give --to {', --to '.join(WRITERS)}.")
    given = read_given(reading)
    plan = given.plan()
    options = write(plan, out, form)
    print(f"{given.source}: {given.format} ({given.why})")
    print(f"Written to {out} as {form}: {len(plan.names)} nodes in {len(plan.levels)} levels")
    if form not in KEEP_LEVELS and plan.levels != tuple(f"level{i}" for i in range(len(plan.levels))):
        print(f"{form} has no room for level names: give --levels {','.join(plan.levels)} when it is read.")
    if options:
        print(f"Its format does not show from its content: give {options} when it is read.")


# The command line ----------------------------------------------------------------------------------------------------


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "check", "everything that is wrong with a tree, or odd about it, and how to mend it")
    parser.epilog = "Exits with 1 when there are problems, unless --fix has mended them all."
    parser.add_argument("file", metavar="FILE", help="a tree in any format")
    parser.add_argument("--fix", type=Path, metavar="OUT", help="write the tree with what can be mended mended")
    parser.add_argument(
        "--accept", type=_judgements, default=(), metavar="KIND,…",
        help=f"judgements that --fix shall make, though they change which leaves are siblings: {', '.join(JUDGEMENTS)}",
    )  # fmt: skip
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
        raise argparse.ArgumentTypeError("columns are counted from 1")
    return numbers


def _judgements(text: str) -> tuple[str, ...]:
    kinds = _names(text)
    if unknown := [kind for kind in kinds if kind not in JUDGEMENTS]:
        raise argparse.ArgumentTypeError(f"no judgement is called {unknown[0]!r}: {', '.join(JUDGEMENTS)}")
    return kinds


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))
