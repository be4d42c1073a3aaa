"""The text of the tables in all four formats."""

from __future__ import annotations

import csv
import io
import re

import pytest
from rich.console import Console

from hierfit.results.formats import as_csv, as_latex, as_markdown
from hierfit.results.group import summarise
from hierfit.results.sheet import sheets
from hierfit.results.summary import print_summary

from .conftest import card, data

CARDS = [card("base & co_1", s, v) for s, v in [(1, 0.5), (2, 0.6), (3, 0.7)]] + [
    card("λ|ours", s, v) for s, v in [(1, 0.64), (2, 0.75), (3, 0.86)]
]


def printed(width: int, cards: list = CARDS, **options: str) -> str:  # type: ignore[type-arg]
    console = Console(file=io.StringIO(), width=width)
    print_summary(cards, console=console, **options)  # type: ignore[arg-type]
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_cells() -> None:
    figures, differences = sheets(summarise(CARDS, "base & co_1", "leaf_accuracy,tice,params,time")[0])
    assert figures.header == ("", "seeds", "leaf acc", "TICE", "trained", "train [s]", "selected on", "tuned on")
    assert figures.rows == (
        ("base & co_1", "3", "60.00 ±24.84", "25.00 ±0.00", "1,200", "20.0 ±24.8", "val", "defaults"),
        ("λ|ours", "3", "75.00 ±27.33", "25.00 ±0.00", "1,200", "20.0 ±24.8", "val", "defaults"),
    )
    assert differences.header == ("", "pairs", "leaf acc", "TICE", "trained", "train [s]")
    assert differences.rows == (("λ|ours", "3", "+15.00 ±2.48 ▲", "+0.00 ±0.00", "+0", "+0.0 ±0.0"),)


def test_lower_is_better_where_it_is() -> None:
    def tice(seed: int, value: float) -> dict[str, dict[str, float | None]]:
        return {"per_level": {"tice": value}}

    cards = [card("a", s, 0.5, metrics=tice(s, 0.3)) for s in (1, 2)]
    cards += [card("b", s, 0.5, metrics=tice(s, 0.2)) for s in (1, 2)]
    assert sheets(summarise(cards, "a", "tice")[0])[1].rows == (("b", "2", "−10.00 ±0.00 ▲"),)
    assert sheets(summarise(cards, "b", "tice")[0])[1].rows == (("a", "2", "+10.00 ±0.00 ▼"),)


def test_marks_are_of_the_whole_table() -> None:
    """p = 0.035 alone is a mark; beside three others that say nothing it is none. Severity never gets one."""

    def figures(wobble: float, **more: float) -> dict[str, dict[str, float | None]]:
        return {"per_level": {"fpa": 0.5 + wobble, "tree_distance": 1.0, "mistake_severity": 2.0, **more}}

    cards = [card("a", s, 0.5, metrics=figures(0.0)) for s in (1, 2, 3)]
    cards += [card("b", s, 0.5, metrics=figures(d)) for s, d in ((1, 0.1), (2, 0.15), (3, 0.2))]
    alone = sheets(summarise(cards, "a", "fpa")[0])[1]
    assert alone.rows == (("b", "3", "+15.00 ±12.42 ▲"),)
    others = [card(name, s, 0.5, metrics=figures(0.01 * s)) for name in "cde" for s in (1, 2, 3)]
    together = sheets(summarise([*cards, *others], "a", "fpa")[0])[1]
    assert next(row[2] for row in together.rows) == "+15.00 ±12.42"

    far = [card("far", s, 0.5, metrics=figures(0.0, tree_distance=1.2, mistake_severity=1.5)) for s in (1, 2, 3)]
    (row,) = sheets(summarise([*cards[:3], *far], "a", "tree_distance,mistake_severity")[0])[1].rows
    assert row == ("far", "3", "+0.200 ±0.000 ▼", "−0.500 ±0.000")


def test_one_seed_and_missing_figures_show_a_dash() -> None:
    cards = [card("one", 1, 0.5), card("none", 1, None)]
    (figures,) = sheets(summarise(cards, wanted="leaf_accuracy,params")[0])
    assert [row[1:4] for row in figures.rows] == [("1", "50.00 ±–", "1,200"), ("1", "–", "1,200")]
    some = [card("some", 1, 0.5), card("some", 2, None), card("some", 3, 0.5)]
    assert sheets(summarise(some, wanted="leaf_accuracy")[0])[0].rows[0][1:3] == ("3", "50.00 ±0.00 (n=2)")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_terminal_shows_every_figure_whole_at_any_width(width: int) -> None:
    text = printed(width, control="base & co_1", columns="default,decoders,cost")
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for figure in ("60.00 ±24.84", "+15.00 ±2.48 ▲", "20.0 ±24.8", "25.00 ±0.00"):
        assert figure in text
    words = " ".join(text.split())
    for part in ("leaf acc", "FPA decoded", "kind", "train [s]", "selected on", "tuned on", "seeds 1, 2, 3"):
        assert part in words
    rows = [line for line in text.splitlines() if line.startswith(("base & co_1", "λ|ours"))]
    figures = [len(re.findall(r"±", line)) for line in rows]
    assert max(figures) == {60: 3, 80: 4, 200: 10}[width]


def test_every_group_has_its_table_and_notes() -> None:
    text = printed(80, [*CARDS[:2], card("base & co_1", 1, 0.5, data=data(1, card="cars")), card("b", 1, 0.5)])
    assert text.index("cars · 4 shots") < text.index("pets · 4 shots")
    assert "Note: Rows have different seeds" in text


def test_markdown() -> None:
    text = as_markdown(summarise(CARDS, "base & co_1", "leaf_accuracy"))
    assert text.splitlines()[:10] == [
        "**pets · 4 shots a leaf · seeds 1, 2, 3 · 8 test images · tiny**",
        "",
        "|  | seeds | leaf acc | selected on | tuned on |",
        "|---|---:|---:|---:|---:|",
        r"| base & co\_1 | 3 | 60.00 ±24.84 | val | defaults |",
        r"| λ\|ours | 3 | 75.00 ±27.33 | val | defaults |",
        "",
        r"**Difference to base & co\_1, paired over seeds**",
        "",
        "|  | pairs | leaf acc |",
    ]
    assert r"| λ\|ours | 3 | +15.00 ±2.48 ▲ |" in text
    assert "▲ helps, ▼ hurts: by a paired t-test over seeds at 5 %, corrected" in text
    assert "▲" not in as_markdown(summarise(CARDS, None, "leaf_accuracy"))


def test_latex() -> None:
    text = as_latex(summarise(CARDS, "base & co_1", "leaf_accuracy"))
    lines = [line.strip() for line in text.splitlines()]
    assert r"\begin{tabular}{lrrrr}" in lines
    assert r"& seeds & leaf acc & selected on & tuned on \\" in lines
    assert r"base \& co\_1 & 3 & 60.00 $\pm$24.84 & val & defaults \\" in lines
    assert r"$\lambda$\textbar{}ours & 3 & +15.00 $\pm$2.48 $^{+}$ \\" in lines
    assert [lines.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [2, 2, 2]
    assert text.isascii()
    tricky = as_latex(summarise([card("a\\b {c} #1 ~ ^ 5% $x <y>", 1, 0.5)], wanted="leaf_accuracy"))
    assert (
        r"a\textbackslash{}b \{c\} \#1 \textasciitilde{} \textasciicircum{} 5\% \$x \textless{}y\textgreater{} & 1"
        in tricky
    )


def test_csv_is_for_programs() -> None:
    text = as_csv(summarise([*CARDS, card("one", 1, None)], "base & co_1", "leaf_accuracy,params"))
    rows = {(r["row"], r["column"]): r for r in csv.DictReader(io.StringIO(text))}
    assert len(rows) == 6
    ours = rows["λ|ours", "leaf_accuracy@rollup"]
    assert (ours["data"], ours["shots"], ours["backbone"], ours["test_images"]) == ("pets", "4", "tiny", "8")
    assert (ours["seeds"], ours["selected_on"], ours["tuned_on"], ours["unit"]) == (
        *("1 2 3", "val", "defaults", "fraction"),
    )
    assert (float(ours["mean"]), float(ours["half_width"])) == pytest.approx((0.75, 0.2732552), abs=1e-6)
    assert (float(ours["difference"]), float(ours["difference_half_width"])) == pytest.approx((0.15, 0.0248414))
    assert (ours["n"], ours["difference_n"], ours["control"], ours["verdict"]) == ("3", "3", "base & co_1", "helps")
    base = rows["base & co_1", "leaf_accuracy@rollup"]
    assert (base["control"], base["difference"], base["verdict"]) == ("", "", "")
    one = rows["one", "leaf_accuracy@rollup"]
    assert (one["mean"], one["half_width"], one["n"], one["difference"]) == ("", "", "0", "")
    assert rows["one", "params"]["half_width"] == ""
    assert rows["λ|ours", "params"]["verdict"] == ""
