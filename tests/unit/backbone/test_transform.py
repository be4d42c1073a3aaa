"""The preprocessing equals transformers' Pillow processors, for any picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil

from hierfit.backbone import ImageTransform

SIZE = 24
MODES = ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I;16"]


def processor(kind: str):  # type: ignore[no-untyped-def]  # one of transformers' untyped classes
    square = {"height": SIZE, "width": SIZE}
    return {
        "clip": CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size=square),
        "clip with margin": CLIPImageProcessorPil(size={"shortest_edge": SIZE + 5}, crop_size=square, resample=2),
        "clip squeezed": CLIPImageProcessorPil(size=square, crop_size=square),
        "siglip": SiglipImageProcessorPil(size=square),
    }[kind]


KINDS = ["clip", "clip with margin", "clip squeezed", "siglip"]


def picture(mode: str, width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16))
    return Image.fromarray(pixels, "RGBA").convert(mode)


def grey_levels_apart(kind: str, image: Image.Image) -> float:
    reference = processor(kind)
    transform = ImageTransform.of(reference.to_dict(), kind.partition(" ")[0], SIZE, "here")
    expected = reference(image, return_tensors="pt").pixel_values[0]
    pixels = transform(image)
    assert pixels.shape == (3, SIZE, SIZE)
    assert pixels.dtype == torch.float32
    assert pixels.is_contiguous()
    return float(((pixels - expected) * torch.tensor(transform.std).view(3, 1, 1)).abs().max() * 255)


@pytest.mark.parametrize("kind", KINDS)
@given(width=st.integers(1, 120), height=st.integers(1, 120), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_equals_transformers_at_any_size(kind: str, width: int, height: int, seed: int) -> None:
    assert grey_levels_apart(kind, picture("RGB", width, height, seed)) < 1e-3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_transformers_in_any_mode(kind: str, mode: str) -> None:
    assert grey_levels_apart(kind, picture(mode, 50, 33)) < 1e-3


@pytest.mark.parametrize("given", [{"size": SIZE, "crop_size": SIZE}, {"size": SIZE, "crop_size": [SIZE, SIZE]}])
def test_older_ways_to_write_sizes(given: dict[str, Any]) -> None:
    transform = ImageTransform.of(given, "clip", SIZE, "here")
    assert transform == ImageTransform.of(CLIPImageProcessorPil(**given).to_dict(), "clip", SIZE, "here")
    assert ImageTransform.of(transform.settings("clip"), "clip", SIZE, "here") == transform


def test_transparency_becomes_white() -> None:
    transform = ImageTransform(SIZE, None, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert transform(Image.new("RGBA", (9, 9), (10, 20, 30, 0))).unique().tolist() == [1.0]


def test_values_by_hand() -> None:
    transform = ImageTransform(2, 2, (0.2, 0.0, 0.4), (0.5, 1.0, 0.25))
    pixels = transform(Image.new("RGB", (2, 2), (51, 102, 204)))
    assert pixels[:, 0, 0].tolist() == pytest.approx([0.0, 0.4, 1.6], abs=1e-6)
