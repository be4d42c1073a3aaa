"""Published figures stand beside measured ones only where everything they rest on agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hierfit.data.card import load_card
from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.results.columns import PUBLISHED as FILE
from hierfit.results.columns import published_for, read_published
from hierfit.results.summary import tables
from hierfit.results.writers import as_csv, as_markdown

from .conftest import card, data

AIRCRAFT = {"card": "fgvc_aircraft", "protocol": "novel halves", "shots": 16, "tree": "true"}
VIT_B16 = {"source": "openai/clip-vit-base-patch16", "fingerprint": "f"}
NOVEL = {"base_to_novel": {"base": 0.3, "novel": 0.35, "h": 0.323}}


def run(backbone: dict[str, str] = VIT_B16, **changes: Any) -> ResultCard:
    return card("ours", 1, 0.3, data=data(1, **{**AIRCRAFT, **changes}), backbone=backbone, metrics=NOVEL)


def test_a_published_row_stands_below_the_measured_ones() -> None:
    (group,) = tables([run()], choice="base@base_to_novel,h@base_to_novel,params")
    printed = next(row for row in group.rows if "CoCoOp" in str(row[0].text))
    assert [round(cell.value, 4) for cell in printed[2:4]] == [0.3341, 0.2774]  # type: ignore[call-overload]
    assert any("Zhou et al., CVPR 2022" in note for note in group.notes)
    # A column that no paper printed is a dash.
    assert "| CoCoOp (published) | 3 | 33.41 | 27.74 | – | last step | unknown |" in as_markdown([group])
    assert "CoCoOp (published)" in as_csv([group])


@pytest.mark.parametrize(
    "changes",
    [
        {"card": "pets"},
        {"protocol": "novel siblings"},
        {"protocol": "trained on caltech101"},
        {"shots": 4},
        {"shots": None},
        {"tree": "shuffled"},
        {"backbone": {"source": "openai/clip-vit-base-patch32", "fingerprint": "f"}},
        {"backbone": {"source": "tiny", "fingerprint": "f"}},
    ],
)
def test_where_anything_differs_no_published_row_stands(changes: dict[str, Any]) -> None:
    assert published_for(run(**changes)) == []


def test_a_local_folder_of_the_same_towers_agrees() -> None:
    towers = {"source": "/models/clip-vit-base-patch16/", "fingerprint": "f"}
    assert [found.row for found in published_for(run(backbone=towers))] == [
        "CLIP",
        "CoOp",
        "CoCoOp",
        "MaPLe",
        "PromptSRC",
    ]


def test_every_published_figure_belongs_to_a_card_and_agrees_with_itself() -> None:
    for row in read_published():
        for name, figures in row.figures.items():
            assert load_card(name).name == name
            assert all(0 < value < 100 for value in figures.values())
            if row.protocol != "novel halves":
                continue
            base, novel = figures["base@base_to_novel"], figures["novel@base_to_novel"]
            # Rounded figures: the harmonic mean of what is printed may be off by its last digit.
            assert figures["h@base_to_novel"] == pytest.approx(2 * base * novel / (base + novel), abs=0.011)


def test_a_faulty_file_is_refused_with_every_fault(tmp_path: Path) -> None:
    file = tmp_path / "published.yaml"
    file.write_text(FILE.read_text(encoding="utf-8").replace("shots: 16", "shot: many"), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_published(file)
    assert "did you mean 'shots'" in str(caught.value)
