"""``hierfit report``: finished runs as one web page, as figures, or in the terminal."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from hierfit.atomic import whole_file
from hierfit.errors import UserError
from hierfit.report.blocks import Omitted, Picture, Section

if TYPE_CHECKING:
    from hierfit.report.evidence import Evidence

_KINDS = ("svg", "png")


def report(arguments: Sequence[str]) -> None:
    """Runs the command.

    Raises:
        UserError: Nothing has finished below a path, a name is unknown, or matplotlib is missing for a page.
    """
    options = _parser().parse_args(arguments)
    if options.out is not None and options.out.suffix not in (".html", ".htm"):
        raise UserError(f"{options.out}: a report is written as .html.", hint="--figures DIR writes single figures.")
    # They read logits with torch, which takes a while to import.
    from hierfit.report.evidence import gather
    from hierfit.report.sections import sections
    from hierfit.report.terminal import print_sections

    evidence = gather(options.runs, options.row, options.control)
    console = Console()
    found = sections(evidence)
    if options.text:
        print_sections(evidence, found, console)
    else:
        out = options.out or Path("report.html")
        write_page(evidence, found, out, options.runs)
        _said(out, evidence, found, console)
    if options.figures is not None:
        count = write_figures(found, options.figures)
        console.print(Text(f"{count} figures as {' and '.join(_KINDS)} in {options.figures}"), soft_wrap=True)


def write_page(evidence: Evidence, found: Sequence[Section | Omitted], out: Path, runs: Sequence[Path]) -> None:
    """Writes the page, whole or not at all."""
    text = page_of(evidence, found, runs)
    with whole_file(out) as draft:
        draft.write_text(text, encoding="utf-8")


def page_of(evidence: Evidence, found: Sequence[Section | Omitted], runs: Sequence[Path]) -> str:
    """The text of the page."""
    from hierfit.report.html.page import page

    card, group = evidence.focus.card, evidence.group
    return page(f"{card.row} on {group.data}", group.title, found, f"hierfit report {' '.join(map(str, runs))}")


def write_figures(found: Sequence[Section | Omitted], folder: Path) -> int:
    """Writes every figure as SVG, with text as outlines, and as PNG of 200 dpi; returns how many there are."""
    pictures = [b for s in found if isinstance(s, Section) for b in s.blocks if isinstance(b, Picture)]
    for picture in pictures:
        drawing, _ = picture.drawn()
        from matplotlib import rc_context  # it is installed, or nothing had been drawn

        for kind in _KINDS:
            stamp = {"Date": None} if kind == "svg" else None
            with whole_file(folder / f"{picture.name}.{kind}") as draft, rc_context({"svg.hashsalt": picture.name}):
                drawing.savefig(draft, format=kind, dpi=200, bbox_inches="tight", pad_inches=0.04, metadata=stamp)
    return len(pictures)


def _said(out: Path, evidence: Evidence, found: Sequence[Section | Omitted], console: Console) -> None:
    summary, *_ = found
    assert isinstance(summary, Section)
    console.print(Text(summary.lead))
    if len({card.row for card in evidence.cards}) > 1:
        against = f", held against {evidence.control}" if evidence.control else ""
        seen = f"Looked into: {evidence.focus.card.row}, seed {evidence.focus.card.seed}{against}."
        console.print(Text(f"{seen} --row and --control choose others.", "dim"))
    for section in found:
        if isinstance(section, Omitted):
            console.print(Text(f"left out: {section.title}: {section.why}", "dim"))
    size = out.stat().st_size / 2**20
    console.print(Text(f"Written to {out} ({size:.1f} MiB); open it in any browser. --text prints its tables here."))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hierfit report",
        description="Make one self-contained web page of finished runs: figures with intervals, where paths break, "
        "confusion, reliability, the latent space. All runs stand in its tables; one of them is looked into.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run folders or grids (controls inside are found)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page (report.html)")
    parser.add_argument(
        "--row",
        metavar="ROW",
        help="look into this row, at its most shots and lowest seed; default: the one with the best mean decoded FPA "
        "that is no run's control",
    )
    parser.add_argument(
        "--control",
        metavar="ROW",
        help="hold all against this row; default: one with no more trained parameters, of the same method or without "
        "training",
    )
    parser.add_argument("--figures", type=Path, metavar="DIR", help="also write every figure as SVG and PNG")
    parser.add_argument("--text", action="store_true", help="print the tables here instead of writing a page")
    return parser
