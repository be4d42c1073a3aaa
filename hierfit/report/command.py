"""``hierfit report``: finished runs as one web page, as figures, or in the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.text import Text

from hierfit.atomic import whole_file
from hierfit.config.command import Say
from hierfit.errors import UserError
from hierfit.report.blocks import PICTURES, Findings, Picture, Section, Sheet
from hierfit.results.runs import run_folder
from hierfit.results.writers import print_table, print_tables


def report(
    runs: Annotated[list[Path], Say("run folders or grids (controls inside are found), or latest", "RUN")],
    *,
    out: Annotated[
        Path | None, Say("the page; default: report.html in RUN, or here where several are named", "FILE")
    ] = None,
    row: Annotated[
        str | None,
        Say(
            "look into this row, at its most shots and lowest seed; default: the one with the best mean decoded FPA "
            "that is no run's control",
            "ROW",
        ),
    ] = None,
    control: Annotated[
        str | None,
        Say(
            "hold all against this row; default: one with no more trained parameters, of the same method or without "
            "training",
            "ROW",
        ),
    ] = None,
    pictures: Annotated[int, Say("at most so many test images to look through (400)", "N")] = PICTURES,
    figures: Annotated[Path | None, Say("also write every figure as SVG and PNG", "DIR")] = None,
    text: Annotated[bool, Say("print the tables here instead of writing a page")] = False,
) -> None:
    """Make one self-contained web page of finished runs.

    Figures with intervals, where paths break, confusion, reliability, the latent space. All runs stand in its tables;
    one of them is looked into.
    """
    if out is not None and out.suffix not in (".html", ".htm"):
        raise UserError(f"{out}: a report is written as .html.", hint="--figures DIR writes single figures.")
    # They read logits with torch, which takes a while to import.
    from hierfit.report.evidence import gather
    from hierfit.report.page import page
    from hierfit.report.sections import sections

    runs = [run_folder(run, several=True) for run in runs]
    evidence, console = gather(runs, row, control, pictures), Console()
    found = sections(evidence)
    if text:
        print_tables([evidence.table], console)
        for section in found:
            _print_section(section, console)
        console.print()
    else:
        out = out or (runs[0] if len(runs) == 1 and runs[0].is_dir() else Path()) / "report.html"
        made = page(evidence, found, runs)
        with whole_file(out) as draft:
            draft.write_text(made, encoding="utf-8")
        console.print(Text(found[0].lead))
        if len({card.row for card in evidence.cards}) > 1:
            against = f", held against {evidence.control}" if evidence.control else ""
            seen = f"Looked into: {evidence.focus.card.row}, seed {evidence.focus.card.seed}{against}."
            console.print(Text(f"{seen} --row and --control choose others.", "dim"))
    for section in found:
        if section.omitted:
            console.print(Text(f"left out: {section.title}: {section.omitted}", "dim"))
    if out is not None and not text:
        size = f"{out.stat().st_size / 2**20:.1f} MiB"
        console.print(Text(f"Written to {out} ({size}); open it in any browser. --text prints its tables here."))
    if figures is not None:
        count = _write_figures(found, figures)
        console.print(Text(f"{count} figures as svg and png in {figures}"), soft_wrap=True)


def _write_figures(found: Iterable[Section], folder: Path) -> int:
    """Writes every figure as SVG, with text as outlines, and as PNG of 200 dpi; returns how many there are."""
    pictures = [block for section in found for block in section.blocks if isinstance(block, Picture)]
    for picture in pictures:
        for kind, stamp in (("svg", {"Date": None}), ("png", None)):
            with whole_file(folder / f"{picture.name}.{kind}") as draft:
                picture.save(draft, kind, dpi=200, pad_inches=0.04, metadata=stamp)
    return len(pictures)


def _print_section(section: Section, console: Console) -> None:
    """What was found, and the first rows that show it; nothing of a section that is all figures."""
    sheets = [block for block in section.blocks if isinstance(block, Sheet) and block.brief != 0]
    sentences = [line for block in section.blocks if isinstance(block, Findings) for line in block.sentences]
    if sheets or sentences:
        console.print()
        console.print(Text(section.title, "bold"))
        console.print(Text("\n".join([section.lead, *(f"· {sentence}" for sentence in sentences)])))
    for sheet in sheets:
        print_table(sheet.table, console, sheet.brief)
        if sheet.table.reading:
            console.print(Text(sheet.table.reading, "dim"))
