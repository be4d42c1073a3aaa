from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from hierfit.config.schema import Place
from hierfit.data.card import find_card, load_card
from hierfit.data.layouts import LAYOUTS, read_layout
from hierfit.errors import UserError

CARDS = Path(__file__).parents[3] / "data_cards"
WriteCard = Callable[..., str]


def test_a_card_is_read(write_card: WriteCard) -> None:
    card = load_card(write_card(layout={"name": "image_folder", "labels": "name"}, templates={"family": "a {name}"}))
    assert card.layout.name == "image_folder"
    assert card.layout.options == {"labels": "name", "folders": {}, "draw": None, "names": {}}
    assert card.taxonomy is not None
    assert card.taxonomy.level_sizes == (2, 4)
    assert card.templates == {"family": ("a {name}",)}
    assert card.splits["train"].images == 24
    assert pickle.loads(pickle.dumps(card)).fingerprint == card.fingerprint


@pytest.mark.parametrize("path", sorted(CARDS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_card_of_the_repository_is_sound(path: Path) -> None:
    assert load_card(path.stem).path.samefile(path)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_there(name: str, tmp_path: Path) -> None:
    problems: list[str] = []
    layout = read_layout({"name": name, "no_option": 1}, Place(tmp_path / "card.yaml"), problems)
    assert layout is None
    assert any("no_option: unknown key" in problem for problem in problems)


def test_everything_wrong_comes_at_once(write_card: WriteCard) -> None:
    path = write_card(
        version="one",
        licence=None,
        licens="MIT",
        taxonomy="animal.csv",
        layout={"name": "image_folder", "lables": "name"},
        splits={"train": {"images": "many"}},
    )
    with pytest.raises(UserError, match="this data card cannot be used") as caught:
        load_card(path)
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 6
    for part in (
        "animals.yaml:2: version: expected a whole number, got 'one'",
        "animals.yaml: licence: this key is missing",
        "licens: unknown key – did you mean 'licence'?",
        "taxonomy: there is no file",
        "layout.lables: unknown key – did you mean 'labels'?",
        "splits.train.images: expected a whole number",
    ):
        assert part in text


def test_a_faulty_tree_is_reported_with_the_rest(write_card: WriteCard) -> None:
    path = Path(write_card(version="one"))
    (path.parent / "animals.csv").write_text("family,species\ncat,lion\ncat,lion\n")
    with pytest.raises(UserError) as caught:
        load_card(str(path))
    text = str(caught.value)
    assert "version: expected a whole number" in text
    assert "taxonomy: animals.csv: " in text
    assert "lion" in text


def test_a_card_may_name_a_tree_in_any_format(write_card: WriteCard) -> None:
    plain = load_card(write_card()).taxonomy
    assert plain is not None
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
        with pytest.raises(UserError) as caught:
            load_card(write_card(taxonomy=change))
        assert fault in str(caught.value)


def test_contradictions_are_found(write_card: WriteCard) -> None:
    path = write_card(
        name="beasts",
        levels={"family": 2, "species": 5},
        splits={"trian": {}},
        templates={"genus": ["a {name}"], "species": ["a {nam}"]},
    )
    with pytest.raises(UserError) as caught:
        load_card(path)
    text = str(caught.value)
    assert "name: 'beasts' is not the name of the file" in text
    assert "the card says levels family 2, species 5, the taxonomy has family 2, species 4" in text
    assert "splits.trian: unknown split – did you mean 'train'?" in text
    assert "genus: no such level" in text
    assert "unknown placeholder {nam}" in text


def test_an_unknown_layout_lists_those_there_are(write_card: WriteCard) -> None:
    with pytest.raises(UserError, match="unknown layout 'image_foldr' – did you mean 'image_folder'"):
        load_card(write_card(layout="image_foldr"))


def test_a_layout_checks_its_own_rules(write_card: WriteCard) -> None:
    with pytest.raises(UserError, match=r"layout.guide: families is 99; it must be from"):
        load_card(write_card(layout={"name": "fieldguide", "guide": {"families": 99}}))


def test_an_unknown_name_lists_the_known_cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    monkeypatch.setenv("HIERFIT_CARDS", str(tmp_path))
    with pytest.raises(UserError, match="no card 'min' – did you mean 'mine'") as caught:
        load_card("min")
    assert f"sought in {tmp_path}" in caught.value.problems
    with pytest.raises(UserError, match="`hierfit data list` lists them"):
        load_card("qqq")


def test_own_cards_go_before_those_of_the_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert find_card("grocery_store") == CARDS / "grocery_store.yaml"
    (tmp_path / "data_cards").mkdir()
    (tmp_path / "data_cards/grocery_store.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert find_card("grocery_store") == tmp_path / "data_cards/grocery_store.yaml"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no file .*nothing.yaml"):
        load_card(str(tmp_path / "nothing.yaml"))
