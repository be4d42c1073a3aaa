"""Node prompts: what is written for each node, and how prompts become features."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from hierfit.backbone import Backbone, encode_nodes, node_texts
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

CRANES = Taxonomy.from_paths(
    [["bird", "crane"], ["bird", "red-legged_kittiwake"], ["machine", "crane"]], ["kind", "species"]
)


def by_name(taxonomy: Taxonomy, texts: list[list[str]]) -> dict[str, list[str]]:
    return {taxonomy.full_name(node): group for node, group in enumerate(texts)}


def test_levels_without_templates_get_the_default() -> None:
    texts = by_name(CRANES, node_texts(CRANES, {}))
    assert texts["bird"] == ["a photo of a bird."]
    assert texts["bird/red-legged_kittiwake"] == ["a photo of a red-legged kittiwake."]


def test_placeholders() -> None:
    texts = node_texts(CRANES, {"species": ["{name} ({parent})", "{path}"], "kind": ["any {name}"]})
    assert by_name(CRANES, texts) == {
        "bird": ["any bird"],
        "machine": ["any machine"],
        "bird/crane": ["crane (bird)", "bird, crane"],
        "bird/red-legged_kittiwake": ["red-legged kittiwake (bird)", "bird, red-legged kittiwake"],
        "machine/crane": ["crane (machine)", "machine, crane"],
    }


def test_different_things_of_one_name_get_their_ancestry() -> None:
    texts = by_name(CRANES, node_texts(CRANES, {"species": ["a {name} outdoors"]}))
    assert texts["bird/crane"] == ["a crane, a kind of bird outdoors"]
    assert texts["machine/crane"] == ["a crane, a kind of machine outdoors"]
    assert texts["bird/red-legged_kittiwake"] == ["a red-legged kittiwake outdoors"]


def test_ancestry_goes_as_far_up_as_it_takes() -> None:
    tree = Taxonomy.from_paths([["plant", "rose", "wild"], ["window", "Rose", "wild"], ["plant", "fern", "wild"]])
    texts = by_name(tree, node_texts(tree, {}))
    assert texts["plant/rose/wild"] == ["a photo of a wild, a kind of rose, a kind of plant."]
    assert texts["window/Rose/wild"] == ["a photo of a wild, a kind of Rose, a kind of window."]
    assert texts["plant/fern/wild"] == ["a photo of a wild, a kind of fern."]


def test_a_name_repeated_down_a_branch_is_one_thing() -> None:
    tree = Taxonomy.from_paths([["BAe", "BAE-125", "BAE-125"], ["Boeing", "737", "737-200"]])
    texts = by_name(tree, node_texts(tree, {"level2": ["a {name}, made like a {parent}"]}))
    assert texts["BAe/BAE-125"] == ["a photo of a BAE-125."]
    assert texts["BAe/BAE-125/BAE-125"] == ["a BAE-125, made like a BAe"]
    same = by_name(tree, node_texts(tree, {}))
    assert same["BAe/BAE-125"] == same["BAe/BAE-125/BAE-125"] == ["a photo of a BAE-125."]


def test_roots_of_equal_text_cannot_be_told_apart_and_end_the_search() -> None:
    tree = Taxonomy.from_paths([["sea_bird"], ["sea bird"]])
    assert node_texts(tree, {}) == [["a photo of a sea bird."]] * 2


RANKS = ["kingdom", "phylum", "class", "order", "family", "genus", "species"]
BEES = ["Animalia", "Arthropoda", "Insecta", "Hymenoptera", "Apidae"]


@pytest.mark.parametrize("species", ["Apis mellifera", "mellifera"])  # as iNaturalist's, and as an epithet alone
def test_texts_by_rank_are_those_that_bioclip_was_trained_with(species: str) -> None:
    tree = Taxonomy.from_paths([[*BEES, "Apis", species], [*BEES, "Bombus", "Bombus terrestris"]], RANKS)
    sorts = ("{taxonomic}", "{scientific}", "{common}", "{taxonomic} with common name {common}", "{genus} {species}")
    templates = {"species": [f"a photo of {sort}." for sort in sorts], "genus": ["{taxonomic}; {scientific}; {common}"]}
    templates |= {"family": ["{scientific}, an {class} of the {order}"]}
    texts = by_name(tree, node_texts(tree, templates, common={species.lower(): "western honey bee"}))
    lineage = "Animalia Arthropoda Insecta Hymenoptera Apidae"
    assert texts["/".join([*BEES, "Apis", species])] == [
        f"a photo of {lineage} Apis mellifera.",
        "a photo of Apis mellifera.",
        "a photo of western honey bee.",
        f"a photo of {lineage} Apis mellifera with common name western honey bee.",
        "a photo of Apis mellifera.",
    ]
    # BioCLIP's captions give the scientific name to what has no common one.
    assert texts["/".join([*BEES, "Bombus", "Bombus terrestris"])][2] == "a photo of Bombus terrestris."
    assert texts["/".join([*BEES, "Apis"])] == [f"{lineage} Apis; Apis; Apis"]
    assert texts["/".join(BEES)] == ["Apidae, an Insecta of the Hymenoptera"]
    with pytest.raises(UserError, match=r"unknown placeholder \{species\}"):
        node_texts(tree, {"genus": ["{genus} {species}"]})


def test_all_template_faults_at_once() -> None:
    templates: dict[str, Any] = {
        "specie": ["a {name}"],
        "species": ["a {nmae} {name}", "a {name", "a photo", "{name:>9}", "{}"],
        "kind": "a {name}",
    }
    with pytest.raises(UserError, match=r"the coarsest level has no \{parent\}"):
        node_texts(CRANES, {"kind": ["{name} of {parent}"]})
    with pytest.raises(UserError) as caught:
        node_texts(CRANES, templates)
    message = str(caught.value)
    assert "specie: no such level; did you mean species?" in message
    assert "species: 'a {nmae} {name}': unknown placeholder {nmae}" in message
    assert "species: 'a {name': " in message
    assert "species: 'a photo': has none of {name}, {path}, {taxonomic}" in message
    assert "species: '{name:>9}': {name} takes no format" in message
    assert "species: '{}': unknown placeholder {}" in message
    assert "kind: needs a list of at least one template, not 'a {name}'" in message
    assert "Levels are kind, species; placeholders are {name}, {parent}, {path}, {taxonomic}" in message


def test_ensembles_are_averaged_after_normalisation(backbone: Backbone) -> None:
    templates = {"species": ["a photo of a {name}", "blue {name} {parent}", "{name}"], "kind": ["a {name}"]}
    features = encode_nodes(backbone, CRANES, templates, batch_size=2)
    expected = torch.stack(
        [F.normalize(backbone.encode_text(group).mean(0), dim=-1) for group in node_texts(CRANES, templates)]
    )
    torch.testing.assert_close(features, expected, atol=1e-6, rtol=0)


def test_each_text_is_encoded_once(clip: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    chunks = clip.token_chunks

    def recorded(texts: list[str], *how: int) -> object:
        seen.extend(texts)
        return chunks(texts, *how)

    monkeypatch.setattr(clip, "token_chunks", recorded)
    tree = Taxonomy.from_paths([["a", "a", "b"], ["a", "a", "c"]])
    assert encode_nodes(clip, tree, {}).shape == (4, clip.embed_dim)
    assert sorted(seen) == ["a photo of a a.", "a photo of a b.", "a photo of a c."]


def test_thousands_of_nodes_are_written_quickly() -> None:
    tree = Taxonomy.from_paths([f"family {i % 50}", f"genus {i % 1000}", f"epithet {i % 77}"] for i in range(5_000))
    texts = node_texts(tree, {})
    assert len({group[0] for group in texts}) == tree.num_nodes
