"""Descriptions, names for people, and `hierfit data prompts` and `list`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hierfit.backbone import encode_texts, node_prompts, node_texts
from hierfit.cli import main
from hierfit.data.card import load_card
from hierfit.data.names import readable, renamed
from hierfit.data.table import read_table
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

WriteCard = Callable[..., str]
TREE = Taxonomy.from_paths([("bird", "blue_jay"), ("bird", "crane"), ("tool", "crane")], ["kind", "thing"])


def faults(descriptions: object, templates: object = None) -> str:
    with pytest.raises(UserError) as caught:
        node_texts(TREE, templates or {}, descriptions)  # type: ignore[arg-type]
    return str(caught.value)


def test_sentences_stand_beside_the_templates() -> None:
    described = {"thing": {"Blue Jay": ["A blue bird."], "tool/crane": ["It lifts.", "It is tall."]}}
    prompts = node_prompts(TREE, {"thing": ["a {name}."]}, described)
    assert prompts.texts[2] == ["a blue jay.", "A blue bird."]
    assert prompts.texts[3] == ["a crane, a kind of bird."]
    assert prompts.texts[4] == ["a crane, a kind of tool.", "It lifts.", "It is tall."]
    assert prompts.added == [0, 0, 0, 1, 1]
    assert prompts.missing == {"thing": [3]}
    both = node_prompts(TREE, {}, {"thing": {"crane": ["Long."]}}).texts
    assert both[3][-1] == both[4][-1] == "Long."


def test_texts_are_averaged_after_normalisation(towers) -> None:  # type: ignore[no-untyped-def]
    """A node's feature, by hand: the mean of unit vectors, made a unit vector."""
    texts = node_texts(TREE, {"thing": ["a {name}."]}, {"thing": {"tool/crane": ["It lifts.", "It is tall."]}})
    features = encode_texts(towers, texts)
    _, tokens = towers.token_chunks(texts[4], 8)
    alone = torch.cat([towers.encode_tokens(t) for t in tokens])
    mean = alone.mean(0)
    assert torch.allclose(features[4], mean / mean.norm(), atol=1e-6)


def test_names_that_fit_nothing_are_told_where_others_lack() -> None:
    text = faults({"thing": {"blue jey": ["x"]}})
    assert (
        "thing: 'blue jey' is described, but no node of this level has the name; did you mean 'bird/blue_jay'?" in text
    )
    assert "thin: described, but there is no such level" in faults({"thin": {}})
    assert "thing: no templates, and no description of bird/crane, tool/crane" in faults(
        {"thing": {"blue jay": ["x"]}}, {"thing": []}
    )
    everything = {
        "thing": {"blue jay": ["x"], "crane": ["y"], "eagle": ["z"]}
    }  # a file for more classes than there are
    assert node_texts(TREE, {"thing": []}, everything)[2:] == [["x"], ["y"], ["y"]]


def test_descriptions_of_a_card(root: Path, write_card: WriteCard, tmp_path: Path) -> None:
    card = write_card(descriptions={"species": "said.json"})
    with pytest.raises(UserError, match=r"descriptions.species: no said.json"):
        load_card(card)
    file = tmp_path / "cards/said.json"
    file.write_text(
        json.dumps({"lion": ["A mane."], "tiger": "Stripes.", "wolf": ["Howls.", "Grey."], "fox": ["Red."]})
    )
    loaded = load_card(card)
    assert loaded.texts(loaded.tree)[loaded.tree.find("tiger")] == ["a photo of a tiger.", "Stripes."]
    before = loaded.fingerprint
    file.write_text(file.read_text().replace("Red.", "Red!"))
    assert load_card(card).fingerprint != before
    for bad, said in (
        ("[1]", "does not hold a JSON object"),
        ("{", "is not valid JSON"),
        ('{"lion": 3}', "'lion' needs a list of sentences"),
        ('{"lion": []}', "'lion' needs a list of sentences"),
        ('{"lyon": ["x"]}', "did you mean 'cat/lion'?"),
    ):
        file.write_text(bad)
        with pytest.raises(UserError) as caught:
            load_card(card)
        assert said in str(caught.value)
    with pytest.raises(UserError, match="expected a file for each level"):
        load_card(write_card(descriptions="said.json"))


def test_names_for_people(root: Path, write_card: WriteCard) -> None:
    card = load_card(write_card(names={"lion": "African lion"}))
    table = read_table(card, root)
    assert "African lion" in table.taxonomy.names
    node = table.taxonomy.find("African lion")
    train = table.splits["train"]
    assert all("/lion/" in key for key, v in zip(train.keys, train.nodes.tolist(), strict=True) if v == node)
    assert (train.nodes == node).sum() == 6
    assert card.texts(table.taxonomy)[node] == ["a photo of a African lion."]
    with pytest.raises(UserError) as caught:
        load_card(write_card(names={"lyon": "x", "tiger": "lion", "fox": " fox"}))
    text = str(caught.value)
    assert "no node is called 'lyon' – did you mean 'lion'?" in text
    assert "'cat/lion' and 'cat/tiger' would both be called 'lion'" in text
    assert "begins or ends with a blank" in text


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("BlueJay", "Blue Jay"),
        ("blue_jay", "blue jay"),
        ("003.Sooty_Albatross", "Sooty Albatross"),
        ("001.Black-footed_Albatross", "Black-footed Albatross"),
        ("Red-Beet", "Red Beet"),
        ("BMW_X5", "BMW X5"),
        ("HTMLPage", "HTML Page"),
        ("747", "747"),
        ("F-16A", "F-16A"),
        ("737-200", "737-200"),
        ("McDonnellDouglas", "McDonnell Douglas"),
        ("McDonnell Douglas", "McDonnell Douglas"),
        ("iPhone SE-2 iPad", "iPhone SE-2 iPad"),
        ("Äpfel", "Äpfel"),
        ("___", "___"),
    ],
)
def test_folders_as_people_write_them(folder: str, name: str) -> None:
    assert readable(folder) == name


def test_renaming_keeps_the_ids() -> None:
    tree = renamed(TREE, {"crane": "hoist"})
    assert torch.equal(tree.parent, TREE.parent)
    assert tree.names == ("bird", "tool", "blue_jay", "hoist", "hoist")
    assert renamed(TREE, {}).names == TREE.names
    assert renamed(TREE, {"crane": "stork", "tool/crane": "hoist"}).names[3:] == ("stork", "hoist")


def test_the_prompts_command(write_card: WriteCard, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = write_card(templates={"species": ["a {name}.", "{path}, " + "very, " * 40 + "large"]})
    (tmp_path / "cards/animals.csv").write_text("family,species\ncat,lion\ncat,seal\ndog,seal\ndog,fox\n")
    main(["data", "prompts", card])
    text = capsys.readouterr().out
    assert "family (2)" in text
    assert "a photo of a dog." in text
    assert "a seal, a kind of cat." in text
    assert "! ambiguous name: ancestors added" in text
    assert "! 1 of 2 texts longer than 48 tokens: the end is cut" in text
    assert "6 nodes, 10 texts." in text
    assert "4 nodes: texts cut" in text
    main(["data", "prompts", card, "--level", "species", "--node", "dog"])
    text = capsys.readouterr().out
    assert "dog / fox" in text
    assert "cat" not in text.replace("a kind of cat", "")
    with pytest.raises(SystemExit):
        main(["data", "prompts", card, "--level", "genus"])
    assert "there is no level 'genus'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["data", "prompts", card, "--node", "foxx"])
    assert "did you mean 'fox'" in capsys.readouterr().err


def test_the_list_command(
    write_card: WriteCard, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Path(write_card())
    (card.parent / "broken.yaml").write_text("name: [")
    monkeypatch.setenv("HIERFIT_CARDS", str(card.parent))
    main(["data", "list"])
    text = capsys.readouterr().out
    assert "animals" in text
    assert "family 2, species 4" in text
    assert "grocery_store" in text
    assert "cannotbeused:" in "".join(text.split())
    assert "broken.yaml" in "".join(text.split())  # a long path is wrapped
