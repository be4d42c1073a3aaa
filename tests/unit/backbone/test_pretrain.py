"""Pre-training of the tiny CLIP: what is true of what, the loss by hand, left-out patches, and a folder that loads."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hierfit.backbone import Backbone
from hierfit.fieldguide.guide import OUTLINES, PATTERNS, Species
from hierfit.fieldguide.pretrain import STAGES, contrast, encode_patches, make_model, make_tokenizer, save, train_stage
from hierfit.fieldguide.pretrain_batches import (
    FAMILY,
    GENUS,
    Pool,
    Size,
    Stage,
    attribute_numbers,
    caption_batches,
    draw_pool,
    fitting,
    same_palettes,
)  # fmt: skip

SIZE = Size(vision_width=32, vision_layers=1, text_width=32, text_layers=1, embed_dim=16, images=160)
MIXED = Stage("mixed", STAGES[0].weights, pairs=192, batch_size=32, learning_rate=1e-3)
PALETTES = Stage("palettes", STAGES[1].weights, pairs=192, batch_size=32, learning_rate=1e-3, half=True)

MONARCH = Species("swallowtail", "banded", "golden", "crimson", "plain")


@pytest.fixture(scope="module")
def pool() -> Pool:
    return draw_pool(SIZE)


def test_contrast_counts_every_true_caption_as_a_positive() -> None:
    image, text, one = torch.eye(2), torch.eye(2), torch.tensor(1.0)
    # Each picture has one caption: -log softmax of (1, 0) at its own place.
    own = contrast(image, text, one, torch.eye(2, dtype=torch.bool))
    assert own.item() == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-6)
    # Both captions are true of both pictures: the mean of both places.
    both = contrast(image, text, one, torch.ones(2, 2, dtype=torch.bool))
    assert both.item() == pytest.approx(math.log(math.e + 1) - 0.5, abs=1e-6)


def test_a_picture_that_no_caption_is_true_of_is_only_a_negative() -> None:
    image, text, one = torch.eye(2), torch.eye(2)[:1], torch.tensor(1.0)
    # One caption: nothing to choose for the first picture; the caption chooses between both, at logits 1 and 0.
    loss = contrast(image, text, one, torch.tensor([[True], [False]]))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)) / 2, abs=1e-6)


def test_a_caption_fits_what_has_the_attributes_it_tells() -> None:
    seen = attribute_numbers([MONARCH, replace(MONARCH, pattern="eyed"), replace(MONARCH, outline="leafwing")])
    fits = fitting(seen, seen[[0, 0, 0]], [FAMILY, GENUS, ("ground", "accent")])
    assert fits.tolist() == [[True, True, True], [True, False, True], [False, False, True]]


def test_a_pool_holds_every_genus_and_no_species_of_a_guide(pool: Pool) -> None:
    assert len(pool.images) == len(pool.species) == 160
    assert not any(s.reserved_for_guides for s in pool.species)
    assert Counter((s.outline, s.pattern) for s in pool.species) == {(o, p): 2 for o in OUTLINES for p in PATTERNS}


def _palettes(size: int) -> Pool:
    """A pool of 160 rows in palettes of one size; only which rows share a palette matters."""
    return Pool(torch.empty(160, 3, 1, 1), [], torch.empty(160, 5), [], np.split(np.arange(160), 160 // size))


def test_pictures_of_a_batch_share_palettes() -> None:
    # Drawn at random, 32 of these 160 pictures would have all eight palettes.
    rows = same_palettes(_palettes(20), 4, 32, np.random.default_rng(0))
    assert sorted(Counter(rows // 20).values()) == [8, 8, 8, 8]
    assert len(set(rows)) == 32


def test_rare_palettes_still_fill_a_batch() -> None:
    rows = same_palettes(_palettes(5), 4, 32, np.random.default_rng(0))
    assert len(set(rows)) == 32
    assert sorted(Counter(rows // 5).values()) == [2, 5, 5, 5, 5, 5, 5]


def test_mixed_batches_have_a_caption_of_each_kind_for_every_picture(pool: Pool) -> None:
    for pictures, captions in caption_batches(pool, MIXED, 0, 1):
        assert pictures.shape == (32, 3, 64, 64)
        assert [kind.kind for kind in captions] == ["whole", "group", "partial"]
        for kind in captions:
            assert kind.fits.diagonal().all()
        for kind in captions[1:]:  # what is told in one wording is true of the same pictures exactly if it is the same
            texts = np.array(kind.texts)
            assert np.array_equal(kind.fits.numpy(), texts[:, None] == texts[None])


def test_palette_batches_tell_every_level_once(pool: Pool) -> None:
    seen = Counter[str]()
    for pictures, captions in caption_batches(pool, PALETTES, 0, 2):
        assert pictures.shape == (32, 3, 64, 64)
        assert [kind.kind for kind in captions] == ["family", "genus", "partial", "whole"]
        for kind in captions:
            assert len(set(kind.texts)) == len(kind.texts) <= 16
            assert kind.fits.shape == (32, len(kind.texts))
            assert kind.fits.any(0).all()  # each was written for a picture of the batch
            seen[kind.kind] += int(kind.fits.sum())
        family, genus, _, whole = (kind.fits for kind in captions)
        assert (family.sum(1) == 1).all()  # all families of a batch are told, and each picture has one
        assert (genus.sum(1) <= 1).all()
        for finer in (genus, whole):  # what tells more is true of pictures of one family
            assert all(family[told].any(0).sum() == 1 for told in finer.T)
    assert seen["family"] > seen["genus"] > seen["whole"]


def test_all_patches_give_the_models_own_features() -> None:
    model = make_model(SIZE, make_tokenizer(SIZE)).eval()
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        own = model.get_image_features(pixel_values=pixels).pooler_output
        torch.testing.assert_close(encode_patches(model, pixels, 1.0), own)
        # Leaving none out through the masked route gives them too.
        torch.testing.assert_close(encode_patches(model, pixels, 0.9999), own)
        assert not torch.allclose(encode_patches(model, pixels, 0.5), own)


def test_both_stages_leave_a_folder_that_loads(pool: Pool, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(SIZE)
    model = make_model(SIZE, tokenizer)
    for number, stage in enumerate((MIXED, PALETTES), 1):
        model, curve = train_stage(model, stage, pool, tokenizer, "cpu", 0, number)
        assert curve[-1]["step"] == 6
        assert all(np.isfinite(list(row.values())).all() for row in curve)
    save(model, tokenizer, SIZE, tmp_path)
    backbone = Backbone.load(str(tmp_path))
    features = backbone.encode_text(["a photo of a banded swallowtail.", "Ünïcode ☃ and grocery items"])
    assert features.shape == (2, 16)
    assert features.dtype == torch.float32
