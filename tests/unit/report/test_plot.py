"""What a plot shows, from made-up cards, and that it says so in a file."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.colors import to_hex
from PIL import Image

from hierfit.cli import main
from hierfit.errors import UserError
from hierfit.report.plot import draw_panels, panels
from hierfit.results.card import ResultCard

from .conftest import card, data

T3 = 4.302652729749464  # 97.5 % quantile of Student's t with 2 degrees of freedom


def run(row: str, shots: int | None, seed: int, leaf: float | None, where: str = "pets", **changes: str) -> ResultCard:
    facts = data(seed, card=where, shots=shots, draw={"train": f"{shots}-{seed}", "test": "test"})
    return card(row, seed, leaf, data=facts, **changes)


def runs(where: str = "pets") -> list[ResultCard]:
    """Ours at 16, 1 and 4 shots over three seeds, all images with one, and zero-shot."""
    found = [run("ours", k, s, k / 40 + s / 10, where) for k in (16, 1, 4) for s in (1, 2, 3)]
    found += [run("zero-shot", k, s, 0.4, where, selected_on="nothing") for k in (1, 16) for s in (1, 2)]
    return [*found, run("ours", None, 1, 0.9, where)]


def test_points_are_means_with_intervals_in_the_order_of_shots() -> None:
    (panel,) = panels(runs(), "leaf_accuracy")
    ours, zero_shot = panel.rows
    assert panel.title == "pets"
    assert ours.name == "ours"
    assert [shots for shots, _ in ours.points] == [1, 4, 16, None]
    assert [estimate.mean for _, estimate in ours.points] == pytest.approx([0.225, 0.3, 0.6, 0.9])
    widths = [estimate.half_width for _, estimate in ours.points]
    assert widths[:3] == pytest.approx([T3 * 0.1 / math.sqrt(3)] * 3)
    assert math.isnan(widths[3])
    assert not ours.is_flat
    assert zero_shot.is_flat
    assert [e.mean for _, e in zero_shot.points] == [0.4, 0.4]
    assert any("different seeds" in note for note in panel.notes)


@pytest.mark.parametrize(
    ("selected_on", "values", "flat"),
    [
        ("nothing", {(1, 1): 0.4, (4, 1): 0.4}, True),
        ("nothing", {(4, 1): 0.4}, False),  # it may read the shots, as closed forms do
        ("nothing", {(1, 1): 0.4, (4, 1): 0.5}, False),  # trains nothing, but reads the shots
        ("nothing", {(4, 1): 0.4, (4, 2): 0.5}, False),
        ("val", {(1, 1): 0.4, (4, 1): 0.4}, False),
    ],
)
def test_flat_is_what_neither_trains_nor_changes(
    selected_on: str, values: dict[tuple[int, int], float], flat: bool
) -> None:
    cards = [run("a", k, s, v, selected_on=selected_on) for (k, s), v in values.items()]
    assert panels(cards, "leaf_accuracy")[0].rows[0].is_flat is flat


def test_the_figure_shows_each_panel_shots_in_powers_of_two_and_one_legend() -> None:
    shown = panels([*runs("pets"), *runs("cars")], "leaf_accuracy")
    figure = draw_panels(shown)
    assert [axes.get_title() for axes in figure.axes] == ["cars", "pets"]
    for axes in figure.axes:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "4", "16", "all"]
        assert list(axes.get_xticks()) == [0, 2, 4, 5]
        (bars,) = axes.containers
        assert list(bars.lines[0].get_ydata()) == pytest.approx([22.5, 30, 60, 90])
        assert list(bars.lines[0].get_xdata()) == [0, 2, 4, 5]
        (dashed,) = [line for line in axes.lines if line.is_dashed()]
        assert list(dashed.get_ydata()) == [40, 40]
        assert 0 <= axes.get_ylim()[0] < axes.get_ylim()[1] <= 100.5
    assert figure.axes[0].get_ylabel() == "leaf acc [%]"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ours", "zero-shot"]
    figure.draw_without_rendering()
    below = legend.get_window_extent().y1
    assert all(axes.get_tightbbox().y0 > below for axes in figure.axes)


def test_rows_beside_each_other_differ_in_colour_marker_and_place() -> None:
    cards = [run(f"row{i}", k, s, 0.5 + s / 100) for i in range(8) for k in (1, 2) for s in (1, 2)]
    (axes,) = draw_panels(panels(cards, "fpa")).axes
    lines = [bars.lines[0] for bars in axes.containers]
    assert len({(to_hex(str(line.get_color())), str(line.get_marker())) for line in lines}) == 8
    assert len({to_hex(str(line.get_color())) for line in lines[:7]}) == 7
    assert len({line.get_xdata()[0] for line in lines}) == 8  # type: ignore[index]


def test_panels_are_kept_apart_by_what_must_agree() -> None:
    def at(source: str, fingerprint: str, seed: int) -> ResultCard:
        return run("ours", 4, seed, 0.4, backbone={"source": source, "fingerprint": fingerprint})  # type: ignore[arg-type]

    cards = [at("tiny", "f", seed) for seed in (1, 2)]
    assert [panel.title for panel in panels([*cards, at("large", "g", 1)], "fpa")] == ["pets · large", "pets · tiny"]
    for wrong, column, message in (
        ([*cards, at("tiny", "other", 1)], "fpa", "'ours' was run twice at 4 shots"),
        (runs(), "default", "A plot shows one column"),
        (runs(), "leaf_acuracy", "did you mean 'leaf_accuracy'"),
        ([run("ours", 4, 1, None)], "leaf_accuracy", "No run has a figure"),
    ):
        with pytest.raises(UserError, match=message):
            panels(wrong, column)


def test_files_and_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "runs", tmp_path / "out"
    for i, made in enumerate(runs()):
        (folder / str(i)).mkdir(parents=True)
        made.write(folder / str(i))
    found = {}
    for name in ("a.png", "a.svg", "a.pdf", "b.svg"):
        main(["plot", str(folder), "--out", str(out / name), "--column=fpa@best_path"])
        assert f"Written to {out / name}" in capsys.readouterr().out
        found[name] = (out / name).read_bytes()
    assert Image.open(out / "a.png").size[0] > 600
    assert ElementTree.fromstring(found["a.svg"]).tag.endswith("svg")
    assert found["a.svg"] == found["b.svg"]
    assert sorted(path.name for path in out.iterdir()) == sorted(found)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # as if it were not installed
    for name, said in (("plot.jpeg", "a plot is written as .svg, .png, .pdf"), ("plot.png", "Plots need matplotlib.")):
        with pytest.raises(SystemExit) as stopped:
            main(["plot", str(folder), "--out", str(out / name)])
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err
        assert not (out / name).exists()
