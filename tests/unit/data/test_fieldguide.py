"""The drawn butterflies: the same from the same seed, true to their attributes, and kept apart from pre-training."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from hierfit.errors import UserError
from hierfit.fieldguide import PLATE, Fieldguide, Species
from hierfit.fieldguide.draw import draw_butterfly
from hierfit.fieldguide.guide import ACCENTS, ATTRIBUTES, COLOURS, OUTLINES, PATTERNS, colour_pairs, species_of
from hierfit.fieldguide.pretrain_batches import FAMILY, GENUS, PARTIAL, caption, lineage_caption, partial_caption

MONARCH = Species("broadwing", "netted", "orange", "ebony", "pearled")


@pytest.mark.parametrize(
    ("other", "same"),
    [((3, "test", 7), True), ((4, "test", 7), False), ((3, "train", 7), False), ((3, "test", 8), False)],
)
def test_a_picture_follows_from_guide_leaf_split_and_index(other: tuple[int, str, int], same: bool) -> None:
    a, b = Fieldguide(seed=5), Fieldguide(seed=5)
    assert a.taxonomy == b.taxonomy
    assert np.array_equal(a.draw(3, "test", 7), b.draw(*other)) is same


def test_leaves_follow_the_order_of_the_taxonomy() -> None:
    guide = Fieldguide(seed=3)
    for leaf, species in enumerate(guide.leaves):
        family, genus, name = guide.taxonomy.full_name(int(guide.taxonomy.leaves[leaf])).split("/")
        assert family == f"{species.outline}s"
        assert genus == f"{species.pattern} {species.outline}s"
        assert species.outline in name
        assert any(word in name for word in (species.ground, species.marking, species.accent))


def test_guides_hold_reserved_species_and_about_half_of_every_genus_is_left_for_pretraining() -> None:
    assert all(s.reserved_for_guides for seed in range(5) for s in Fieldguide(seed=seed).leaves)
    for outline, pattern in product(OUTLINES, PATTERNS):
        every = list(species_of(outline, pattern))
        assert len(every) == len(colour_pairs()) * len(ACCENTS)
        assert 0.4 < np.mean([s.reserved_for_guides for s in every]) < 0.6


def test_ten_thousand_species_have_names_of_their_own() -> None:
    guide = Fieldguide(families=8, genera=10, species=125)
    assert guide.taxonomy.level_sizes == (8, 80, 10_000)
    assert len(set(guide.leaves)) == 10_000


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_every_depth(depth: int) -> None:
    guide = Fieldguide(depth=depth, families=2, genera=2)
    assert (guide.taxonomy.num_levels, guide.taxonomy.num_leaves) == (depth, 16)


def test_a_ragged_guide_has_leaves_above_the_last_level() -> None:
    guide = Fieldguide(ragged=True)
    assert set(guide.taxonomy.level[guide.taxonomy.leaves].tolist()) == {1, 2}
    assert len(guide.leaves) == guide.taxonomy.num_leaves == 54


def test_species_of_a_genus_share_few_colours() -> None:
    guide = Fieldguide(seed=1)
    genera = [guide.leaves[start : start + 4] for start in range(0, 72, 4)]
    assert all(len(set(genus)) == 4 for genus in genera)
    # Four species drawn freely from twelve colours would have 3.5 different grounds on average.
    assert np.mean([len({s.ground for s in genus}) for genus in genera]) <= 2.5


def test_all_faults_of_the_arguments_are_named() -> None:
    with pytest.raises(UserError) as error:
        Fieldguide(families=9, genera=0, depth=1, ragged=True)
    assert len(error.value.problems) == 3
    assert "families is 9" in str(error.value)


@pytest.mark.parametrize(("outline", "pattern"), list(product(OUTLINES, PATTERNS)))
def test_a_plate_shows_ground_and_marking_colour(outline: str, pattern: str) -> None:
    species = Species(outline, pattern, "golden", "azure", "plain")
    picture = draw_butterfly(species, np.random.default_rng(0), 96, PLATE).reshape(-1, 3).astype(float)
    for colour in ("golden", "azure"):
        reference = np.array(COLOURS[colour], dtype=float)
        # Relief darkens by up to 15 %, so compare directions.
        cosine = picture @ reference / (np.linalg.norm(picture, axis=1) * np.linalg.norm(reference))
        assert (cosine > 0.995).sum() > 60, colour


@pytest.mark.parametrize("accent", ACCENTS[1:])
def test_an_accent_changes_the_plate(accent: str) -> None:
    plain, accented = (
        draw_butterfly(
            Species("roundwing", "banded", "golden", "azure", a), np.random.default_rng(0), 64, PLATE
        ).astype(int)
        for a in ("plain", accent)
    )
    assert (np.abs(plain - accented).max(-1) > 40).sum() > 15


def test_plates_of_one_genus_can_be_told_apart() -> None:
    guide = Fieldguide(nuisance=PLATE)
    plates = np.stack([guide.draw(leaf, "test", 0).astype(float) for leaf in range(72)])
    for start in range(0, 72, 4):
        for i, j in product(range(start, start + 4), repeat=2):
            assert i == j or (np.abs(plates[i] - plates[j]).max(-1) > 40).sum() > 15


@pytest.mark.parametrize("size", [16, 64, 130])
def test_any_size_can_be_drawn(size: int) -> None:
    picture = draw_butterfly(MONARCH, np.random.default_rng(0), size)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 10


@pytest.mark.parametrize("told", [FAMILY, GENUS, *PARTIAL])
def test_a_partial_caption_tells_what_it_should_and_nothing_else(told: tuple[str, ...]) -> None:
    species = Species("swallowtail", "banded", "golden", "crimson", "pearled")
    words = dict(zip(ATTRIBUTES, ("swallowtail", "band", "golden", "crimson", "pearl"), strict=True))
    for seed in range(20):
        texts = [partial_caption(species, told, np.random.default_rng(seed))]
        if len(told) > 2:  # the name of a species, a section or a series
            texts.append(lineage_caption(species, told, np.random.default_rng(seed)))
        for text in texts:
            assert {a for a in ATTRIBUTES if words[a] in text} == set(told)


def test_a_whole_caption_tells_every_attribute() -> None:
    species = Species("swallowtail", "banded", "golden", "crimson", "pearled")
    for seed in range(20):
        text = caption(species, np.random.default_rng(seed))
        assert all(word in text for word in ("swallowtail", "band", "golden", "crimson", "pearl"))
