"""``hierfit taxonomy``: check, show and convert trees, without torch."""

from __future__ import annotations

import json as json_format
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console

from hierfit.config.command import Say
from hierfit.errors import UserError
from hierfit.taxonomy.doctor import JUDGEMENTS, diff, examine, mended, print_diff, print_report
from hierfit.taxonomy.readers import FORMATS, Format, Given, Reading, read_given
from hierfit.taxonomy.writers import KEEP_LEVELS, WRITERS, format_of, write

File = Annotated[str, Say("a tree in any format", "FILE")]
# How to read the file, where its content does not say it:
FormatOption = Annotated[Format | None, Say(f"of the file: {', '.join(FORMATS)}", "FORMAT")]
Select = Annotated[str | None, Say("which of several data sets in the file", "KEY")]
Header = Annotated[bool | None, Say("whether line 1 names the columns")]
Columns = Annotated[str, Say("columns to read, coarse to fine, from 1", "N,…")]
Levels = Annotated[str, Say("level names, coarse to fine", "NAME,…")]
NameFiles = Annotated[list[str], Say("what ids or indices mean; again for each level", "FILE", repeat=True)]
Leaves = Annotated[str | None, Say("the leaves to keep, one a line", "FILE")]
FirstParent = Annotated[bool, Say("of several parents keep the first, as for WordNet")]


def _reading(
    file: str, format: Format | None, select: str | None, header: bool | None, columns: str, levels: str,
    names: list[str], leaves: str | None, first_parent: bool,
) -> Reading:  # fmt: skip
    numbers = tuple(int(number) if number.strip().isdigit() else 0 for number in columns.split(",") if columns)
    if 0 in numbers:
        raise UserError(f"--columns {columns}: columns are whole numbers, counted from 1")
    return Reading(file, format, select, header, numbers, _split(levels), tuple(names), leaves,
                   "first" if first_parent else "one")  # fmt: skip


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",")) if text else ()


def check(
    file: File, *,
    fix: Annotated[Path | None, Say("write the tree with what can be mended mended", "OUT")] = None,
    accept: Annotated[str, Say("judgements that --fix shall make, though they change which leaves are siblings: "
                               + ", ".join(JUDGEMENTS), "KIND,…")] = "",
    json: Annotated[bool, Say("print the report as JSON")] = False,
    format: FormatOption = None, select: Select = None, header: Header = None, columns: Columns = "",
    levels: Levels = "", names: NameFiles = [], leaves: Leaves = None, first_parent: FirstParent = False,  # noqa: B006
) -> None:  # fmt: skip
    """Everything that is wrong with a tree, or odd about it, and how to mend it.

    Exits with 1 when there are problems, unless --fix has mended them all.
    """
    accepted = _split(accept)
    if unknown := [kind for kind in accepted if kind not in JUDGEMENTS]:
        raise UserError(f"--accept: no judgement is called {unknown[0]!r}: {', '.join(JUDGEMENTS)}")
    reading = _reading(file, format, select, header, columns, levels, names, leaves, first_parent)
    given = read_given(reading, placed=True)
    report = examine(given, _count_tokens)
    asked = any(finding.mend == "safe" or finding.kind in accepted for finding in report.findings)
    remedy = replace(given, form=mended(given.form, accepted)) if asked else given
    lines = diff(given.form, remedy.form, given.source, str(fix or "mended.csv")) if asked else []
    if json:
        unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
        print(json_format.dumps({**report.as_dict(), "diff": lines}, ensure_ascii=not unicode, indent=1))
    else:
        print_report(report, Console())
        if lines:
            print_diff(lines, Console())
    left = report.problems
    if fix:
        left = [f for f in left if f.mend == "no" or (f.mend == "asked" and f.kind not in accepted)]
        written = _fix(remedy, fix)
        if not json:
            print(f"\n{written}")
        if left and not json:
            kinds = ", ".join(dict.fromkeys(finding.kind for finding in left))
            print(f"{len(left)} of its problems are for you to decide ({kinds}): see above what to say or to change.")
    elif lines and not json:
        print(f"\n`hierfit taxonomy check {file} --fix OUT.csv` writes the mended tree.")
    if left:
        sys.exit(1)


def _fix(remedy: Given, out: Path) -> str:
    try:
        plan = remedy.plan()
    except UserError as error:
        hint = "Mend them by hand first; a mend never changes which leaves are siblings, nor how many there are."
        raise UserError(f"{out}: not written, as problems stay that a rule cannot mend", error.problems, hint) from None
    form = format_of(out) or "paths"
    options = write(plan, out, form)
    return f"Written to {out} as {form}." + (f" Read it with {options}." if options else "")


def _count_tokens(texts: list[str]) -> list[int]:
    """By the bundled tokeniser, without importing the backbone and torch with it."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(__file__).parents[1] / "backbone" / "tiny_clip" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return [len(encoding.ids) for encoding in tokenizer.encode_batch(texts)]


def show(
    file: File, *,
    depth: Annotated[int | None, Say("levels to draw; default: as many as fit 200 lines", "N")] = None,
    below: Annotated[str | None, Say("the branch of a node, given by name or path (order/family)", "NODE")] = None,
    svg: Annotated[Path | None, Say("write a picture instead", "OUT")] = None,
    format: FormatOption = None, select: Select = None, header: Header = None, columns: Columns = "",
    levels: Levels = "", names: NameFiles = [], leaves: Leaves = None, first_parent: FirstParent = False,  # noqa: B006
) -> None:  # fmt: skip
    """Draw a tree."""
    from hierfit.taxonomy.drawing import branch, print_tree, write_svg

    given = read_given(_reading(file, format, select, header, columns, levels, names, leaves, first_parent))
    plan = branch(given.plan(), below) if below else given.plan()
    if svg:
        write_svg(plan, svg, depth)
        print(f"Written to {svg}")
    else:
        print_tree(plan, depth, Console())
    for finding in given.form.findings:
        if finding.severity == "warning":
            print(f"{given.source}: {finding}", file=sys.stderr)


def convert(
    file: Annotated[str, Say("a tree in any format", "IN")],
    out: Annotated[Path, Say("the file to write", "OUT")], *,
    to: Annotated[Literal["paths", "child-parent", "nested", "node-link", "newick", "outline"] | None,
                  Say("default: by the suffix of OUT (.csv, .json, .nwk, .txt)")] = None,
    format: FormatOption = None, select: Select = None, header: Header = None, columns: Columns = "",
    levels: Levels = "", names: NameFiles = [], leaves: Leaves = None, first_parent: FirstParent = False,  # noqa: B006
) -> None:  # fmt: skip
    """Write a tree in another format."""
    form = to or format_of(out)
    if form is None:
        raise UserError(f"{out}: its suffix names no format", hint=f"Give --to {', --to '.join(WRITERS)}.")
    given = read_given(_reading(file, format, select, header, columns, levels, names, leaves, first_parent))
    plan = given.plan()
    options = write(plan, out, form)
    print(f"{given.source}: {given.format} ({given.why})")
    print(f"Written to {out} as {form}: {len(plan.names)} nodes in {len(plan.levels)} levels")
    if form not in KEEP_LEVELS and plan.levels != tuple(f"level{i}" for i in range(len(plan.levels))):
        print(f"{form} has no room for level names: give --levels {','.join(plan.levels)} when it is read.")
    if options:
        print(f"Its format does not show from its content: give {options} when it is read.")
