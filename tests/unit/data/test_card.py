"""Data cards: what is read of them, and every fault of one at once."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hierfit.config.schema import Place
from hierfit.data.card import find_card, load_card
from hierfit.data.layouts import LAYOUTS, read_layout
from hierfit.errors import UserError

CARDS = Path(__file__).parents[3] / "data_cards"
WriteCard = Callable[..., str]


def faults(card: str) -> str:
    with pytest.raises(UserError) as caught:
        load_card(card)
    return str(caught.value)


def test_a_card_is_read(write_card: WriteCard) -> None:
    card = load_card(write_card(layout={"name": "image_folder", "labels": "name"}, templates={"family": "a {name}"}))
    assert card.layout.name == "image_folder"
    assert card.layout.options == {"labels": "name", "folders": {}, "draw": None, "names": {}}
    assert card.tree.level_sizes == (2, 4)
    assert card.templates == {"family": ("a {name}",)}
    assert card.splits["train"].images == 24
    assert pickle.loads(pickle.dumps(card)).fingerprint == card.fingerprint


@pytest.mark.parametrize("path", sorted(CARDS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_card_of_the_repository_is_sound(path: Path) -> None:
    assert load_card(path.stem).path.samefile(path)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_there(name: str, tmp_path: Path) -> None:
    problems: list[str] = []
    assert read_layout({"name": name, "no_option": 1}, Place(tmp_path / "card.yaml"), problems) is None
    assert any("no_option: unknown key" in problem for problem in problems)


WRONG_KEYS = {
    "version": "one", "licence": None, "licens": "MIT", "taxonomy": "animal.csv",
    "layout": {"name": "image_folder", "lables": "name"}, "splits": {"train": {"images": "many"}},
}  # fmt: skip
WRONG_TOGETHER = {
    "name": "beasts", "levels": {"family": 2, "species": 5}, "splits": {"trian": {}},
    "templates": {"genus": ["a {name}"], "species": ["a {nam}"]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        (
            WRONG_KEYS,
            [
                "this data card cannot be used",
                "animals.yaml:2: version: expected a whole number, got 'one'",
                "animals.yaml: licence: this key is missing",
                "licens: unknown key – did you mean 'licence'?",
                "taxonomy: there is no file",
                "layout.lables: unknown key – did you mean 'labels'?",
                "splits.train.images: expected a whole number",
            ],
        ),
        (
            WRONG_TOGETHER,
            [
                "name: 'beasts' is not the name of the file",
                "the card says levels family 2, species 5, the taxonomy has family 2, species 4",
                "splits.trian: unknown split – did you mean 'train'?",
                "genus: no such level",
                "unknown placeholder {nam}",
            ],
        ),
        ({"layout": "image_foldr"}, ["unknown layout 'image_foldr' – did you mean 'image_folder'"]),
        (
            {"layout": {"name": "fieldguide", "guide": {"families": 99}}},
            ["layout.guide: families is 99; it must be from"],
        ),
        ({"taxonomy": "x" * 300}, ["taxonomy: there is no file"]),
    ],
)
def test_all_faults_come_at_once(changes: dict[str, Any], messages: list[str], write_card: WriteCard) -> None:
    text = faults(write_card(**changes))
    assert [message for message in messages if message not in text] == []


def test_a_faulty_tree_is_reported_with_the_rest(write_card: WriteCard) -> None:
    path = Path(write_card(version="one"))
    (path.parent / "animals.csv").write_text("family,species\ncat,lion\ncat,lion\n")
    text = faults(str(path))
    assert "version: expected a whole number" in text
    assert "taxonomy: animals.csv: " in text
    assert "lion" in text


def test_a_card_may_name_a_tree_in_any_format(write_card: WriteCard) -> None:
    plain = load_card(write_card()).tree
    path = Path(write_card(taxonomy={"file": "animals.json", "select": "zoo", "levels": ["family", "species"]}))
    rows = {plain.names[leaf]: [plain.names[plain.parent[leaf]]] for leaf in plain.leaves.tolist()}
    (path.parent / "animals.json").write_text(json.dumps({"zoo": rows, "aquarium": {}}))
    assert load_card(str(path)).taxonomy == plain
    for change, fault in (
        ({"file": "animals.json", "selekt": "zoo"}, "taxonomy.selekt: unknown key – did you mean 'select'?"),
        ({"file": "animals.json", "select": "park"}, "there is no 'park': choose one of zoo, aquarium"),
        ({"file": "animals.csv", "format": "xlsx"}, "taxonomy.format: 'xlsx' is none of paths,"),
        ({"file": "animals.csv", "leaves": "none.txt"}, "there is no file"),
    ):
        assert fault in faults(write_card(taxonomy=change))


def test_a_card_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert find_card("grocery_store") == CARDS / "grocery_store.yaml"
    (tmp_path / "data_cards").mkdir()
    (tmp_path / "data_cards/grocery_store.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert find_card("grocery_store") == tmp_path / "data_cards/grocery_store.yaml"  # one's own goes first
    (tmp_path / "mine.yaml").touch()
    monkeypatch.setenv("HIERFIT_CARDS", str(tmp_path))
    text = faults("min")
    assert "no card 'min' – did you mean 'mine'" in text
    assert f"sought in {tmp_path}" in text
    assert "`hierfit data list` lists them" in faults("qqq")
    assert "there is no file" in faults(str(tmp_path / "nothing.yaml"))
