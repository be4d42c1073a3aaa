"""Node prompts: what is written for each node, and how prompts become features."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.backbone import Backbone, encode_nodes, node_texts
from hierfit.backbone.node_encoder import NodeEncoder
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

CRANES = Taxonomy.from_paths(
    [["bird", "crane"], ["bird", "red-legged_kittiwake"], ["machine", "crane"]], ["kind", "species"]
)


def by_name(taxonomy: Taxonomy, texts: list[list[str]]) -> dict[str, list[str]]:
    return {taxonomy.full_name(node): group for node, group in enumerate(texts)}


CASES: list[tuple[Taxonomy, dict[str, list[str]], dict[str, list[str]]]] = [
    # Levels without templates get the default, underscores become blanks.
    (CRANES, {}, {"bird": ["a photo of a bird."], "bird/red-legged_kittiwake": ["a photo of a red-legged kittiwake."]}),
    (
        CRANES,
        {"species": ["{name} ({parent})", "{path}"], "kind": ["any {name}"]},
        {
            "bird": ["any bird"],
            "machine": ["any machine"],
            "bird/crane": ["crane (bird)", "bird, crane"],
            "bird/red-legged_kittiwake": ["red-legged kittiwake (bird)", "bird, red-legged kittiwake"],
            "machine/crane": ["crane (machine)", "machine, crane"],
        },
    ),
    # Different things of one name get their ancestry, as far up as it takes.
    (
        CRANES,
        {"species": ["a {name} outdoors"]},
        {
            "bird/crane": ["a crane, a kind of bird outdoors"],
            "machine/crane": ["a crane, a kind of machine outdoors"],
            "bird/red-legged_kittiwake": ["a red-legged kittiwake outdoors"],
        },
    ),
    (
        Taxonomy.from_paths([["plant", "rose", "wild"], ["window", "Rose", "wild"], ["plant", "fern", "wild"]]),
        {},
        {
            "plant/rose/wild": ["a photo of a wild, a kind of rose, a kind of plant."],
            "window/Rose/wild": ["a photo of a wild, a kind of Rose, a kind of window."],
            "plant/fern/wild": ["a photo of a wild, a kind of fern."],
        },
    ),
    # A name repeated down a branch is one thing.
    (
        Taxonomy.from_paths([["BAe", "BAE-125", "BAE-125"], ["Boeing", "737", "737-200"]]),
        {"level2": ["a {name}, made like a {parent}"]},
        {"BAe/BAE-125": ["a photo of a BAE-125."], "BAe/BAE-125/BAE-125": ["a BAE-125, made like a BAe"]},
    ),
    # Roots of equal text cannot be told apart, and end the search.
    (Taxonomy.from_paths([["sea_bird"], ["sea bird"]]), {}, {"sea_bird": ["a photo of a sea bird."]}),
]


@pytest.mark.parametrize(("tree", "templates", "expected"), CASES)
def test_what_is_written_for_each_node(
    tree: Taxonomy, templates: dict[str, list[str]], expected: dict[str, list[str]]
) -> None:
    texts = by_name(tree, node_texts(tree, templates))
    assert {name: texts[name] for name in expected} == expected


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
    assert "specie: no such level – did you mean 'species'?" in message
    assert "species: 'a {nmae} {name}': unknown placeholder {nmae}" in message
    assert "species: 'a {name': " in message
    assert "species: 'a photo': has none of {name}, {path}, {taxonomic}" in message
    assert "species: '{name:>9}': {name} takes no format" in message
    assert "species: '{}': unknown placeholder {}" in message
    assert "kind: needs a list of at least one template, not 'a {name}'" in message
    assert "Levels are kind, species; placeholders are {name}, {parent}, {path}, {taxonomic}" in message


@pytest.mark.parametrize("contexts", [0, 1, 5], ids=["no context", "shared", "own"])
def test_ensembles_are_averaged_after_normalisation_and_chunks_change_memory_only(
    backbone: Backbone, contexts: int
) -> None:
    """Features and gradients; of texts alone, or of each after a soft prompt."""
    prompts = [["a photo of cat", "of cat"], ["a photo of cat"], ["photo"], ["cat photo of a a a"]]
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(contexts or 1, 2, backbone.text_width, generator=generator).requires_grad_()
    weight = torch.randn(4, backbone.embed_dim, generator=generator)
    trained = list(backbone.model.text_model.requires_grad_(True).parameters())

    def graded(features: Tensor) -> list[Tensor]:
        inputs = [*trained, *([context] if contexts else [])]
        return [features.detach(), *torch.autograd.grad((features * weight).sum(), inputs)]

    texts = [text for group in prompts for text in group]
    one_by_one = backbone.encode_context(context, texts) if contexts else backbone.encode_text(texts)
    parts = one_by_one.split(list(map(len, prompts)))
    expected = graded(torch.stack([F.normalize(part.mean(0), dim=-1) for part in parts]))
    for chunk in (1, 4, 100):
        encoder = NodeEncoder(backbone, prompts, chunk, n_context=2 if contexts else 0, own=contexts > 1)
        for found, wanted in zip(graded(encoder(backbone, context if contexts else None)), expected, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


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
