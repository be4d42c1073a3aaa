"""Which cards are brought together in a table, what is noted where they do not belong together, how it is written."""

from __future__ import annotations

import csv
import io
import re

import pytest
from rich.console import Console

from hierfit.errors import UserError
from hierfit.results.card import ResultCard, shots_text
from hierfit.results.columns import columns, figure
from hierfit.results.rows import chosen
from hierfit.results.summary import tables
from hierfit.results.table import Cell, Column, Estimate, Table
from hierfit.results.writers import as_csv, as_html, as_latex, as_markdown, print_table, print_tables

from .conftest import card, data

CARDS = [card("base & co_1", s, v) for s, v in [(1, 0.5), (2, 0.6), (3, 0.7)]] + [
    card("λ|ours", s, v) for s, v in [(3, 0.86), (1, 0.64), (2, 0.75)]
]


def names(table: Table) -> list[object]:
    return [row[0].value for row in table.rows]


def seeds(table: Table) -> list[tuple[object, object]]:
    return [(row[0].value, row[1].value) for row in table.rows]


def test_means_and_differences_over_seeds() -> None:
    (table,) = tables(CARDS, "base & co_1", "leaf_accuracy,tice,params,time")
    figures, differences = table.parts()
    assert table.title == "pets · 4 shots a leaf · seeds 1, 2, 3 · 8 test images · tiny"
    assert table.notes == ()
    assert seeds(table) == [("base & co_1", (1, 2, 3)), ("λ|ours", (1, 2, 3))]
    # s = 0.1 and t(0.975, 2)/√3 = 2.484138; of the differences 0.14, 0.15, 0.16 s is 0.01.
    base, ours = (table.row(name)["leaf_accuracy@rollup"] for name in ("base & co_1", "λ|ours"))
    assert base == Cell(Estimate(pytest.approx(0.6), pytest.approx(0.2484138, abs=1e-6), 3), of=3)
    assert ours.difference == Estimate(pytest.approx(0.15), pytest.approx(0.02484138, abs=1e-6), 3)
    assert figures.header == ("", "seeds", "leaf acc", "TICE", "trained", "train [s]", "selected on", "tuned on")
    assert figures.texts() == [
        ("base & co_1", "3", "60.00 ±24.84", "25.00 ±0.00", "1,200", "20.0 ±24.8", "val", "defaults"),
        ("λ|ours", "3", "75.00 ±27.33", "25.00 ±0.00", "1,200", "20.0 ±24.8", "val", "defaults"),
    ]
    assert differences.header == ("", "pairs", "leaf acc", "TICE", "trained", "train [s]")
    assert differences.texts() == [("λ|ours", "3", "+15.00 ±2.48 ▲", "+0.00 ±0.00", "+0", "+0.0 ±0.0")]
    assert names(tables(CARDS, "λ|ours")[0]) == ["λ|ours", "base & co_1"]  # the control comes first


def test_of_several_rows_val_chooses_one_draw_by_draw() -> None:
    figures = {"off": [0.6, 0.7], "λ=1": [0.6, 0.8], "λ=3": [0.5, 0.8]}
    cards = [
        card(row, seed, value - 0.1 * (row == "λ=1"), val={"val/leaf_accuracy": value}, method_settings={"row": row})
        for row, values in figures.items()
        for seed, value in enumerate(values, 1)
    ]
    found = chosen([*cards, card("else", 1, 0.9)], ["ours=off,λ=*"], control="off")
    assert [(c.row, c.seed) for c in found] == [("off", 1), ("off", 2), ("else", 1), ("ours", 1), ("ours", 2)]
    ours = found[-2:]
    # Equal on val: the first pattern, then the first row; test has no say.
    assert [c.metrics["rollup"]["leaf_accuracy"] for c in ours] == pytest.approx([0.6, 0.7])
    assert {c.tuned_on for c in ours} == {"val"}
    (table,) = tables(found, "off", "leaf_accuracy")
    assert names(table) == ["off", "else", "ours"]
    for wish, message in (("ours", "expected NAME=PATTERN"), ("ours=x", "no row is like x"), ("a=else", "has no fig")):
        with pytest.raises(UserError, match=message):
            chosen([*cards, card("else", 1, 0.9)], [wish])


def test_shots_data_backbones_and_levels_are_kept_apart_and_ordered() -> None:
    others = [
        *(card("base", 1, 0.5, data=data(1, shots=shots)) for shots in (16, None)),
        *(card("base", 1, 0.5, data=data(1, **fact)) for fact in ({"card": "cars"}, {"card_fingerprint": "edited"})),
        card("base", 1, 0.5, data=data(1, draw={"train": "draw1", "test": "others"})),
        card("base", 1, 0.5, backbone={"source": "tiny", "fingerprint": "retrained"}),
        card("base", 1, 0.5, levels=("class",)),
    ]
    found = tables([*others, *CARDS])
    places = [(table.facts["data"], table.facts["shots"]) for table in found]
    assert places == [("cars", 4), *[("pets", 4)] * 5, ("pets", 16), ("pets", None)]
    assert sorted(len(table.rows) for table in found) == [1] * 7 + [2]


def test_undefined_figures_are_left_out_and_counted() -> None:
    some = [card("some", 1, 0.5), card("some", 2, None), card("some", 3, 0.5), card("none", 1, None)]
    (table,) = tables(some, choice="leaf_accuracy,params")
    assert [row[1:4] for row in table.texts()] == [("3", "50.00 ±0.00 (n=2)", "1,200"), ("1", "–", "1,200")]
    (table,) = tables(CARDS[:1], choice="leaf_accuracy")
    assert table.texts()[0][1:3] == ("1", "50.00")
    assert "seed 1 ·" in table.title


def test_what_cannot_be_paired_is_noted_or_refused() -> None:
    (table,) = tables(CARDS[1:], "base & co_1", "leaf_accuracy")
    assert "base & co_1: 2, 3; λ|ours: 1, 2, 3" in table.notes[0]
    difference = table.row("λ|ours")["leaf_accuracy@rollup"].difference
    assert difference is not None
    assert difference.n == 2
    with pytest.raises(UserError, match="ours has seeds 2, base & co_1 has 1"):
        tables([CARDS[0], CARDS[5]], "base & co_1")
    cards = [CARDS[0], card("ours", 1, 0.6, data=data(1, draw={"train": "another", "test": "test"}))]
    assert tables(cards)[0].notes == ("Rows were trained on different draws with seed 1.",)
    with pytest.raises(UserError, match="ours was trained on another draw with seed 1"):
        tables(cards, "base & co_1")
    other = [card("flat", s, 0.5, data=data(s, taxonomy_fingerprint="other")) for s in (1, 2, 3)]
    (table,) = tables([*CARDS, *other])
    assert table.notes == ("Scored on another tree than base & co_1: flat. Compare leaf accuracy only.",)
    (table,) = tables([*CARDS, CARDS[0], card("base & co_1", 2, 0.601)])
    assert table.notes == ("base & co_1 was run more than once with seed 1, 2; the first counts.",)


def test_a_control_that_is_nowhere_or_in_one_table_only() -> None:
    with pytest.raises(UserError, match=r"No run has the row 'bass'\.\nRows: base & co_1, λ\|ours\."):
        tables(CARDS, "bass")
    first, second = tables([*CARDS, card("ours", 1, 0.5, data=data(1, shots=16))], "base & co_1")
    assert (first.control, second.control) == ("base & co_1", None)
    assert "no differences" in second.notes[0]
    with pytest.raises(UserError, match="no result card"):
        tables([])


def lr(row: str, seed: int, leaf: float, **settings: object) -> ResultCard:
    return card(row, seed, leaf, method_settings={"class_path": "x.Ours", "init_args": {"hidden": 8, **settings}})


def test_rows_of_one_name_are_told_apart_by_what_was_set() -> None:
    cards = [lr("ours", s, v, lr=r) for r, v in ((0.003, 0.7), (0.001, 0.6)) for s in (1, 2)]
    cards += [card("base", 1, 0.5), card("base", 2, 0.5)]
    (table,) = tables(cards, "ours (lr 0.001)")
    assert seeds(table) == [("ours (lr 0.001)", (1, 2)), ("ours (lr 0.003)", (1, 2)), ("base", (1, 2))]
    assert table.notes == ()
    with pytest.raises(UserError, match=r"Rows: ours \(lr 0\.003\), ours \(lr 0\.001\), base"):
        tables(cards, "ours")
    # Two keys, one of them a mapping; a key that only one has; the tree.
    sums = [lr("ours", 1, 0.5, objective={"hisce": 1}, lr=0.1), lr("ours", 1, 0.5, objective=None, lr=0.2)]
    assert names(tables(sums)[0]) == ['ours (objective {"hisce": 1}, lr 0.1)', "ours (objective null, lr 0.2)"]
    trees = [card("ours", 1, 0.5, data=data(1, tree=tree)) for tree in ("true", "shuffled")]
    assert names(tables(trees)[0]) == ["ours (true tree)", "ours (shuffled tree)"]


def test_runs_of_the_same_settings_are_told_apart_by_what_else_differs() -> None:
    def made(seed: int, leaf: float, commit: str, steps: int = 200) -> ResultCard:
        return card("ours", seed, leaf, versions={"commit": commit}, cost={"steps": steps})

    (table,) = tables([made(1, 0.5, "abc"), made(1, 0.5, "def"), made(2, 0.5, "abc")])
    assert names(table) == ["ours"]  # the same figures are one row
    (table,) = tables([made(1, 0.5, "abc"), made(2, 0.5, "abc"), made(2, 0.6, "def")])
    assert names(table) == ["ours (commit abc)", "ours (commit def)"]
    assert table.notes[0] == "ours: runs of the same settings and seed have different figures. Each has a row."
    assert names(tables([made(1, 0.5, "abc"), made(1, 0.6, "abc", steps=400)])[0]) == [
        *("ours (steps 200)", "ours (steps 400)")
    ]
    (table,) = tables([made(1, 0.5, "abc"), made(1, 0.6, "abc")])
    assert names(table) == ["ours (run 1)", "ours (run 2)"]


def test_titles_and_origins() -> None:
    def title(**counts: object) -> str:
        return tables([card("ours", 1, 0.5, data=data(1, train_per_leaf=counts))])[0].title

    assert title(min=3, median=2.5) == "pets · ≤ 4 shots a leaf (median 2.5) · seed 1 · 8 test images · tiny"
    assert title(min=4, median=4.0) == title(min="many") == "pets · 4 shots a leaf · seed 1 · 8 test images · tiny"
    assert shots_text({"shots": None}) == "all training images"
    cards = [card("ours", 1, 0.5), card("ours", 2, 0.5, selected_on="last step", tuned_on="val")]
    row = tables(cards)[0].row("ours")
    assert (row["selected_on"].value, row["tuned_on"].value) == ("val, last step", "defaults, val")


def test_columns_by_preset_and_by_name() -> None:
    def keys(choice: str) -> list[str]:
        return [c.key for c in columns(choice, CARDS, ("class", "kind"))]

    assert keys("default") == [
        *("leaf_accuracy@rollup", "fpa@per_level", "tice@per_level", "fpa@decoded"),
        *("accuracy/class@belief", "accuracy/kind@belief"),
    ]
    costs = ["params", "share", "time", "memory"]
    assert keys("cost, fpa,fpa@per_level") == ["leaf_accuracy@rollup", *costs, "fpa@per_level"]
    assert [c.header for c in columns("fpa@best_path,accuracy/kind", CARDS, ())] == ["FPA best path", "kind"]
    shown = ["leaf_accuracy@rollup", "fpa@best_path", *costs]
    assert [figure(CARDS[1], key) for key in shown] == [0.6, 0.6, 1200, 0.25, 20.0, 500]
    bare = card("bare", 1, 0.5, parameters={"trainable": 3, "total": 0}, cost={}, metrics={})
    assert [figure(bare, key) for key in shown] == [None, None, 3, None, None, None]
    with pytest.raises(UserError) as error:
        columns("leaf_acuracy,fpa@bestpath,levels", CARDS, ("class",))
    assert error.value.problems == (
        "'leaf_acuracy' – did you mean 'leaf_accuracy'?",
        "'fpa@bestpath' – did you mean 'fpa@best_path'?",
    )
    with pytest.raises(UserError, match="No column"):
        columns(" ,", CARDS, ())


def test_marks_are_of_the_whole_table_and_know_what_is_better() -> None:
    """p = 0.035 alone is a mark; beside three others that say nothing it is none. Severity never gets one."""

    def figures(wobble: float, **more: float) -> dict[str, dict[str, float | None]]:
        return {"per_level": {"fpa": 0.5 + wobble, "tice": 0.3, "tree_distance": 1.0, "mistake_severity": 2.0, **more}}

    def differences(cards: list[ResultCard], choice: str) -> list[tuple[str, ...]]:
        return tables(cards, "a", choice)[0].parts()[1].texts()

    base = [card("a", s, 0.5, metrics=figures(0.0)) for s in (1, 2, 3)]
    cards = base + [card("b", s, 0.5, metrics=figures(d)) for s, d in ((1, 0.1), (2, 0.15), (3, 0.2))]
    assert differences(cards, "fpa") == [("b", "3", "+15.00 ±12.42 ▲")]
    others = [card(name, s, 0.5, metrics=figures(0.01 * s)) for name in "cde" for s in (1, 2, 3)]
    assert differences([*cards, *others], "fpa")[0][2] == "+15.00 ±12.42"
    worse = figures(0.0, tice=0.2, tree_distance=1.2, mistake_severity=1.5)
    far = [card("far", s, 0.5, metrics=worse) for s in (1, 2, 3)]
    assert differences([*base, *far], "tice,tree_distance,mistake_severity") == [
        ("far", "3", "−10.00 ±0.00 ▲", "+0.200 ±0.000 ▼", "−0.500 ±0.000")
    ]


def printed(width: int, cards: list[ResultCard] = CARDS, **options: str) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_tables(tables(cards, options.get("control"), options.get("columns", "default")), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_terminal_shows_every_figure_whole_at_any_width(width: int) -> None:
    text = printed(width, control="base & co_1", columns="default,decoders,cost")
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for shown in ("60.00 ±24.84", "+15.00 ±2.48 ▲", "20.0 ±24.8", "25.00 ±0.00"):
        assert shown in text
    words = " ".join(text.split())
    for part in ("leaf acc", "FPA decoded", "kind", "train [s]", "selected on", "tuned on", "seeds 1, 2, 3"):
        assert part in words
    rows = [line for line in text.splitlines() if line.startswith(("base & co_1", "λ|ours"))]
    assert max(len(re.findall(r"±", line)) for line in rows) == {60: 3, 80: 4, 200: 10}[width]


def test_words_fold_before_columns_part_and_every_table_has_its_notes() -> None:
    console = Console(file=io.StringIO(), width=60)
    print_table(Table.of("t", ("", "long", Column("n", "count")), [("a " * 20, "b " * 20, 7)]), console)
    assert isinstance(console.file, io.StringIO)
    first = console.file.getvalue().splitlines()[3].split()
    assert (first[0], first[-1]) == ("a", "7")
    text = printed(80, [*CARDS[:2], card("base & co_1", 1, 0.5, data=data(1, card="cars")), card("b", 1, 0.5)])
    assert text.index("cars · 4 shots") < text.index("pets · 4 shots")
    assert "Note: Rows have different seeds" in text


def test_markdown() -> None:
    text = as_markdown(tables(CARDS, "base & co_1", "leaf_accuracy"))
    assert text.splitlines()[:10] == [
        "**pets · 4 shots a leaf · seeds 1, 2, 3 · 8 test images · tiny**",
        "",
        "|  | seeds | leaf acc | selected on | tuned on |",
        "|---|---:|---:|---|---|",
        r"| base & co\_1 | 3 | 60.00 ±24.84 | val | defaults |",
        r"| λ\|ours | 3 | 75.00 ±27.33 | val | defaults |",
        "",
        r"**Difference to base & co\_1, paired over seeds**",
        "",
        "|  | pairs | leaf acc |",
    ]
    assert r"| λ\|ours | 3 | +15.00 ±2.48 ▲ |" in text
    assert "▲ helps, ▼ hurts: by a paired t-test over seeds at 5 %, corrected" in text
    assert "▲" not in as_markdown(tables(CARDS, None, "leaf_accuracy"))


def test_latex() -> None:
    text = as_latex(tables(CARDS, "base & co_1", "leaf_accuracy"))
    lines = [line.strip() for line in text.splitlines()]
    assert r"\begin{tabular}{lrrll}" in lines
    assert r"& seeds & leaf acc & selected on & tuned on \\" in lines
    assert r"base \& co\_1 & 3 & 60.00 $\pm$24.84 & val & defaults \\" in lines
    assert r"$\lambda$\textbar{}ours & 3 & +15.00 $\pm$2.48 $^{+}$ \\" in lines
    assert [lines.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [2, 2, 2]
    assert text.isascii()
    tricky = as_latex(tables([card("a\\b {c} #1 ~ ^ 5% $x <y>", 1, 0.5)], choice="leaf_accuracy"))
    escaped = r"\{c\} \#1 \textasciitilde{} \textasciicircum{} 5\% \$x \textless{}y\textgreater{} & 1"
    assert rf"a\textbackslash{{}}b {escaped}" in tricky


def test_html() -> None:
    text = as_html(tables([*CARDS, card("<b>", 1, 0.5)], "base & co_1", "leaf_accuracy"))
    assert '<th scope="col" class="figure">leaf acc</th>' in text
    assert '<th scope="row">&lt;b&gt;</th><td class="figure">1</td>' in text
    assert '<td class="figure">+15.00 ±2.48 ▲</td>' in text
    assert text.count("<table>") == 2


def test_csv_is_for_programs() -> None:
    text = as_csv(tables([*CARDS, card("one", 1, None)], "base & co_1", "leaf_accuracy,params"))
    assert text.splitlines()[0] == (
        "data,shots,backbone,test_images,row,seeds,selected_on,tuned_on,column,unit,mean,half_width,n,"
        "control,difference,difference_half_width,difference_n,verdict"
    )
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
